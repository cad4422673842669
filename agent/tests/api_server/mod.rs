//! A scripted API server on loopback: lists and watches pods as the real one does, or fails as it does.
#![expect(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// How the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// As it should.
    Serve,
    /// With this status and a body to match.
    Status(u16),
    /// 200 and something that is no JSON, as a captive portal would.
    Garbage,
    /// Lists as it should; the watch sends one line that is no event and stays open.
    GarbageInWatch,
    /// Lists as it should; a watch is answered with this status.
    WatchStatus(u16),
    /// Not at all: the request is taken and nothing comes.
    Hang,
    /// As it should, once the scenario is another.
    Hold,
    /// By closing the connection.
    Close,
    /// Lists as it should; every watch ends at once.
    EmptyWatch,
}

/// What the server knows. Every change has a version.
pub struct World {
    pub scenario: Scenario,
    pods: BTreeMap<String, Value>,
    /// Version, type and object of each change since `compacted`.
    events: Vec<(u64, &'static str, Value)>,
    version: u64,
    compacted: u64,
    /// Path and query of every request, the oldest first.
    pub requests: Vec<String>,
    /// The only token that is accepted; `None` asks for none.
    pub token: Option<String>,
}

pub struct ApiServer {
    pub address: SocketAddr,
    world: Arc<Mutex<World>>,
    /// Wakes the watches; its value is the world's version.
    changed: Arc<watch::Sender<u64>>,
    serving: Option<JoinHandle<()>>,
}

impl ApiServer {
    /// A server that has an address and does not listen yet.
    pub async fn absent() -> Self {
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let world = World {
            scenario: Scenario::Serve,
            pods: BTreeMap::new(),
            events: Vec::new(),
            version: 100,
            compacted: 100,
            requests: Vec::new(),
            token: None,
        };
        let (changed, _) = watch::channel(0);
        Self { address, world: Arc::new(Mutex::new(world)), changed: Arc::new(changed), serving: None }
    }

    pub async fn start(scenario: Scenario) -> Self {
        let mut server = Self::absent().await;
        server.world().scenario = scenario;
        server.listen().await;
        server
    }

    pub async fn listen(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        let (world, changed) = (self.world.clone(), self.changed.clone());
        self.serving = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (world, changed) = (world.clone(), changed.clone());
                let service = service_fn(move |request| answer(request, world.clone(), changed.clone()));
                connections
                    .spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        }));
    }

    /// Kills it: every connection breaks.
    pub async fn kill(&mut self) {
        let serving = self.serving.take().unwrap();
        serving.abort();
        let _ = serving.await;
    }

    pub fn config(&self) -> kube::Config {
        kube::Config::new(format!("http://{}", self.address).parse().unwrap())
    }

    /// Writes a kubeconfig into a folder that leads here as this user; returns where it is.
    pub fn write_kubeconfig(&self, folder: &Path, user: &Value) -> PathBuf {
        let path = folder.join("kubeconfig");
        let text = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "u", "user": user}],
        });
        std::fs::write(&path, text.to_string()).unwrap();
        path
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub fn put(&self, mut pod: Value) {
        let mut world = self.world();
        let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
        let kind = if world.pods.contains_key(&name) { "MODIFIED" } else { "ADDED" };
        world.record(kind, &mut pod);
        world.pods.insert(name, pod);
        self.changed.send_replace(world.version);
    }

    pub fn remove(&self, name: &str) {
        let mut world = self.world();
        let mut pod = world.pods.remove(name).unwrap();
        world.record("DELETED", &mut pod);
        self.changed.send_replace(world.version);
    }

    /// Forgets the history, as etcd does: a watch from an older version gets 410.
    pub fn compact(&self) {
        let mut world = self.world();
        world.version += 1;
        world.compacted = world.version;
        world.events.clear();
        self.changed.send_replace(world.version);
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.serving.iter().for_each(JoinHandle::abort);
    }
}

impl World {
    fn record(&mut self, kind: &'static str, pod: &mut Value) {
        self.version += 1;
        pod["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.events.push((self.version, kind, pod.clone()));
        if self.events.len() > 10_000 {
            self.compacted = self.events.remove(0).0;
        }
    }

    /// The lines of a watch that follow `version`, and the version they lead to.
    fn lines_after(&self, version: u64) -> (Option<String>, u64) {
        if version < self.compacted {
            let gone = json!({"type": "ERROR", "object": status(410, "too old resource version")});
            return (Some(format!("{gone}\n")), u64::MAX);
        }
        let lines: String = self
            .events
            .iter()
            .filter(|(at, _, _)| *at > version)
            .map(|(_, kind, object)| format!("{}\n", json!({"type": kind, "object": object})))
            .collect();
        ((!lines.is_empty()).then_some(lines), self.version)
    }
}

fn status(code: u16, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "Scripted", "message": message})
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

fn whole(code: u16, body: impl ToString) -> Response<Body> {
    let body = Full::new(Bytes::from(body.to_string())).boxed_unsync();
    Response::builder().status(code).header("content-type", "application/json").body(body).unwrap()
}

async fn answer(
    request: Request<Incoming>,
    world: Arc<Mutex<World>>,
    changed: Arc<watch::Sender<u64>>,
) -> Result<Response<Body>, &'static str> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let watches = query.split('&').any(|pair| pair == "watch=true");
    let given = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
    while world.lock().unwrap().scenario == Scenario::Hold {
        sleep(Duration::from_millis(20)).await;
    }
    let (scenario, list) = {
        let mut world = world.lock().unwrap();
        world.requests.push(request.uri().to_string());
        if world.token.as_ref().is_some_and(|token| given != Some(format!("Bearer {token}"))) {
            return Ok(whole(401, status(401, "Unauthorized")));
        }
        let items: Vec<&Value> = world.pods.values().collect();
        let version = world.version.to_string();
        let list =
            json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": items});
        (world.scenario, if watches { String::new() } else { list.to_string() })
    };
    Ok(match scenario {
        Scenario::Status(code) => whole(code, status(code, "pods is forbidden or worse")),
        Scenario::Garbage => whole(200, "<html>Welcome to the hotel</html>"),
        Scenario::Close => return Err("closed on purpose"),
        Scenario::Hang => std::future::pending().await,
        _ if !watches => whole(200, list),
        Scenario::WatchStatus(code) => whole(code, status(code, "pods is forbidden or worse")),
        Scenario::EmptyWatch => whole(200, ""),
        Scenario::Serve | Scenario::Hold | Scenario::GarbageInWatch => {
            let version = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion=")?.parse().ok());
            let garbage =
                (scenario == Scenario::GarbageInWatch).then(|| "{\"type\":\"ADDED\",\"object\":[]}\n".to_owned());
            Response::new(watch_body(world, changed, version.unwrap(), garbage))
        }
    })
}

/// An endless body: what is known, then each change as it comes.
fn watch_body(world: Arc<Mutex<World>>, changed: Arc<watch::Sender<u64>>, version: u64, first: Option<String>) -> Body {
    let wake = changed.subscribe();
    let frames = stream::unfold((version, wake, first), move |(version, mut wake, first)| {
        let world = world.clone();
        async move {
            if let Some(line) = first {
                return Some((frame(line), (version, wake, None)));
            }
            loop {
                wake.borrow_and_update();
                if version == u64::MAX {
                    return None;
                }
                let (lines, reached) = world.lock().unwrap().lines_after(version);
                if let Some(lines) = lines {
                    return Some((frame(lines), (reached, wake, None)));
                }
                wake.changed().await.ok()?;
            }
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

fn frame(text: String) -> Result<Frame<Bytes>, Infallible> {
    Ok(Frame::data(text.into()))
}

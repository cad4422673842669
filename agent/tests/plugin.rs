//! The plugin socket with real sockets, a real HTTP client, and clients that misbehave.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking; clippy knows its functions, not their helpers")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use agent::counting::overview::Overview;
use agent::counting::snapshot::Snapshot;
use agent::health::Question;
use agent::scope::plugin::{self, Answers, Asked, Limits, Pulse, Refusal, Report, Reports, Socket};
use agent::shutdown::{self, Trigger};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// Much longer than anything here takes; only a hang reaches it.
const HANG: Duration = Duration::from_secs(20);
/// Short enough to wait for.
const SHORT: Duration = Duration::from_millis(200);

struct Server {
    path: PathBuf,
    trigger: Trigger,
    task: JoinHandle<()>,
    socket: Option<Socket>,
    _folder: tempfile::TempDir,
}

fn start(answers: Arc<dyn Answers>, limits: Limits) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let (socket, listener) = Socket::claim(&folder.path().join("not/yet/there")).unwrap();
    let (trigger, shutdown) = shutdown::channel();
    let task = tokio::spawn(plugin::serve(listener, answers, limits, shutdown));
    Server { path: socket.path().to_owned(), trigger, task, socket: Some(socket), _folder: folder }
}

fn reports() -> (watch::Sender<Arc<Snapshot>>, Arc<dyn Answers>) {
    let (sender, receiver) = watch::channel(Arc::new(Snapshot::empty("node-1".into())));
    (sender, Arc::new(Reports::new(receiver, watch::channel(Pulse::new()).1)))
}

/// An answer that no socket's buffer holds.
struct Huge;

impl Answers for Huge {
    fn report(&self, _asked: &Asked) -> Result<Report, String> {
        Ok(Report { bytes: vec![b' '; 32 << 20].into(), tick: 1, nodes: 1, left_out: 0 })
    }
    fn complaint(&self, _question: Question) -> Option<String> {
        None
    }
}

async fn connect(path: &Path) -> SendRequest<Empty<Bytes>> {
    let stream = UnixStream::connect(path).await.unwrap();
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn send(client: &mut SendRequest<Empty<Bytes>>, method: Method, uri: &str) -> (Response<()>, Bytes) {
    let request = Request::builder().method(method).uri(uri).header("Host", "plugin").body(Empty::new()).unwrap();
    client.ready().await.unwrap();
    let (head, body) = client.send_request(request).await.unwrap().into_parts();
    (Response::from_parts(head, ()), body.collect().await.unwrap().to_bytes())
}

/// Everything the server sends until it closes.
async fn raw(path: &Path, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).await.unwrap();
    // A server that has already closed is an answer, too.
    let _ = stream.write_all(request).await;
    until_closed(&mut stream).await
}

async fn until_closed(stream: &mut UnixStream) -> String {
    let mut answer = Vec::new();
    let _ = timeout(HANG, stream.read_to_end(&mut answer)).await.expect("the server hangs");
    String::from_utf8_lossy(&answer).into_owned()
}

#[track_caller]
fn id_in(report: &[u8]) -> String {
    let report: serde_json::Value = serde_json::from_slice(report).unwrap();
    report["Plugins"][0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn each_request_has_its_answer_and_the_connection_stays() {
    let (_sender, answers) = reports();
    let server = start(answers, Limits::DEFAULT);
    let mut client = connect(&server.path).await;
    let rows = [
        (Method::GET, "/report?api_version=1&probe_id=5f2e", 200),
        (Method::GET, "/report", 200),
        (Method::HEAD, "/report", 200),
        (Method::POST, "/report", 405),
        (Method::DELETE, "/report", 405),
        (Method::GET, "/", 404),
        (Method::GET, "/report/", 404),
        (Method::GET, "/reports", 404),
        (Method::POST, "/control", 404),
        (Method::GET, "/report", 200),
    ];
    for (method, uri, expected) in rows {
        let (response, body) = send(&mut client, method.clone(), uri).await;
        assert_eq!(response.status(), expected, "{method} {uri}");
        match response.status().as_u16() {
            200 => assert_eq!(response.headers()["content-type"], "application/json"),
            405 => assert_eq!(response.headers()["allow"], "GET, HEAD"),
            _ => {}
        }
        match (method, expected) {
            (Method::HEAD, _) => assert!(body.is_empty()),
            (_, 200) => assert_eq!(id_in(&body), "http-requests"),
            _ => assert!(!body.is_empty()),
        }
    }
}

#[tokio::test]
async fn an_overview_is_given_once_a_tick() {
    let (sender, answers) = reports();
    let server = start(answers, Limits::DEFAULT);
    let mut client = connect(&server.path).await;
    sender.send_replace(Arc::new(Snapshot { sequence: 7, ..Snapshot::empty("node-1".into()) }));
    for (uri, expected) in [
        ("/overview", 200),
        ("/overview?after=6", 200),
        ("/overview?after=7", 204),
        ("/overview?x=y&after=7", 204),
        ("/overview?after=x", 200),
        ("/overviews", 404),
    ] {
        let (response, body) = send(&mut client, Method::GET, uri).await;
        assert_eq!(response.status(), expected, "{uri}");
        if expected == 200 {
            let overview = Overview::of_json(std::str::from_utf8(&body).unwrap()).unwrap();
            assert_eq!((overview.sequence, overview.host.as_str()), (7, "node-1"));
        }
    }
    assert_eq!(send(&mut client, Method::POST, "/overview").await.0.status(), 405);
    let server = start(Arc::new(Refusal("no BTF".into())), Limits::DEFAULT);
    assert_eq!(send(&mut connect(&server.path).await, Method::GET, "/overview").await.0.status(), 503);
}

#[tokio::test]
async fn why_there_are_no_counts_is_where_scope_shows_it() {
    let server = start(Arc::new(Refusal("no BTF:\r\nuse a newer kernel".into())), Limits::DEFAULT);
    let answer = raw(&server.path, b"GET /report HTTP/1.1\r\nHost: plugin\r\nConnection: close\r\n\r\n").await;
    // Scope's status is "plugin returned non-200 status code: " and the rest of this line.
    assert!(answer.starts_with("HTTP/1.1 503 use a newer kernel (no BTF)\r\n"), "{answer}");
    assert!(answer.ends_with("no BTF:\r\nuse a newer kernel\n"), "{answer}");
}

/// Status and text of a health check.
async fn health(server: &Server, uri: &str) -> (u16, String) {
    let (response, body) = send(&mut connect(&server.path).await, Method::GET, uri).await;
    (response.status().as_u16(), String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn health_needs_ticks_and_no_requests() {
    let (_sender, snapshots) = watch::channel(Arc::new(Snapshot::empty("node-1".into())));
    let (beat, pulse) = watch::channel(Pulse::new());
    let server = start(Arc::new(Reports::new(snapshots, pulse)), Limits::DEFAULT);
    assert_eq!(health(&server, "/health/live").await, (200, "ok\n".into()));
    assert_eq!(health(&server, "/health/ready?verbose").await, (503, "no counts from the kernel yet\n".into()));
    beat.send_modify(|pulse| pulse.beat(false));
    assert_eq!(health(&server, "/health/ready").await.0, 503);
    beat.send_modify(|pulse| pulse.beat(true));
    assert_eq!(health(&server, "/health/ready").await, (200, "ok\n".into()));
    assert_eq!(health(&server, "/health").await.0, 404);
}

#[tokio::test]
async fn without_a_probe_the_agent_lives_and_is_not_ready() {
    let server = start(Arc::new(Refusal("no BTF".into())), Limits::DEFAULT);
    assert_eq!(health(&server, "/health/live").await.0, 200);
    assert_eq!(health(&server, "/health/ready").await, (503, "not counting: no BTF\n".into()));
}

#[tokio::test]
async fn a_hundred_clients_at_a_time() {
    let (_sender, answers) = reports();
    let server = start(answers, Limits::DEFAULT);
    let served = Arc::new(AtomicU32::new(0));
    let clients: Vec<_> = (0..100)
        .map(|_| {
            let (path, served) = (server.path.clone(), Arc::clone(&served));
            tokio::spawn(async move {
                let mut client = connect(&path).await;
                for _ in 0..10 {
                    assert_eq!(send(&mut client, Method::GET, "/report").await.0.status(), 200);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(served.load(Ordering::Relaxed), 1000);
}

#[tokio::test]
async fn of_too_many_the_one_goes_that_is_idle_for_longest() {
    let (_sender, answers) = reports();
    let server = start(answers, Limits { connections: 2, ..Limits::DEFAULT });
    let (mut first, mut second) = (connect(&server.path).await, connect(&server.path).await);
    for client in [&mut first, &mut second] {
        assert_eq!(send(client, Method::GET, "/report").await.0.status(), 200);
    }
    let request = b"GET /report HTTP/1.1\r\nHost: plugin\r\nConnection: close\r\n\r\n";
    assert!(raw(&server.path, request).await.starts_with("HTTP/1.1 200 OK\r\n"), "the new one is served");
    timeout(HANG, first.ready()).await.expect("the first one stays").unwrap_err();
    assert_eq!(send(&mut second, Method::GET, "/report").await.0.status(), 200);
}

#[tokio::test]
async fn while_all_are_being_answered_the_new_one_is_closed() {
    let server = start(Arc::new(Huge), Limits { connections: 2, ..Limits::DEFAULT });
    let mut taking = Vec::new();
    for _ in 0..2 {
        let mut stream = UnixStream::connect(&server.path).await.unwrap();
        stream.write_all(b"GET /report HTTP/1.1\r\nHost: plugin\r\n\r\n").await.unwrap();
        stream.read_exact(&mut [0]).await.unwrap();
        taking.push(stream);
    }
    assert_eq!(raw(&server.path, b"").await, "");
    drop(taking);
    let request = b"GET /health/live HTTP/1.1\r\nHost: plugin\r\nConnection: close\r\n\r\n";
    let deadline = Instant::now() + HANG;
    // When the server notices that they have left is up to it.
    while !raw(&server.path, request).await.starts_with("HTTP/1.1 200 OK\r\n") {
        assert!(Instant::now() < deadline, "the room never comes back");
    }
}

#[tokio::test]
async fn garbage_harms_nobody() {
    let (_sender, answers) = reports();
    let server = start(answers, Limits { head: SHORT, ..Limits::DEFAULT });
    let long = [b"GET /".as_slice(), &[b'a'; 100_000]].concat();
    let many = [b"GET /report HTTP/1.1\r\n".as_slice(), &b"a: b\r\n".repeat(20_000), b"\r\n"].concat();
    let rows: [&[u8]; 9] = [
        b"",
        b"\r\n\r\n\r\n",
        b"\0\0\0\0\0\0\0\0",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /report HTTP/9.9\r\n\r\n",
        b"POST /report HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        &long,
        &many,
    ];
    for garbage in rows {
        let answer = raw(&server.path, garbage).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{garbage:?}: {answer}");
    }
    let mut client = connect(&server.path).await;
    assert_eq!(send(&mut client, Method::GET, "/report").await.0.status(), 200);
}

#[tokio::test]
async fn a_body_that_never_comes_is_not_waited_for() {
    let (_sender, answers) = reports();
    let server = start(answers, Limits { head: SHORT, ..Limits::DEFAULT });
    let answer = raw(&server.path, b"POST /report HTTP/1.1\r\nHost: p\r\nContent-Length: 1000\r\n\r\nabc").await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off_while_others_are_served() {
    let (_sender, answers) = reports();
    let server = start(answers, Limits { head: SHORT, ..Limits::DEFAULT });
    let mut slow = UnixStream::connect(&server.path).await.unwrap();
    slow.write_all(b"GET /rep").await.unwrap();
    let mut client = connect(&server.path).await;
    assert_eq!(send(&mut client, Method::GET, "/report").await.0.status(), 200);
    until_closed(&mut slow).await;
}

#[tokio::test]
async fn a_client_that_says_nothing_is_closed_before_and_after_a_request() {
    let (_sender, answers) = reports();
    let server = start(answers, Limits { head: SHORT, ..Limits::DEFAULT });
    let mut silent = UnixStream::connect(&server.path).await.unwrap();
    until_closed(&mut silent).await;
    let answer = raw(&server.path, b"GET /report HTTP/1.1\r\nHost: plugin\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let server = start(Arc::new(Huge), Limits { write: SHORT, ..Limits::DEFAULT });
    let mut stuck = UnixStream::connect(&server.path).await.unwrap();
    stuck.write_all(b"GET /report HTTP/1.1\r\nHost: plugin\r\n\r\n").await.unwrap();
    let started = Instant::now();
    // Reads a byte now and then, which must not buy it more time.
    let mut received = 0;
    while started.elapsed() < 4 * SHORT {
        received += timeout(SHORT / 4, stuck.read(&mut [0])).await.map_or(0, Result::unwrap);
        tokio::time::sleep(SHORT / 8).await;
    }
    received += until_closed(&mut stuck).await.len();
    assert!(received < 32 << 20, "{received} bytes");
}

#[tokio::test]
async fn who_reads_gets_a_huge_answer_whole() {
    let server = start(Arc::new(Huge), Limits::DEFAULT);
    let mut client = connect(&server.path).await;
    for _ in 0..2 {
        assert_eq!(send(&mut client, Method::GET, "/report").await.1.len(), 32 << 20);
    }
}

#[tokio::test]
async fn the_end_closes_idle_clients_and_removes_the_socket() {
    let (_sender, answers) = reports();
    let mut server = start(answers, Limits::DEFAULT);
    let mut idle = UnixStream::connect(&server.path).await.unwrap();
    let mut client = connect(&server.path).await;
    assert_eq!(send(&mut client, Method::GET, "/report").await.0.status(), 200);
    server.trigger.pull();
    timeout(HANG, &mut server.task).await.expect("the server hangs").unwrap();
    assert_eq!(until_closed(&mut idle).await, "");
    assert!(server.path.exists());
    drop(server.socket.take());
    assert!(!server.path.exists());
}

#[tokio::test]
async fn the_end_waits_for_nobody_longer_than_the_deadline() {
    let mut server = start(Arc::new(Huge), Limits { drain: SHORT, write: HANG, ..Limits::DEFAULT });
    let mut stuck = UnixStream::connect(&server.path).await.unwrap();
    stuck.write_all(b"GET /report HTTP/1.1\r\nHost: plugin\r\n\r\n").await.unwrap();
    stuck.read_exact(&mut [0]).await.unwrap();
    let started = Instant::now();
    server.trigger.pull();
    timeout(HANG, &mut server.task).await.expect("the server hangs").unwrap();
    assert!(started.elapsed() >= SHORT && started.elapsed() < HANG / 2);
}

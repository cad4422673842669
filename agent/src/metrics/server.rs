//! Serves the metrics over TCP. EDGE.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::ACCEPT;
use hyper::{Request, Response, StatusCode};
use tokio::net::{TcpListener, TcpStream};

use super::format::Format;
use crate::health::Question;
use crate::http::serve::{self, Limits, of_type, refused, text};
use crate::shutdown::Shutdown;

/// Anybody who reaches the address may ask: fewer connections than the plugin's socket has, and no address more than a
/// quarter of them, but more time to take a megabyte over a network.
pub const LIMITS: Limits = Limits { connections: 32, share: 8, write: Duration::from_secs(10), ..Limits::DEFAULT };

/// How far behind all else strangers are served: their thread is as nice.
const NICENESS: i32 = 10;

/// Gives the metrics as they were at the last tick.
pub type Render = dyn Fn(Format) -> Bytes + Send + Sync;
/// One line that says what is wrong, if something is.
pub type Complaint = dyn Fn(Question) -> Option<String> + Send + Sync;

/// What requests are answered with.
#[derive(Clone)]
pub struct Answers {
    /// At `/metrics`.
    pub render: Arc<Render>,
    /// At `/health/ready`: a kubelet that asks here runs no command for it. Whether the agent lives is not told: strangers
    /// may keep this port busy, and that must not be the agent's end.
    pub complaint: Arc<Complaint>,
}

const INDEX: &str = include_str!("index.html");

/// Listens at the address.
///
/// # Errors
///
/// One line for people.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    let failed =
        |error: io::Error| format!("cannot serve metrics at {address}: {error}; choose another --metrics-address");
    TcpListener::bind(address).await.map_err(failed)
}

/// Serves until shutdown on a thread of its own: whatever strangers ask for, neither ticks nor Scope nor health wait.
///
/// # Errors
///
/// The system gives no thread.
pub fn serve_apart(
    listener: TcpListener,
    limits: Limits,
    shutdown: Shutdown,
    answers: Answers,
) -> io::Result<JoinHandle<io::Result<()>>> {
    let listener = listener.into_std()?;
    Builder::new().name("metrics".into()).spawn(move || {
        // Without a process id it is about this thread.
        if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
            tracing::debug!(%error, "metrics are served with the same priority as all else");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            serve(TcpListener::from_std(listener)?, limits, shutdown, answers).await;
            Ok(())
        })
    })
}

/// Serves until shutdown.
pub async fn serve(listener: TcpListener, limits: Limits, shutdown: Shutdown, answers: Answers) {
    serve::serve(listener, limits, shutdown, |_: &TcpStream| {
        let answers = answers.clone();
        move |request: &_| answer(&answers, request)
    })
    .await;
}

fn answer<B>(answers: &Answers, request: &Request<B>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let is_ready = path == Question::Ready.path();
    if !is_ready && !matches!(path, "/" | "/metrics") {
        return text(StatusCode::NOT_FOUND, "the paths are /, /metrics and /health/ready\n");
    }
    if let Some(refusal) = refused(request.method()) {
        return refusal;
    }
    if is_ready {
        return match (answers.complaint)(Question::Ready) {
            None => text(StatusCode::OK, "ok\n"),
            Some(complaint) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{complaint}\n")),
        };
    }
    if path == "/" {
        return of_type("text/html; charset=utf-8", INDEX);
    }
    let accepted = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::of(&accepted.collect::<Vec<_>>().join(","));
    of_type(format.content_type(), (answers.render)(format))
}

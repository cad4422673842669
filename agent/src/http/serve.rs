//! Serves HTTP to clients that may misbehave: bounds on their number, their time and their bytes. EDGE.

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::http::deadline::Deadline;
use crate::shutdown::Shutdown;

/// Bounds on what clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; a further one is closed at once, which tells its client more than
    /// silence would.
    pub connections: usize,
    /// From the start of waiting for a request to the end of its head: bounds slow and idle clients
    /// alike. Scope asks every second.
    pub head: Duration,
    /// For a client to take an answer.
    pub write: Duration,
    /// For clients to take their answers when the agent ends.
    pub drain: Duration,
}

impl Limits {
    /// What the plugin's socket runs with.
    pub const DEFAULT: Self = Self {
        connections: 128,
        head: Duration::from_secs(30),
        write: Duration::from_secs(5),
        drain: Duration::from_secs(1),
    };
}

/// After a failed accept (no descriptors left), so that the loop does not spin.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// A request's head is a few hundred bytes; hyper's least is 8 KiB.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// What clients connect to.
pub trait Listener {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Waits for the next connection.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// Serves until shutdown, then lets answers under way finish. `answering` makes what answers the
/// requests of one connection.
pub async fn serve<L, A>(
    listener: L,
    limits: Limits,
    mut shutdown: Shutdown,
    answering: impl Fn(&L::Stream) -> A + Send,
) where
    L: Listener + Send + Sync,
    A: Fn(&Request<Incoming>) -> Response<Full<Bytes>> + Send + Sync + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.requested() => break,
            accepted = listener.next() => match accepted {
                Ok(stream) if connections.len() < limits.connections => {
                    let answer = answering(&stream);
                    connections.spawn(connection(stream, answer, limits, shutdown.clone()));
                }
                Ok(_) => tracing::debug!(limit = limits.connections, "connection refused: too many"),
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection");
                    sleep(PAUSE_AFTER_ERROR).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    if timeout(limits.drain, async { while connections.join_next().await.is_some() {} }).await.is_err() {
        tracing::debug!(left = connections.len(), "clients cut off at the end");
    }
}

async fn connection<S, A>(stream: S, answer: A, limits: Limits, mut shutdown: Shutdown)
where
    S: AsyncRead + AsyncWrite + Unpin,
    A: Fn(&Request<Incoming>) -> Response<Full<Bytes>>,
{
    let service = service_fn(|request| {
        let response = answer(&request);
        async move { Ok::<_, io::Error>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(Deadline::new(stream, limits.write)), service);
    tokio::pin!(connection);
    let mut ending = false;
    loop {
        tokio::select! {
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
            () = shutdown.requested(), if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// The answer to a method that is neither GET nor HEAD.
#[must_use]
pub fn refused(method: &Method) -> Option<Response<Full<Bytes>>> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    Some(response)
}

/// A line for people.
pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = of_type("text/plain; charset=utf-8", text);
    *response.status_mut() = status;
    response
}

/// Content of this type.
pub fn of_type(content_type: &'static str, content: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(content.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

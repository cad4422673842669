//! Serves HTTP to clients that may misbehave: bounds on their number, their time and their bytes. EDGE.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::{AbortHandle, JoinSet, yield_now};
use tokio::time::{sleep, timeout};

use crate::http::deadline::{Client, Deadline};
use crate::http::seats::{Admission, Seat, admit};
use crate::shutdown::Shutdown;

/// Bounds on what clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time. Of more the one goes that has been idle for longest; if all are being answered, the
    /// new one is closed at once, which tells its client more than silence would.
    pub connections: usize,
    /// The same of one address.
    pub share: usize,
    /// From the start of waiting for a request to the end of its head: bounds slow and idle clients
    /// alike. Scope asks every second.
    pub head: Duration,
    /// For a client to take an answer.
    pub write: Duration,
    /// For clients to take their answers when the agent ends.
    pub drain: Duration,
}

impl Limits {
    /// What the plugin's socket runs with. All its clients are root's.
    pub const DEFAULT: Self = Self {
        connections: 128,
        share: 128,
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

    /// Waits for the next connection, and says where its client is.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, Option<IpAddr>)>> + Send;
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, Option<IpAddr>)> {
        self.accept().await.map(|(stream, _)| (stream, None))
    }
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, Option<IpAddr>)> {
        self.accept().await.map(|(stream, address)| (stream, Some(address.ip())))
    }
}

/// Answers the requests of one connection.
pub trait Answering: Send + Sync + 'static {
    /// The answer to one of them.
    fn answer(&self, request: &mut Request<Incoming>) -> Response<Full<Bytes>>;

    /// The client has left before it had the whole of the last answer, or took too long.
    fn abandoned(&self) {}
}

impl<F: Fn(&Request<Incoming>) -> Response<Full<Bytes>> + Send + Sync + 'static> Answering for F {
    fn answer(&self, request: &mut Request<Incoming>) -> Response<Full<Bytes>> {
        self(request)
    }
}

/// Serves until shutdown, then lets answers under way finish. `answering` makes what answers the
/// requests of one connection.
pub async fn serve<L: Listener + Send + Sync, A: Answering>(
    listener: L,
    limits: Limits,
    mut shutdown: Shutdown,
    answering: impl Fn(&L::Stream) -> A + Send,
) {
    let mut connections = Connections { limits, tasks: JoinSet::new(), seated: Vec::new() };
    loop {
        tokio::select! {
            () = shutdown.requested() => break,
            accepted = listener.next() => match accepted {
                Ok((stream, peer)) => {
                    if connections.make_room(peer) {
                        let (client, answering) = (Client::new(), answering(&stream));
                        let served = connection((stream, client.clone()), answering, limits, shutdown.clone());
                        connections.seat(served, peer, client);
                        // Who has asked already has its answer under way before a later one could take its place.
                        yield_now().await;
                    } else {
                        tracing::debug!(?limits, "connection refused: too many are being answered");
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection");
                    sleep(PAUSE_AFTER_ERROR).await;
                }
            },
            Some(ended) = connections.tasks.join_next_with_id() => connections.unseat(&ended),
        }
    }
    drop(listener);
    let mut left = connections.tasks;
    if timeout(limits.drain, async { while left.join_next().await.is_some() {} }).await.is_err() {
        tracing::debug!(left = left.len(), "clients cut off at the end");
    }
}

/// The connections there are.
struct Connections {
    limits: Limits,
    tasks: JoinSet<()>,
    /// Those that have not been told to go.
    seated: Vec<(AbortHandle, Option<IpAddr>, Client)>,
}

impl Connections {
    /// Whether there is room for one more from there; another may have to go for it.
    fn make_room(&mut self, peer: Option<IpAddr>) -> bool {
        let seats = self.seated.iter().map(|(_, peer, client)| Seat { peer: *peer, idle_since: client.idle_since() });
        match admit(&seats.collect::<Vec<_>>(), peer, (self.limits.connections, self.limits.share)) {
            Admission::Free => true,
            Admission::InsteadOf(index) => {
                self.seated.swap_remove(index).0.abort();
                true
            }
            Admission::Full => false,
        }
    }

    fn seat(&mut self, served: impl Future<Output = ()> + Send + 'static, peer: Option<IpAddr>, client: Client) {
        self.seated.push((self.tasks.spawn(served), peer, client));
    }

    fn unseat(&mut self, ended: &Result<(tokio::task::Id, ()), tokio::task::JoinError>) {
        let id = ended.as_ref().map_or_else(tokio::task::JoinError::id, |(id, ())| *id);
        self.seated.retain(|(task, ..)| task.id() != id);
    }
}

async fn connection<S, A>((stream, client): (S, Client), answering: A, limits: Limits, mut shutdown: Shutdown)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Answering,
{
    let service = service_fn(|mut request| {
        client.asks();
        let answering = &answering;
        async move {
            // Whoever asks again and again lets others have their turn.
            yield_now().await;
            Ok::<_, io::Error>(answering.answer(&mut request))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(Deadline::new(stream, limits.write, client.clone())), service)
        .with_upgrades();
    tokio::pin!(connection);
    let mut ending = false;
    loop {
        tokio::select! {
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                break;
            }
            () = shutdown.requested(), if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
    if client.has_left() {
        answering.abandoned();
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

/// The same bytes, compressed before.
#[must_use]
pub fn in_gzip(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response
}

//! Serves HTTP on the Unix socket that Weave Scope polls. EDGE.
//!
//! Scope grants half a second for everything and asks all its plugins one after another, so an
//! answer is ready before it is asked for, and no client can keep another one waiting.

mod answer;
mod deadline;
mod place;
mod socket;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

pub use answer::{Answers, Pulse, Refusal, Reports};
pub use place::claim_first;
pub use socket::{ClaimError, Socket, socket_path};

use crate::shutdown::Shutdown;
use deadline::Deadline;

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
    /// What the agent runs with.
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

/// Serves until shutdown, then lets answers under way finish.
pub async fn serve(listener: UnixListener, answers: Arc<dyn Answers>, limits: Limits, mut shutdown: Shutdown) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.requested() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < limits.connections => {
                    connections.spawn(connection(stream, Arc::clone(&answers), limits, shutdown.clone()));
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

async fn connection(stream: UnixStream, answers: Arc<dyn Answers>, limits: Limits, mut shutdown: Shutdown) {
    let peer = stream.peer_cred().ok().and_then(|peer| peer.pid()).and_then(|pid| u32::try_from(pid).ok());
    let service = service_fn(|request| {
        let response = answer::answer(&*answers, &request, peer);
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

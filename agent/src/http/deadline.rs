//! A stream that fails once its reader has taken too long for an answer, and that tells how its client is. EDGE.
//!
//! hyper bounds how long a request may take to arrive, not how long an answer may take to leave.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What a stream tells of its client.
#[derive(Clone, Debug)]
pub(crate) struct Client(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// Since when no answer is under way.
    idle_since: Option<Instant>,
    /// Whether it went before it had the whole of an answer.
    has_left: bool,
}

impl Client {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State { idle_since: Some(Instant::now()), has_left: false })))
    }

    /// Since when it has no answer under way.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        self.state().idle_since
    }

    /// Whether it went before it had the whole of an answer, or took too long. One that closes while bytes for it lie
    /// in its socket resets the connection (`unix_release_sock`, `tcp_close`).
    pub(crate) fn has_left(&self) -> bool {
        self.state().has_left
    }

    /// An answer is under way.
    pub(crate) fn asks(&self) {
        self.state().idle_since = None;
    }

    fn is_answered(&self) {
        self.state().idle_since.get_or_insert_with(Instant::now);
    }

    fn note<T>(&self, result: &Poll<io::Result<T>>) {
        if let Poll::Ready(Err(error)) = result
            && matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::TimedOut
            )
        {
            self.state().has_left = true;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stream with its deadline, which runs from the first byte of an answer that cannot be
/// written at once until everything is flushed.
pub(crate) struct Deadline<S> {
    stream: S,
    limit: Duration,
    running: Option<Pin<Box<Sleep>>>,
    client: Client,
}

impl<S> Deadline<S> {
    pub(crate) fn new(stream: S, limit: Duration, client: Client) -> Self {
        Self { stream, limit, running: None, client }
    }

    /// The stream without one.
    pub(crate) fn into_inner(self) -> S {
        self.stream
    }

    /// A client that takes a byte now and then gets no more time than one that takes none.
    fn or_expired<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        // hyper also flushes while it waits for what it is to write.
        self.client.asks();
        if result.is_ready() && self.running.is_none() {
            self.client.note(&result);
            return result;
        }
        let limit = self.limit;
        let running = self.running.get_or_insert_with(|| Box::pin(sleep(limit)));
        let result = match running.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => result,
        };
        self.client.note(&result);
        result
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Deadline<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.client.note(&result);
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Deadline<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.or_expired(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.or_expired(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when it has written everything it had: the answer is out.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        if let Poll::Ready(Ok(())) = result {
            self.running = None;
            self.client.is_answered();
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

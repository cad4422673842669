//! Serves HTTP on the Unix socket that Weave Scope polls. EDGE.
//!
//! Scope grants half a second for everything and asks all its plugins one after another, so an
//! answer is ready before it is asked for, and no client can keep another one waiting.

use std::sync::Arc;

use tokio::net::{UnixListener, UnixStream};

use super::answer::Answers;
use super::connection::Connection;
use crate::http::serve::{self, Limits};
use crate::shutdown::Shutdown;

/// Serves until shutdown, then lets answers under way finish.
pub async fn serve(listener: UnixListener, answers: Arc<dyn Answers>, limits: Limits, shutdown: Shutdown) {
    serve::serve(listener, limits, shutdown, |stream: &UnixStream| {
        Connection::new(Arc::clone(&answers), stream.peer_cred().ok())
    })
    .await;
}

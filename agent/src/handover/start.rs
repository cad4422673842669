//! How an agent starts: where no other is, as the first; else with what that one hands over, or in its place. EDGE.

use std::collections::HashMap;
use std::fmt::Display;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use common::maps::ProcessKey;
use tokio::net::UnixListener;
use tokio::task::spawn_blocking;

use super::origin::Origin;
use super::state::Kept;
use super::take::{Layouts, Offer, Refusal, accept, ask};
use crate::counting::tick::Handed;
use crate::scope::plugin::{ClaimError, PluginsRoot, Socket, claim_first};
use crate::shutdown::unwound;

/// What there is to count with.
pub struct Started<K> {
    /// The probe.
    pub probe: K,
    /// The plugin socket.
    pub socket: Socket,
    /// It, listening.
    pub listener: UnixListener,
    /// What counts start from.
    pub origin: Origin,
    /// What another agent had counted.
    pub kept: Option<Kept>,
    /// The processes whose requests in TLS it reads on.
    pub read: HashMap<ProcessKey, String>,
}

/// Why it cannot start.
pub enum NotStarted<E> {
    /// There is no place for the socket.
    NoSocket(ClaimError),
    /// The kernel does not let it count. Whoever asks on the socket, if it is this agent's, may be told so.
    NoProbe(E, Option<(Socket, UnixListener)>),
}

/// How an agent starts.
pub struct Start<L> {
    /// Where the socket is to be.
    pub root: PluginsRoot,
    /// What another agent's probe must be like; `None` where this one takes nobody's place.
    pub layout: Option<Layouts>,
    /// Loads the probe, or goes on with what was handed over.
    pub load: L,
}

impl<K, E: Display, L: FnMut(Option<Handed>) -> Result<K, E>> Start<L> {
    /// Starts.
    ///
    /// # Errors
    ///
    /// See [`NotStarted`].
    pub async fn start(mut self) -> Result<Started<K>, NotStarted<E>> {
        let (path, layout) = match self.claim().await {
            Ok((socket, listener)) => return self.first((socket, listener), Origin::Nothing),
            Err(ClaimError::InUse(path)) if self.layout.is_some() => (path, self.layout.take()),
            Err(error) => return Err(NotStarted::NoSocket(error)),
        };
        let cause = match asked(path.clone(), layout).await {
            Ok(offer) => match self.take(path, offer).await {
                Ok(started) => return Ok(started),
                Err(cause) => cause,
            },
            Err(Refusal::OtherLayout) => return self.beside(path).await,
            Err(Refusal::Failed(error)) => error.to_string(),
        };
        // It may have ended over it.
        match self.claim().await {
            Ok(claimed) => {
                tracing::warn!(
                    cause,
                    "the agent before this one ended without handing over: counting starts from nothing"
                );
                self.first(claimed, Origin::Refused)
            }
            Err(ClaimError::InUse(path)) => {
                tracing::warn!(
                    cause,
                    "the agent that serves {} does not hand over: this one takes its place and starts from nothing; end the other",
                    path.display()
                );
                self.instead()
            }
            Err(error) => Err(NotStarted::NoSocket(error)),
        }
    }

    async fn claim(&self) -> Result<(Socket, UnixListener), ClaimError> {
        let root = self.root.clone();
        unwound(spawn_blocking(move || claim_first(&root)).await)
    }

    /// With a socket of its own.
    fn first(
        &mut self,
        (socket, listener): (Socket, UnixListener),
        origin: Origin,
    ) -> Result<Started<K>, NotStarted<E>> {
        match (self.load)(None) {
            Ok(probe) => Ok(Started { probe, socket, listener, origin, kept: None, read: HashMap::new() }),
            Err(error) => Err(NotStarted::NoProbe(error, Some((socket, listener)))),
        }
    }

    /// With all that another agent gives. Until it is accepted, the other one counts on.
    async fn take(&mut self, path: PathBuf, offer: Offer) -> Result<Started<K>, String> {
        let Offer { stream, listener, probe, kept, read } = offer;
        let (handed, kept) = probe.zip(kept).ok_or("it gives no probe")?;
        let probe = (self.load)(Some(handed)).map_err(|error| error.to_string())?;
        let (socket, listener) = Socket::inherit(&path, listener).map_err(|error| error.to_string())?;
        match accepted(stream).await {
            Ok(()) => {
                announce(&listener);
                Ok(Started { probe, socket, listener, origin: Origin::Handover, kept: Some(kept), read })
            }
            Err(error) => {
                socket.give();
                Err(error.to_string())
            }
        }
    }

    /// With a probe of another layout: it counts before the other agent ends.
    async fn beside(&mut self, path: PathBuf) -> Result<Started<K>, NotStarted<E>> {
        tracing::warn!(
            "the agent before this one has a probe of another layout: this one's is loaded beside it, and counting starts from nothing"
        );
        let probe = (self.load)(None).map_err(|error| NotStarted::NoProbe(error, None))?;
        let given = match asked(path.clone(), None).await {
            Ok(Offer { stream, listener, .. }) => {
                accepted(stream).await.ok().and_then(|()| Socket::inherit(&path, listener).ok())
            }
            Err(_) => None,
        };
        let (socket, listener) = match given {
            Some((socket, listener)) => {
                announce(&listener);
                (socket, listener)
            }
            None => Socket::replace(&self.root.path).map_err(NotStarted::NoSocket)?,
        };
        Ok(Started { probe, socket, listener, origin: Origin::OtherLayout, kept: None, read: HashMap::new() })
    }

    /// In the place of one that keeps what it has.
    fn instead(&mut self) -> Result<Started<K>, NotStarted<E>> {
        let probe = (self.load)(None).map_err(|error| NotStarted::NoProbe(error, None))?;
        let (socket, listener) = Socket::replace(&self.root.path).map_err(NotStarted::NoSocket)?;
        Ok(Started { probe, socket, listener, origin: Origin::Refused, kept: None, read: HashMap::new() })
    }
}

/// Without it `health --own` would look at the agent that has gone.
fn announce(listener: &UnixListener) {
    if let Err(error) = Socket::announce(listener) {
        tracing::debug!(%error, "the socket is still that of the agent before");
    }
}

async fn asked(path: PathBuf, layout: Option<Layouts>) -> Result<Offer, Refusal> {
    unwound(spawn_blocking(move || ask(&path, layout.as_ref())).await)
}

async fn accepted(stream: UnixStream) -> std::io::Result<()> {
    unwound(spawn_blocking(move || accept(&stream)).await)
}

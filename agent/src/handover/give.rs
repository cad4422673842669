//! Hands over to another agent. EDGE.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::state::State;
use super::wire::{GIVEN, TAKEN, Timed, borrowed};
use crate::scope::plugin::Taker;

/// For all of it. Meanwhile nothing is read: it is made up for at the next tick, here or there.
const PATIENCE: Duration = Duration::from_secs(2);

/// Somebody else goes on.
#[derive(Debug)]
pub struct Given {
    /// The other side waits until this is dropped, which is when everything else is.
    _stream: UnixStream,
}

/// Gives the socket and what is counted to this agent. If that fails everything is as it was.
///
/// # Errors
///
/// Why it did not take it.
pub fn give(taker: Taker, state: &State, descriptors: &[OwnedFd]) -> io::Result<Given> {
    let bytes = serde_json::to_vec(state).map_err(io::Error::other)?;
    let mut timed = Timed { stream: &taker.stream, until: Instant::now() + PATIENCE };
    timed.send(&bytes, &borrowed(descriptors))?;
    timed.hear(TAKEN)?;
    // Whether that arrives or not: whoever has taken what there is may be about to change it.
    let _ = io::Write::write_all(&mut timed, &[GIVEN]);
    Ok(Given { _stream: taker.stream })
}

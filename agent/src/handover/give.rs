//! Hands over to another agent. EDGE.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::state::State;
use super::wire::{GIVEN, TAKEN, Timed, borrowed};
use crate::scope::plugin::Taker;

/// For all of it. Meanwhile nothing is read: it is made up for at the next tick, here or there.
const PATIENCE: Duration = Duration::from_secs(2);

/// Somebody has taken all that was offered, and waits to hear that it is given.
#[derive(Debug)]
pub struct Taken {
    stream: UnixStream,
}

/// Somebody else goes on.
#[derive(Debug)]
pub struct Given {
    /// The other side waits until this is dropped, which is when everything else is.
    _stream: UnixStream,
}

/// Offers the socket and what is counted to this agent; `following` are the descriptors of what reads TLS. If that fails everything is as
/// it was.
///
/// # Errors
///
/// Why it did not take it.
pub fn offer(
    taker: Taker,
    state: &State,
    (descriptors, following): (&[OwnedFd], &[BorrowedFd<'_>]),
) -> io::Result<Taken> {
    let bytes = serde_json::to_vec(state).map_err(io::Error::other)?;
    let mut timed = Timed { stream: &taker.stream, until: Instant::now() + PATIENCE };
    timed.send(&bytes, &borrowed(descriptors))?;
    timed.send_following(following)?;
    timed.hear(TAKEN)?;
    Ok(Taken { stream: taker.stream })
}

impl Taken {
    /// Gives it: nothing of it is touched here from now on.
    #[must_use]
    pub fn give(self) -> Given {
        // Whether that arrives or not: whoever has taken what there is may be about to change it.
        let _ = io::Write::write_all(&mut &self.stream, &[GIVEN]);
        Given { _stream: self.stream }
    }
}

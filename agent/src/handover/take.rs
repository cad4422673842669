//! Asks an agent that serves for what it counts. EDGE.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use common::maps::ProcessKey;
use rustix::process::getuid;

use super::state::{Kept, State, Tls, VERSION};
use super::wire::{GIVEN, TAKEN, Timed};
use crate::counting::tick::{Handed, Part};
use crate::scope::plugin::{OTHER_LAYOUT, PATH, PROTOCOL, TLS_LAYOUT, connected, server_of};

/// For what the other agent has to say.
const PATIENCE: Duration = Duration::from_secs(2);
/// For its end, so that what it has is free.
const END: Duration = Duration::from_secs(2);
const MAX_HEAD_BYTES: usize = 4096;

/// What another agent gives, until [`accept`] still its own.
pub(super) struct Offer {
    /// The connection to it.
    pub(super) stream: UnixStream,
    /// The listening plugin socket.
    pub(super) listener: OwnedFd,
    /// The probe, if it was asked for.
    pub(super) probe: Option<Handed>,
    /// What was counted, likewise.
    pub(super) kept: Option<Kept>,
    /// The processes whose requests in TLS are read, if that goes on.
    pub(super) read: HashMap<ProcessKey, String>,
}

/// What another agent must have for this one to go on with it.
#[derive(Clone, Debug)]
pub struct Layouts {
    /// A probe that is like this.
    pub probe: String,
    /// What reads TLS and is like this; `None` where this one reads none. Without it the rest is taken all the same.
    pub tls: Option<String>,
}

/// Why there is nothing to go on with.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Its probe is another one.
    OtherLayout,
    /// It did not answer as it should.
    Failed(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Asks for the probe of this layout, and for what reads TLS; or without one for the socket alone.
pub(super) fn ask(socket: &Path, wanted: Option<&Layouts>) -> Result<Offer, Refusal> {
    let stream = UnixStream::from(connected(socket).map_err(io::Error::from)?);
    stream.set_nonblocking(false)?;
    let server = server_of(&stream)?.uid();
    if server != getuid().as_raw() {
        return Err(io::Error::other(format!("user {server} serves there")).into());
    }
    let mut timed = Timed { stream: &stream, until: Instant::now() + PATIENCE };
    let query = wanted.map(|wanted| format!("?layout={}", wanted.probe)).unwrap_or_default();
    let tls = wanted.and_then(|wanted| wanted.tls.as_deref());
    let tls = tls.map(|layout| format!("{TLS_LAYOUT}: {layout}\r\n")).unwrap_or_default();
    let request = format!(
        "GET {PATH}{query} HTTP/1.1\r\nhost: plugin\r\nconnection: upgrade\r\nupgrade: {PROTOCOL}\r\n{tls}\r\n"
    );
    timed.write_all(request.as_bytes())?;
    let head = head(&mut timed)?;
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap_or_default();
    if status == OTHER_LAYOUT.as_str() {
        return Err(Refusal::OtherLayout);
    }
    if status != "101" {
        return Err(io::Error::other(format!("it answers {}", head.lines().next().unwrap_or_default())).into());
    }
    let (bytes, mut descriptors) = timed.receive()?;
    let state: State = serde_json::from_slice(&bytes).map_err(io::Error::other)?;
    if state.version != VERSION {
        return Err(io::Error::other(format!("its state is version {}, not {VERSION}", state.version)).into());
    }
    if let Some(fault) = state.kept.as_ref().and_then(|kept| kept.counting.fault()) {
        return Err(io::Error::other(fault).into());
    }
    if descriptors.is_empty() {
        return Err(io::Error::other("it gives no socket").into());
    }
    let listener = descriptors.remove(0);
    let mut read = HashMap::new();
    let mut tls = None;
    if let Some(Tls { probe: state, descriptors, read: processes }) = state.tls {
        tls = Some(Part { state, descriptors: timed.receive_following(descriptors)? });
        read = processes;
    }
    let probe = state.probe.map(|state| Handed { probe: Part { state, descriptors }, tls });
    Ok(Offer { stream, listener, probe, kept: state.kept, read })
}

/// Takes what an agent has offered on this connection, and waits until it is gone.
pub(super) fn accept(stream: &UnixStream) -> io::Result<()> {
    let mut timed = Timed { stream, until: Instant::now() + END };
    timed.write_all(&[TAKEN])?;
    timed.hear(GIVEN)?;
    timed.hear_the_end();
    Ok(())
}

/// The answer's head, and not a byte more: what follows may carry descriptors.
fn head(timed: &mut Timed<'_>) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MAX_HEAD_BYTES {
            return Err(io::Error::other("it does not speak HTTP"));
        }
        let mut byte = [0];
        timed.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    String::from_utf8(head).map_err(io::Error::other)
}

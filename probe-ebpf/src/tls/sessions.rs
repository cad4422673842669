//! Sessions of TLS: what is known of each, and what its process reads from it.

use aya_ebpf::bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST};
use aya_ebpf::btf_maps::HashMap;
use aya_ebpf::macros::btf_map;
use common::connection::{Arrival, Connection, Missing};
use common::failure::Failure;
use common::machine::Read;
use common::stream::{Phase, Stream};
use common::tls::session::{Key, MAX_SESSIONS};

use crate::answers;
use crate::calls::Bytes;
use crate::count;
use crate::maps::{count_failure, lose, mark, takes_room};
use crate::reader;
use crate::shared::increase;

/// Where each stands. Whoever reads from one has it for itself, or its process is at fault.
#[btf_map]
static SESSIONS: HashMap<Key, Connection, MAX_SESSIONS, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// A new session, whatever was at its address: a process may have freed one without a word, and its PID may be another's now.
#[inline(always)]
pub(crate) fn begin(session: Key, phase: Phase) -> Option<()> {
    insert(session, phase, 0)
}

/// A session whose begin is not told from what comes later.
#[inline(always)]
pub(crate) fn begin_unless_known(session: Key) -> Option<()> {
    // SAFETY: only whether it is there.
    if unsafe { SESSIONS.get(session) }.is_some() { None } else { insert(session, Phase::Begin, BPF_NOEXIST.into()) }
}

#[inline(always)]
fn insert(session: Key, phase: Phase, flags: u64) -> Option<()> {
    if !takes_room(1) {
        return lose(Failure::StorageFull);
    }
    let connection = Connection { stream: Stream { phase, ..Stream::default() }, ..Connection::default() };
    match SESSIONS.insert(session, connection, flags) {
        Ok(()) => Some(()),
        Err(_) => lose(Failure::StorageFull),
    }
}

#[inline(always)]
pub(crate) fn end(session: Key) -> Option<()> {
    SESSIONS.remove(session).ok()
}

/// How far a session was read; 0 for one that is not known.
#[inline(always)]
pub(crate) fn position(session: Key) -> u64 {
    // SAFETY: a word, of a session that only this task reads from.
    unsafe { SESSIONS.get(session) }.map_or(0, |connection| connection.next)
}

/// A process has read from a session, and how many bytes cannot be told.
#[inline(always)]
pub(crate) fn untold(session: Key) -> Option<()> {
    // SAFETY: nobody else reads from it.
    let connection = unsafe { SESSIONS.get_ptr_mut(session)?.as_mut()? };
    connection.lose_certainty(Failure::Unreadable);
    count_failure(Failure::Unreadable as u32);
    None
}

/// A process has read from a session.
#[inline(always)]
pub(crate) fn read(session: Key, bytes: Bytes) -> Option<()> {
    if SESSIONS.get_ptr(session).is_none() {
        // Open before the probe, or inherited from the process in which it began.
        insert(session, Phase::Unsynced, BPF_NOEXIST.into())?;
        count_failure(Failure::Joined as u32);
    }
    // SAFETY: nobody else reads from it.
    let connection = unsafe { SESSIONS.get_ptr_mut(session)?.as_mut()? };
    // Another function that this one called has read them, and said so.
    if connection.next > bytes.position {
        return None;
    }
    let is_first = connection.next == 0;
    answers::decide(connection, session);
    // A joined one is tried at each read: nothing is known of answers.
    let (position, sent) = (connection.next, connection.sent.wrapping_add(1));
    let trial = match connection.arrive(position, bytes.length, sent, |_| Missing::Unseen) {
        Arrival::Process(_) => false,
        Arrival::Try => true,
        Arrival::Ignore | Arrival::Look | Arrival::Lost(_) => return None,
    };
    // Of one that joined it is not known whose it is.
    if is_first && !trial {
        count_session(connection);
    }
    let mut read = Read::new(0, bytes.length);
    read.pass_over(&mut connection.stream);
    if read.offset >= bytes.length {
        return None;
    }
    if reader::process(session, &bytes, (read, trial), connection)? {
        count_session(connection);
    }
    Some(())
}

/// Counts a session of which something is read. A function of its own: it is called once a session.
#[inline(never)]
fn count_session(connection: &mut Connection) {
    if let Some(counts) = count::current(connection) {
        increase(&mut counts.tls_sessions, 1);
        mark(connection.slot);
    } else {
        count_failure(Failure::ProcessTableFull as u32);
    }
}

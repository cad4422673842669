//! Where the answering direction of a session is kept.

use aya_ebpf::bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST};
use aya_ebpf::btf_maps::{Array, HashMap};
use aya_ebpf::macros::btf_map;
use common::exchange::{self, Streams};
use common::tls::session::{Answering, Key, MAX_ANSWERING, NOTED, Waiting};

use crate::maps::takes_room;

/// Either takes the room of so many connections.
const ROOM: i64 = 3;

/// By what a session is known.
pub(super) type Owner<'k> = &'k Key;

/// Its answering direction.
pub(super) type Exchange = exchange::Exchange<Waiting>;

/// What is noted of its requests of HTTP/2.
pub(super) type Inbox = exchange::Inbox<u32, NOTED>;

/// The answering direction of sessions that have carried a request.
#[btf_map]
static ANSWERING: HashMap<Key, Answering, MAX_ANSWERING, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// The same of HTTP/2.
#[btf_map]
static H2_ANSWERING: HashMap<Key, Streams, MAX_ANSWERING, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// What either begins as; there is no room for it on the stack. Nobody writes it.
#[repr(C)]
struct Blank {
    answering: Answering,
    streams: Streams,
}

#[btf_map]
static BLANK: Array<Blank, 1> = Array::new();

/// The answering direction of a session, if it has carried a request.
#[inline(always)]
pub(super) fn answering<'a>(session: &Key) -> Option<&'a mut Answering> {
    // SAFETY: who reads requests and who writes answers have each a part of it for themselves, or their process is at fault.
    unsafe { ANSWERING.get_ptr_mut(session)?.as_mut() }
}

/// The same, made if need be.
#[inline(always)]
pub(super) fn answering_made<'a>(session: &Key) -> Option<&'a mut Answering> {
    if let Some(answering) = answering(session) {
        return Some(answering);
    }
    if !takes_room(ROOM) {
        return None;
    }
    // SAFETY: an element of the map, which never goes.
    let blank = unsafe { &(*BLANK.get_ptr(0)?).answering };
    ANSWERING.insert(session, blank, BPF_NOEXIST.into()).ok()?;
    answering(session)
}

/// HTTP/2's part of it.
#[inline(always)]
pub(super) fn streams<'a>(session: &Key) -> Option<&'a mut Streams> {
    // SAFETY: of who writes answers.
    unsafe { H2_ANSWERING.get_ptr_mut(session)?.as_mut() }
}

/// HTTP/2's part of it, made if need be.
#[inline(always)]
pub(super) fn streams_made<'a>(session: &Key) -> Option<&'a mut Streams> {
    if let Some(streams) = streams(session) {
        return Some(streams);
    }
    if !takes_room(ROOM) {
        return None;
    }
    // SAFETY: an element of the map, which never goes.
    let blank = unsafe { &(*BLANK.get_ptr(0)?).streams };
    H2_ANSWERING.insert(session, blank, BPF_NOEXIST.into()).ok()?;
    streams(session)
}

/// Gives all of it back.
#[inline(always)]
pub(super) fn forget(session: &Key) {
    let _ = H2_ANSWERING.remove(session);
    let _ = ANSWERING.remove(session);
}

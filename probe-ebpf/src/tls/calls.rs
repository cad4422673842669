//! Calls that read: from their entry, which says where the bytes will be, to their end, which says how many came.

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::btf_maps::HashMap;
use aya_ebpf::helpers::bpf_probe_read_user;
use aya_ebpf::macros::btf_map;
use common::failure::Failure;
use common::tls::action::GNUTLS_CLIENT;
use common::tls::session::{Key, MAX_CALLS};

use crate::maps::lose;
use crate::sessions::{position, untold};

/// What a function was called with.
#[repr(C)]
#[derive(Clone, Copy)]
struct Call {
    session: u64,
    buffer: u64,
    /// Where it writes how many bytes came; 0 where it returns that.
    length_at: u64,
    /// How far the session had been read.
    position: u64,
}

#[btf_map]
static CALLS: HashMap<Key, Call, MAX_CALLS, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// More than a library hands over at a time.
const MOST_BYTES: i64 = 1 << 30;

/// How many bytes a call says that it has read, or written.
#[derive(Clone, Copy)]
pub(crate) enum Length {
    /// None if it is not positive.
    Known(i64),
    /// As many as it has written where it was told to.
    Stored,
}

impl Length {
    /// Where the result says that it was written.
    #[inline(always)]
    pub(crate) fn stored(is_stored: bool) -> Self {
        if is_stored { Self::Stored } else { Self::Known(0) }
    }

    /// How many that are, of a call that stores it there.
    #[inline(always)]
    pub(crate) fn at(self, stored_at: u64) -> Option<i64> {
        match self {
            Self::Known(length) => Some(length),
            Self::Stored => {
                // SAFETY: the helper checks the address.
                let stored = unsafe { bpf_probe_read_user::<u64>(stored_at as *const u64) };
                stored.ok().map(|stored| stored as i64)
            }
        }
    }
}

/// What was read from a session.
pub(crate) struct Bytes {
    pub(crate) address: u64,
    pub(crate) length: u32,
    /// How far the session had been read at the call's entry.
    pub(crate) position: u64,
    /// What is written to the session is looked at, too.
    pub(crate) is_answered: bool,
}

/// One that did not end, as after a `longjmp`, is replaced.
#[inline(always)]
pub(crate) fn begin(key: Key, session: u64, buffer: u64, length_at: u64) -> Option<()> {
    let position = position(Key { at: session, ..key });
    let call = Call { session, buffer, length_at, position };
    // Where it finds no room its end says so.
    CALLS.insert(key, call, 0).ok()
}

/// A session is to be made, and written there. Only of clients something is noted: a server's begins with its handshake.
#[inline(always)]
pub(crate) fn begin_init(key: Key, session_at: u64, flags: u64) -> Option<()> {
    if flags & GNUTLS_CLIENT == 0 {
        return None;
    }
    // What finds no room is taken for a server's.
    CALLS.insert(key, Call { session: session_at, buffer: 0, length_at: 0, position: 0 }, 0).ok()
}

/// The client's session, if it was made.
#[inline(always)]
pub(crate) fn end_init(key: Key, is_made: bool) -> Option<Key> {
    // SAFETY: copied at once. Nobody else has this task's stack.
    let session_at = unsafe { CALLS.get(key) }?.session;
    let _ = CALLS.remove(key);
    if !is_made {
        return None;
    }
    // SAFETY: the helper checks the address.
    let session = unsafe { bpf_probe_read_user::<u64>(session_at as *const u64) };
    Some(Key { at: session.ok()?, ..key })
}

/// The session, and what was read from it.
#[inline(always)]
pub(crate) fn end(key: Key, length: Length, is_answered: bool) -> Option<(Key, Bytes)> {
    // SAFETY: copied at once. Nobody else has this task's stack, or its goroutine.
    let Some(call) = unsafe { CALLS.get(key) }.copied() else {
        let none = matches!(length, Length::Known(length) if length <= 0);
        return if none { None } else { lose(Failure::CallLost) };
    };
    let _ = CALLS.remove(key);
    let Some(length) = length.at(call.length_at) else {
        untold(Key { at: call.session, ..key });
        return None;
    };
    if length <= 0 {
        return None;
    }
    let length = if length < MOST_BYTES { length } else { MOST_BYTES };
    let bytes = Bytes { address: call.buffer, length: length as u32, position: call.position, is_answered };
    Some((Key { at: call.session, ..key }, bytes))
}

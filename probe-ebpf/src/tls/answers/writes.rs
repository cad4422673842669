//! Calls that write: from their entry, which says where the bytes are, to their end, which says how many the library took.

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::btf_maps::HashMap;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_map;
use common::exchange::Untold;
use common::stream::Phase;
use common::tls::session::{Key, MAX_CALLS, Waiting};

use super::finish::finish;
use super::follow::{self, Bytes, Parts, turns};
use super::inbox;
use super::maps::{self, Exchange};
use crate::calls::Length;
use crate::kernel::add_in_order;
use crate::reader::{self, Cursor, Job, UserFill};

/// What a function was called with.
#[repr(C)]
#[derive(Clone, Copy)]
struct Write {
    session: u64,
    /// 0: they are in no memory of the process.
    buffer: u64,
    /// Where it writes how many bytes it took; 0 where it returns that.
    length_at: u64,
    /// How many bytes of answers had been seen (modulo 2^32), and above it [`IS_ALONE`], [`IS_WIDE`].
    seen: u64,
}

/// The function may call another one that is probed, for the same bytes.
pub(crate) const MAY_CALL: u64 = 0;
/// It calls none, and others may write to the session meanwhile.
pub(crate) const IS_ALONE: u64 = 1 << 32;
/// Its result has 64 bits; that of others 32.
pub(crate) const IS_WIDE: u64 = 1 << 33;

#[btf_map]
static WRITES: HashMap<Key, Write, MAX_CALLS, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// In [`Answering::writing`](common::tls::session::Answering), once.
const CLOSED: u64 = 1 << 32;

/// More than a library takes at a time.
const MOST_BYTES: i64 = 1 << 30;

/// A function that writes was called. One that did not end is replaced.
#[inline(never)]
pub(crate) fn begin(call: &Key, session: u64, buffer: u64, length_at: u64, calls: u64) -> Option<()> {
    let answering = maps::answering(&Key { at: session, ..*call })?;
    if answering.again != 0 {
        return None;
    }
    let seen = calls | u64::from(answering.exchange.next);
    if WRITES.insert(call, Write { session, buffer, length_at, seen }, 0).is_err() {
        // Its bytes will not be seen.
        inbox::note_break(&mut answering.exchange);
    } else if calls & IS_ALONE != 0 {
        add_in_order(&mut answering.writing, 1);
    }
    Some(())
}

/// It ends. Of sessions that were owed nothing when it was called, nothing is known.
///
/// One key for all, and no copies: what is on the stack here adds to what the turns have there. And what the function was, its entry has
/// noted: if each end told it, the verifier would follow all of this once for each.
#[inline(always)]
pub(crate) fn end(mut key: Key, result: u64) -> Option<()> {
    // SAFETY: nobody else has this task's stack, or its goroutine.
    let write = unsafe { WRITES.get(key) }?;
    let (session, buffer, seen) = (write.session, write.buffer, write.seen);
    let mut length = if seen & IS_WIDE != 0 { result as i64 } else { i64::from(result as i32) };
    let mut is_told = true;
    if write.length_at != 0 {
        let stored = if length == 1 { Length::Stored.at(write.length_at) } else { Some(0) };
        is_told = stored.is_some();
        length = stored.unwrap_or_default();
    }
    let _ = WRITES.remove(key);
    key.at = session;
    if !is_told {
        return unseen(key);
    }
    if length > 0 {
        took(&key, (buffer, length), seen);
    }
    if seen & IS_ALONE != 0 {
        let others = add_in_order(&mut maps::answering(&key)?.writing, u64::MAX).wrapping_sub(1);
        if others != 0 && others as u32 == 0 {
            return ended(key);
        }
    }
    Some(())
}

/// The library took so many bytes.
#[inline(always)]
fn took(key: &Key, (buffer, length): (u64, i64), seen: u64) -> Option<()> {
    let answering = maps::answering(key)?;
    let (exchange, inbox) = (&mut answering.exchange, &mut answering.inbox);
    // Another function that this one called has written them, and said so.
    if seen & IS_ALONE == 0 && seen as u32 != exchange.next {
        return None;
    }
    let position = exchange.next;
    inbox::take(exchange, inbox, key, position);
    if exchange.stream.phase.reads_on() && exchange.stream.phase != Phase::Begin {
        follow(exchange, key, (buffer, position), length);
    }
    inbox::give_back(exchange);
    Some(())
}

/// `length` bytes of answers, from `position` on.
#[inline(always)]
fn follow(exchange: &mut Exchange, key: &Key, (buffer, position): (u64, u32), length: i64) {
    let Some(claimed) = (if length < MOST_BYTES { reader::claim() } else { None }) else {
        follow::lose(exchange, key, Untold::Unreadable);
        return;
    };
    claimed.job.cursor = Cursor::new(0, buffer, (0, length as u32));
    follow::process(exchange, key, (position, length as u32), &Written(&raw mut claimed.job));
    claimed.give_back();
}

/// A function was called that writes what was seen before, by calling others.
#[inline(always)]
pub(crate) fn begin_again(call: Key, session: u64) -> Option<()> {
    let answering = maps::answering(&Key { at: session, ..call })?;
    let write = Write { session, buffer: 0, length_at: 0, seen: 0 };
    WRITES.insert(call, write, 0).ok()?;
    answering.again = 1;
    Some(())
}

/// It ends.
#[inline(always)]
pub(crate) fn end_again(call: Key) -> Option<()> {
    // SAFETY: as above.
    let session = unsafe { WRITES.get(call) }?.session;
    let _ = WRITES.remove(call);
    maps::answering(&Key { at: session, ..call })?.again = 0;
    Some(())
}

/// Bytes are written that are not seen.
#[inline(always)]
pub(crate) fn unseen(session: Key) -> Option<()> {
    inbox::note_break(&mut maps::answering(&session)?.exchange);
    Some(())
}

/// A session is closed, perhaps while somebody writes to it: then it ends behind that.
#[inline(always)]
pub(crate) fn closed(session: Key) -> Option<()> {
    let before = add_in_order(&mut maps::answering(&session)?.writing, CLOSED);
    if before == 0 { ended(session) } else { None }
}

/// Nothing more is written to a session.
#[inline(never)]
pub(crate) fn ended(session: Key) -> Option<()> {
    let answering = maps::answering(&session)?;
    let (exchange, inbox) = (&mut answering.exchange, &mut answering.inbox);
    let position = exchange.next;
    inbox::take(exchange, inbox, &session, position);
    // SAFETY: no arguments.
    finish(exchange, &session, unsafe { bpf_ktime_get_ns() });
    maps::forget(&session);
    Some(())
}

/// Bytes that the library took, where the job's cursor stands.
struct Written(*mut Job);

impl Bytes for Written {
    type Waiting = Waiting;

    #[inline(always)]
    fn job<'a>(&self) -> Option<&'a mut Job> {
        // SAFETY: claimed for this.
        unsafe { self.0.as_mut() }
    }

    #[inline(always)]
    fn open(&self, job: &mut Job, _length: u32) -> bool {
        job.cursor.address != 0
    }

    #[inline(always)]
    fn take<const FRAMES: bool>(&self, parts: &Parts<Self::Waiting>) -> bool {
        turns::<UserFill, _, FRAMES>(parts, UserFill);
        true
    }
}

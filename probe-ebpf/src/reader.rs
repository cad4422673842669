//! Runs the state machine over the bytes of one read, a window at a time.

use aya_ebpf::helpers::{bpf_dynptr_read, bpf_loop};
use common::connection::Connection;
use common::failure::Failure;
use common::maps::Version;
use common::stream::{Event, Read, Source, turn};
use common::window::{SLACK, Window};
use common::word;
use core::ffi::c_void;
use core::ptr::from_mut;

use crate::kernel::{Dynptr, bounded, dynptr_from_skb, load_word};
use crate::maps;

/// Bytes that a window holds; an ordinary head fits.
const CAPACITY: u32 = 1024;
/// The highest address that a masked one can be. The window is that large, and more: one operation
/// shows the verifier that an address is within it.
const HIGHEST: u32 = 2 * CAPACITY - 1;
const _: () = assert!(CAPACITY.is_power_of_two() && CAPACITY >= SLACK);
/// Turns that one read may take. A turn passes over at least a byte, or is one of a few that
/// prepare it, so only a read of more than 2 MiB in single bytes could need more.
const MAX_TURNS: u32 = 1 << 22;

/// One read to process, and what was found in it so far. It is kept in a map: of what is on the
/// stack the verifier follows every value, of this none.
#[repr(C)]
pub(crate) struct Job {
    /// A copy of the stretch of the read that is being looked at, and bytes of any value.
    window: [u8; (HIGHEST + 1 + 2 * word::BYTES) as usize],
    read: Read,
    skb_offset: u32,
    /// Requests by version.
    pub(crate) requests: [u32; Version::ALL.len()],
    /// The loss that ended it, and one more; 0 for none.
    failure: u32,
    /// The connection is not certain: 1 while no request was found, else 0.
    trial: u32,
    /// A connection became certain again: 1, else 0.
    pub(crate) resynced: u32,
}

impl Job {
    /// The loss that ended the read.
    #[inline(always)]
    pub(crate) fn failure(&self) -> Option<u32> {
        self.failure.checked_sub(1)
    }
}

/// What one turn works with.
struct Work {
    job: *mut Job,
    connection: *mut Connection,
    dynptr: *const Dynptr,
}

/// The bytes of a buffer, wherever the kernel keeps them: linear part, fragments, fragment list.
struct DynptrSource {
    dynptr: *const Dynptr,
    window: *mut u8,
    skb_offset: u32,
}

impl Window for DynptrSource {
    #[inline(always)]
    fn byte(&self, at: u32) -> u8 {
        let at = bounded::<{ HIGHEST as i32 }>(at);
        // SAFETY: within the window.
        unsafe { self.window.add(at as usize).read() }
    }

    #[inline(always)]
    fn word(&self, at: u32) -> u64 {
        let at = bounded::<{ HIGHEST as i32 }>(at);
        // SAFETY: within the window, which ends two words behind the highest address.
        unsafe { load_word(self.window.add(at as usize)) }
    }

    #[inline(always)]
    fn pair(&self, at: u32) -> (u64, u64) {
        let at = bounded::<{ HIGHEST as i32 }>(at);
        // SAFETY: within the window, which ends two words behind the highest address.
        unsafe { (load_word(self.window.add(at as usize)), load_word(self.window.add(at as usize + 8))) }
    }

    #[inline(always)]
    fn somewhere(&self, at: u32) -> u32 {
        bounded::<{ HIGHEST as i32 }>(at) as u32
    }
}

impl Source for DynptrSource {
    const CAPACITY: u32 = CAPACITY;

    #[inline(always)]
    fn fill(&mut self, offset: u32, length: u32) -> bool {
        let length = bounded::<{ HIGHEST as i32 }>(length);
        if length == 0 || length > CAPACITY.into() {
            return false;
        }
        let (dynptr, offset) = (self.dynptr.cast_mut().cast(), self.skb_offset + offset);
        // SAFETY: `length` is at most what the window holds.
        unsafe { bpf_dynptr_read(self.window.cast(), length as u32, dynptr, offset.into(), 0) == 0 }
    }
}

/// Processes a read whose first byte is at `skb_offset` of the buffer.
#[inline(always)]
pub(crate) fn process<'a>(
    skb: *const u8,
    skb_offset: u32,
    read: Read,
    connection: &mut Connection,
    trial: bool,
) -> Option<&'a mut Job> {
    let job = maps::job()?;
    job.read = read;
    job.skb_offset = skb_offset;
    job.requests = [0; Version::ALL.len()];
    job.failure = 0;
    job.trial = trial.into();
    job.resynced = 0;
    if !take_turns(skb, job, connection) {
        connection.give_up();
        job.failure = Failure::Unreadable as u32 + 1;
    } else if job.trial != 0 {
        connection.give_up();
    } else if job.read.offset < job.read.end && connection.stream.phase.reads_on() {
        connection.give_up();
        job.failure = Failure::StepBudget as u32 + 1;
    }
    Some(job)
}

/// A function of its own, because the verifier lets nothing else use a dynptr's place on the stack
/// until its function returns, which the compiler does not know.
#[inline(never)]
fn take_turns(skb: *const u8, job: *mut Job, connection: *mut Connection) -> bool {
    let mut dynptr = Dynptr::uninit();
    if !dynptr_from_skb(skb, &mut dynptr) {
        return false;
    }
    let mut work = Work { job, connection, dynptr: &raw const dynptr };
    // An ordinary request is one turn: no call for it.
    if turn_once(&mut work) {
        // SAFETY: `work` outlives the loop, and `take_turn` is the callback for it.
        unsafe { bpf_loop(MAX_TURNS, take_turn as *mut c_void, from_mut(&mut work).cast(), 0) };
    }
    true
}

/// `long callback(u64 index, void *context)`: 0 to go on, 1 to stop.
extern "C" fn take_turn(_index: u64, work: *mut Work) -> i64 {
    // SAFETY: `bpf_loop` hands over what `take_turns` gave it.
    let more = turn_once(unsafe { &mut *work });
    i64::from(!more)
}

/// One turn; says whether there is more to do.
#[inline(always)]
fn turn_once(work: &mut Work) -> bool {
    // SAFETY: `take_turns` was given both.
    let (job, connection) = unsafe { (&mut *work.job, &mut *work.connection) };
    let mut source = DynptrSource { dynptr: work.dynptr, window: job.window.as_mut_ptr(), skb_offset: job.skb_offset };
    match turn(&mut connection.stream, &mut source, &mut job.read) {
        None => return false,
        Some(Event::None) => {}
        Some(Event::Request(version)) => {
            match version {
                Version::Http10 => job.requests[0] += 1,
                Version::Http11 => job.requests[1] += 1,
                Version::Http2 => job.requests[2] += 1,
            }
            job.resynced |= job.trial;
            job.trial = 0;
        }
        Some(Event::Failed(cause)) => {
            job.failure = cause as u32 + 1;
            return false;
        }
    }
    job.read.offset < job.read.end
}

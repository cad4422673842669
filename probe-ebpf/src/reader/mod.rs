//! Runs the state machine over the bytes of one read, a window at a time.

mod direct;
mod dynptr;
mod user;

use aya_ebpf::helpers::bpf_loop;
use common::connection::Connection;
use common::event::Event;
use common::failure::Failure;
use common::machine::{Read, Source, turn};
use common::maps::Version;
use common::window::{SLACK, Window};
use common::word;
use core::ffi::c_void;
use core::ptr::from_mut;

use crate::kernel::{bounded, load_pair, load_word};
use crate::maps;

pub(crate) use direct::Direct;
use direct::Spot;
pub(crate) use dynptr::ThroughDynptr;
use user::Cursor;
pub(crate) use user::User;

/// Bytes of a read that are copied at a time; an ordinary head fits.
const COPIED: u32 = 1024;
const _: () = assert!(COPIED.is_power_of_two() && COPIED >= SLACK);

/// The highest address that a masked one can be. The window is that large, and more: one operation
/// shows the verifier that an address is within it.
const fn highest(capacity: u32) -> i32 {
    2 * capacity as i32 - 1
}

/// Turns that one read may take. A turn passes over at least a byte, or is one of a few that
/// prepare it, so only a read of more than 2 MiB in single bytes could need more.
const MAX_TURNS: u32 = 1 << 22;

/// One read to process, and what was found in it so far. It is kept in a map: of what is on the
/// stack the verifier follows every value, of this none.
#[repr(C)]
pub(crate) struct Job {
    /// A copy of the stretch of the read that is being looked at, and bytes of any value.
    window: [u8; (2 * COPIED + 2 * word::BYTES) as usize],
    read: Read,
    /// Requests by version.
    pub(crate) requests: [u32; Version::ALL.len()],
    /// The loss that ended it, and one more; 0 for none.
    failure: u32,
    /// The connection is not certain: 1 while no request was found, else 0.
    trial: u32,
    /// A connection became certain again: 1, else 0.
    pub(crate) resynced: u32,
    /// [`Direct`], [`ThroughDynptr`]: where the read begins in the buffer.
    skb_offset: u32,
    /// [`User`]: where the window was last filled from.
    cursor: Cursor,
    /// [`Direct`]: the same.
    spot: Spot,
}

impl Job {
    /// One store after the other: the compiler would call a function that clears them byte by byte.
    #[inline(always)]
    fn begin(&mut self, read: Read, trial: bool) {
        macro_rules! set {
            ($($member:ident).+, $value:expr) => {
                // SAFETY: a member of this.
                unsafe { (&raw mut self.$($member).+).write_volatile($value) }
            };
        }
        set!(read.offset, read.offset);
        set!(read.end, read.end);
        set!(read.window_start, read.window_start);
        set!(read.window_end, read.window_end);
        for requests in &mut self.requests {
            // SAFETY: a member of this.
            unsafe { core::ptr::from_mut(requests).write_volatile(0) };
        }
        set!(failure, 0);
        set!(trial, trial.into());
        set!(resynced, 0);
    }

    /// The loss that ended the read.
    #[inline(always)]
    pub(crate) fn failure(&self) -> Option<u32> {
        self.failure.checked_sub(1)
    }
}

/// A way to get at the bytes that are being read.
pub(crate) trait Reader {
    /// Whether a read whose first byte stands at `skb_offset` of the buffer is one it can read.
    #[inline(always)]
    fn suits(&self, _skb_offset: u32) -> bool {
        true
    }

    /// Takes the job's turns; false when the bytes cannot be read.
    fn take_turns(&self, skb_offset: u32, job: &mut Job, connection: &mut Connection) -> bool;
}

/// Brings bytes into the window.
trait Fill {
    /// The largest window, a power of two.
    const CAPACITY: u32 = COPIED;
    /// Where the window is: in the job, unless nothing is copied.
    #[inline(always)]
    fn window(&self, job: *mut Job) -> *const u8 {
        // SAFETY: the caller's job.
        unsafe { (&raw const (*job).window).cast() }
    }
    /// As [`Source::fill`]; `length` is at most the window's capacity, which the verifier knows.
    fn fill(&self, job: *mut Job, offset: u32, length: u64) -> Option<u32>;
}

/// What one turn works with.
struct Work<F> {
    job: *mut Job,
    connection: *mut Connection,
    fill: F,
}

/// The job's window.
struct JobSource<'a, F> {
    job: *mut Job,
    window: *const u8,
    fill: &'a F,
}

impl<F: Fill> JobSource<'_, F> {
    #[inline(always)]
    fn bounded(at: u64) -> u64 {
        bounded!(at, highest(F::CAPACITY))
    }
}

impl<F: Fill> Window for JobSource<'_, F> {
    #[inline(always)]
    fn byte(&self, at: impl Into<u64>) -> u8 {
        // SAFETY: within the window.
        unsafe { self.window.add(Self::bounded(at.into()) as usize).read() }
    }

    #[inline(always)]
    fn word(&self, at: impl Into<u64>) -> u64 {
        // SAFETY: within the window, which ends two words behind the highest address.
        unsafe { load_word(self.window.add(Self::bounded(at.into()) as usize)) }
    }

    #[inline(always)]
    fn pair(&self, at: u64) -> (u64, u64) {
        // SAFETY: within the window, which ends two words behind the highest address.
        unsafe { load_pair(self.window.add(at as usize)) }
    }

    #[inline(always)]
    fn somewhere(&self, at: u64) -> u64 {
        Self::bounded(at)
    }
}

impl<F: Fill> Source for JobSource<'_, F> {
    const CAPACITY: u32 = F::CAPACITY;

    #[inline(always)]
    fn fill(&mut self, offset: u32, length: u32) -> Option<u32> {
        let length = Self::bounded(length.into());
        if length == 0 || length > F::CAPACITY.into() {
            return None;
        }
        let length = self.fill.fill(self.job, offset, length)?;
        self.window = self.fill.window(self.job);
        Some(length)
    }
}

/// Processes a read whose first byte is at `skb_offset` of the buffer.
#[inline(always)]
pub(crate) fn process<'a>(
    reader: &impl Reader,
    skb_offset: u32,
    read: Read,
    connection: &mut Connection,
    trial: bool,
) -> Option<&'a mut Job> {
    let job = maps::job()?;
    job.begin(read, trial);
    if !reader.take_turns(skb_offset, job, connection) {
        connection.lose_certainty(Failure::Unreadable);
        job.failure = Failure::Unreadable as u32 + 1;
    } else if job.trial != 0 {
        connection.end_try();
    } else if job.read.offset < job.read.end && connection.stream.phase.reads_on() {
        connection.lose_certainty(Failure::StepBudget);
        job.failure = Failure::StepBudget as u32 + 1;
    }
    Some(job)
}

/// Takes turns until the read is used up.
#[inline(always)]
fn take_turns<F: Fill>(mut work: Work<F>) {
    // SAFETY: `work` outlives the loop, and `take_turn` is the callback for it.
    unsafe { bpf_loop(MAX_TURNS, take_turn::<F> as *mut c_void, from_mut(&mut work).cast(), 0) };
}

/// `long callback(u64 index, void *context)`: 0 to go on, 1 to stop.
extern "C" fn take_turn<F: Fill>(_index: u64, work: *mut Work<F>) -> i64 {
    // SAFETY: `bpf_loop` hands over what `take_turns` gave it.
    let more = turn_once(unsafe { &mut *work });
    i64::from(!more)
}

/// One turn; says whether there is more to do.
#[inline(always)]
fn turn_once<F: Fill>(work: &mut Work<F>) -> bool {
    // SAFETY: `take_turns` was given both.
    let (job, connection) = unsafe { (&mut *work.job, &mut *work.connection) };
    let mut source = JobSource { job: work.job, window: work.fill.window(work.job), fill: &work.fill };
    let event = turn(&mut connection.stream, &mut source, &mut job.read);
    if event == Event::END {
        return false;
    }
    if let Some(cause) = event.failure() {
        job.failure = cause + 1;
        return false;
    }
    if let Some(version) = event.version() {
        job.requests[version as usize] += 1;
        job.resynced |= job.trial;
        job.trial = 0;
    }
    job.read.offset < job.read.end
}

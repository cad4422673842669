//! The window of a read, and the turns that are taken over it.

use aya_ebpf::helpers::bpf_loop;
use common::connection::Connection;
use common::event::Event;
use common::machine::{Read, Source, first_turn, turn};
use common::stream::Stream;
use common::window::Window;
use core::ffi::c_void;
use core::ptr::from_mut;

use super::job::{COPIED, Job, highest};
use crate::kernel::{bounded, load_pair, load_word};

/// More than a read is granted, see [`Read::grant`]. What tells here are turns without progress: fills, of which there are few.
const MAX_TURNS: u32 = 1 << 22;

/// Brings bytes into the window.
pub(super) trait Fill {
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
pub(super) struct Work<F> {
    pub(super) job: *mut Job,
    pub(super) connection: *mut Connection,
    pub(super) fill: F,
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

/// Takes turns until the read is used up.
#[inline(always)]
pub(super) fn take_turns<F: Fill>(mut work: Work<F>) {
    // SAFETY: `work` outlives the loop, `take_turn` is the callback for it, and the job is the caller's.
    unsafe {
        (*work.job).read.grant();
        bpf_loop(MAX_TURNS, take_turn::<F> as *mut c_void, from_mut(&mut work).cast(), 0);
    }
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
    turn_with(work, turn)
}

/// The first turn, without a loop: an ordinary request is no more than that.
#[inline(always)]
pub(super) fn first_turn_once<F: Fill>(work: &mut Work<F>) -> bool {
    turn_with(work, first_turn)
}

#[inline(always)]
fn turn_with<'a, F: Fill>(
    work: &'a mut Work<F>,
    turn: impl FnOnce(&mut Stream, &mut JobSource<'a, F>, &mut Read) -> Event,
) -> bool {
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

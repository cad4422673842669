//! The window of a read, and the turns that are taken over it.

use common::connection::Connection;
use common::event::Event;
use common::machine::{Source, first_turn, turn};
use common::window::Window;
use core::marker::PhantomData;

use super::job::{COPIED, Job, highest};
use crate::kernel::{bounded, constant, load_pair, load_word};
use crate::repeat::{Round, repeat};

/// More than a read is granted, see [`Read::grant`]. What tells here are turns without progress: fills, of which there are few.
pub(crate) const MAX_TURNS: u32 = 1 << 22;

/// Brings bytes into the window.
pub(crate) trait Fill {
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
pub(crate) struct JobSource<'a, F> {
    job: *mut Job,
    window: *const u8,
    fill: &'a F,
}

impl<'a, F: Fill> JobSource<'a, F> {
    #[inline(always)]
    pub(crate) fn new(job: *mut Job, fill: &'a F) -> Self {
        Self { job, window: fill.window(job), fill }
    }
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
    fn follows_responses(&self) -> bool {
        constant!(response_shards) != 0
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
    // SAFETY: the job is the caller's.
    unsafe { (*work.job).read.grant() };
    repeat::<Turn<F>>(MAX_TURNS, &mut work);
}

/// One turn.
struct Turn<F>(PhantomData<F>);

impl<F: Fill> Round for Turn<F> {
    type Context = Work<F>;

    #[inline(always)]
    fn round(_: u64, work: &mut Work<F>) -> bool {
        turn_with::<F, false>(work)
    }
}

/// The first turn, without a loop: an ordinary request is no more than that.
#[inline(always)]
pub(super) fn first_turn_once<F: Fill>(work: &mut Work<F>) -> bool {
    turn_with::<F, true>(work)
}

#[inline(always)]
fn turn_with<F: Fill, const FIRST: bool>(work: &mut Work<F>) -> bool {
    // SAFETY: `take_turns` was given both.
    let (job, connection) = unsafe { (&mut *work.job, &mut *work.connection) };
    let mut source = JobSource::new(work.job, &work.fill);
    let (stream, read) = (&mut connection.stream, &mut job.read);
    let event = if FIRST { first_turn(stream, &mut source, read) } else { turn(stream, &mut source, read) };
    if event == Event::END {
        return false;
    }
    if let Some(cause) = event.failure() {
        job.failure = cause + 1;
        return false;
    }
    if let Some(version) = event.version() {
        job.requests[version as usize] += 1;
        if constant!(response_shards) != 0 {
            note(job, event, version, connection.stream.last_stream);
        }
        job.resynced |= job.trial;
        job.trial = 0;
    } else if !FIRST && event == Event::CLIENT_HELLO {
        // Of a connection whose first bytes were missed it is not known what they were.
        job.client_hello = 1 ^ job.trial;
        return false;
    }
    job.read.offset < job.read.end
}

/// What the responses need to know of a request. A function of its own: where it returns, the verifier forgets.
#[inline(never)]
fn note(job: &mut Job, event: Event, version: u32, stream: u32) -> u64 {
    job.noted.note(event, version, stream);
    0
}

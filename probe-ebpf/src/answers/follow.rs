//! Follows responses over the bytes that carry them.

use common::exchange::{Answer, Displaced, Exchange, Queue, Streams, Untold};
use common::machine::Read;
use common::series::StreamKey;
use common::stream::{Phase, flag};
use core::marker::PhantomData;
use core::ptr::{from_mut, null_mut};

use super::count;
use super::counted::{self, DISPLACED};
use super::maps::{self, Owner};
use crate::reader::{Fill, Job, JobSource, MAX_TURNS};
use crate::repeat::{Round, repeat};

/// Statuses below are not the answer yet, or that of a tunnel.
const FIRST_FINAL: u32 = 200;

/// Bytes of a stream of responses.
pub(crate) trait Bytes {
    /// Where the requests wait that they answer.
    type Waiting: Queue;
    /// What this program works with, and no other one at the same time.
    fn job<'a>(&self) -> Option<&'a mut Job>;
    /// Says in the job where its next bytes are, of which up to `length` matter; false: they cannot be read.
    fn open(&self, job: &mut Job, length: u32) -> bool;
    /// Takes the turns of HTTP/1, or those of HTTP/2; false: the bytes cannot be read.
    fn take<const FRAMES: bool>(&self, parts: &Parts<Self::Waiting>) -> bool;
}

/// What is worked with.
pub(crate) struct Parts<Q> {
    pub(super) job: *mut Job,
    pub(super) exchange: *mut Exchange<Q>,
    /// Null on a connection that speaks HTTP/1.
    streams: *mut Streams,
}

/// The same, and a way to the bytes.
pub(super) struct Work<F, Q> {
    parts: Parts<Q>,
    fill: F,
}

impl<F, Q> Work<F, Q> {
    #[inline(always)]
    pub(super) fn new(parts: &Parts<Q>, fill: F) -> Self {
        Self { parts: Parts { ..*parts }, fill }
    }
}

/// Takes turns until the bytes are used up.
#[inline(always)]
pub(crate) fn turns<F: Fill, Q: Queue, const FRAMES: bool>(parts: &Parts<Q>, fill: F) {
    let mut work = Work::new(parts, fill);
    if FRAMES {
        repeat::<TurnOfFrames<F, Q>>(MAX_TURNS, &mut work);
    } else {
        repeat::<Turn<F, Q>>(MAX_TURNS, &mut work);
    }
}

/// `length` bytes of responses at `position`.
#[inline(always)]
pub(super) fn process<B: Bytes>(
    exchange: &mut Exchange<B::Waiting>,
    owner: Owner,
    (position, length): (u32, u32),
    bytes: &B,
) -> Option<()> {
    let Some(offset) = exchange.arrive(position, length) else {
        lose(exchange, owner, Untold::Gap);
        return None;
    };
    if offset >= length {
        return None;
    }
    let mut read = Read::new(offset, length);
    read.pass_over(&mut exchange.stream);
    // A body ends here, or a frame, and perhaps nothing is behind it.
    let is_over = matches!(exchange.stream.phase, Phase::Start | Phase::Frame);
    if read.offset >= length && !is_over {
        return None;
    }
    let job = bytes.job()?;
    job.begin_send(read);
    let mut streams = null_mut();
    if exchange.stream.phase >= Phase::Preface {
        streams = from_mut(maps::streams_made(owner)?);
    }
    let mut parts = Parts { job, exchange, streams };
    if is_complete(exchange, streams) {
        complete(&mut parts);
    }
    if read.offset >= length {
        return None;
    }
    if !bytes.open(job, length) {
        lose(exchange, owner, Untold::Unreadable);
        return None;
    }
    let mut is_read = true;
    if exchange.stream.phase < Phase::Preface {
        // They are not there. The verifier, which cannot know, would follow the turns of HTTP/1 with them, too.
        parts.streams = null_mut();
        is_read = bytes.take::<false>(&parts);
    }
    if exchange.stream.phase >= Phase::Preface {
        parts.streams = from_mut(maps::streams_made(owner)?);
        is_read &= bytes.take::<true>(&parts);
    }
    if !is_read {
        lose(exchange, owner, Untold::Unreadable);
    } else if exchange.stream.phase.is_lost() {
        lose(exchange, owner, job.untold());
    } else if job.read.offset < job.read.end && exchange.stream.phase.reads_on() {
        lose(exchange, owner, Untold::StepBudget);
    }
    Some(())
}

/// One turn of HTTP/1.
struct Turn<F, Q>(PhantomData<(F, Q)>);

impl<F: Fill, Q: Queue> Round for Turn<F, Q> {
    type Context = Work<F, Q>;

    #[inline(always)]
    fn round(_: u64, work: &mut Work<F, Q>) -> bool {
        turn(work)
    }
}

/// One turn of HTTP/2.
struct TurnOfFrames<F, Q>(PhantomData<(F, Q)>);

impl<F: Fill, Q: Queue> Round for TurnOfFrames<F, Q> {
    type Context = Work<F, Q>;

    #[inline(always)]
    fn round(_: u64, work: &mut Work<F, Q>) -> bool {
        turn_frames(work)
    }
}

/// What a turn is made of are functions of their own, which hand over what they found through memory: what the verifier
/// knows at the end of each way through one, it would take along through the next.
#[inline(always)]
fn turn<F: Fill, Q: Queue>(work: &mut Work<F, Q>) -> bool {
    step::<F, Q, false>(work);
    // SAFETY: `process` was given both.
    let (job, exchange) = unsafe { (&*work.parts.job, &*work.parts.exchange) };
    if exchange.is_answered() {
        complete(&mut work.parts);
    }
    goes_on(job, exchange)
}

/// Another turn of HTTP/1 is due.
#[inline(always)]
pub(super) fn goes_on<Q>(job: &Job, exchange: &Exchange<Q>) -> bool {
    job.goes_on() && exchange.stream.phase.reads_on() && exchange.stream.phase < Phase::Preface
}

#[inline(never)]
pub(super) fn step<F: Fill, Q: Queue, const FIRST: bool>(work: &mut Work<F, Q>) -> u64 {
    let Work { parts, fill } = work;
    // SAFETY: `process` was given both.
    let (job, exchange) = unsafe { (&mut *parts.job, &mut *parts.exchange) };
    let mut source = JobSource::new(parts.job, fill);
    let read = &mut job.read;
    let event = if FIRST { exchange.first_turn(&mut source, read) } else { exchange.turn(&mut source, read) };
    job.note(event);
    if job.status >= FIRST_FINAL && !exchange.answers() {
        counted::count_untold(Untold::Unasked, 1);
    }
    0
}

#[inline(always)]
fn turn_frames<F: Fill, Q: Queue>(work: &mut Work<F, Q>) -> bool {
    if work.parts.streams.is_null() {
        return false;
    }
    step_frames(work);
    // SAFETY: `process` was given both.
    let (job, exchange) = unsafe { (&*work.parts.job, &*work.parts.exchange) };
    if job.status != 0 {
        found(&mut work.parts);
    }
    if is_complete(exchange, work.parts.streams) {
        complete(&mut work.parts);
    }
    job.goes_on() && exchange.stream.phase.reads_on()
}

#[inline(never)]
fn step_frames<F: Fill, Q: Queue>(work: &mut Work<F, Q>) -> u64 {
    let Work { parts, fill } = work;
    if parts.streams.is_null() {
        return 0;
    }
    // SAFETY: `process` was given them.
    let (job, exchange, streams) = unsafe { (&mut *parts.job, &mut *parts.exchange, &mut *parts.streams) };
    let mut source = JobSource::new(parts.job, fill);
    let event = streams.turn(&mut exchange.stream, &mut source, &mut job.read);
    job.note(event);
    0
}

/// What a turn found, of HTTP/2.
#[inline(never)]
fn found<Q: Queue>(parts: &mut Parts<Q>) -> u64 {
    if parts.streams.is_null() {
        return 0;
    }
    // SAFETY: `process` was given them.
    let (job, exchange, streams) = unsafe { (&*parts.job, &*parts.exchange, &mut *parts.streams) };
    let status = job.status;
    if status == 0 {
        return 0;
    }
    let id = exchange.stream.last_stream;
    if !streams.found(id, status) {
        note_elsewhere(StreamKey { began_ns: streams.began_ns, id, reserved: 0 }, status);
    }
    0
}

/// A status of a stream that had to make room, or is not known at all.
#[inline(always)]
fn note_elsewhere(key: StreamKey, status: u32) {
    if let Some(stream) = DISPLACED.get_ptr_mut(key) {
        // SAFETY: an entry of the map; only this connection has its key, and one at a time follows it.
        unsafe { (*stream).note(status) };
    } else {
        count::displace(key.began_ns, Displaced::of_unkept(key.id, status));
    }
}

/// Something may be complete now: asked before [`complete`] is called, since a call costs more than this.
#[inline(always)]
fn is_complete<Q: Queue>(exchange: &Exchange<Q>, streams: *const Streams) -> bool {
    exchange.is_answered() || !streams.is_null() && exchange.stream.flags & flag::ENDS_STREAM != 0
}

/// Counts what is complete now.
#[inline(never)]
fn complete<Q: Queue>(parts: &mut Parts<Q>) -> u64 {
    // SAFETY: `process` was given both.
    let (job, exchange) = unsafe { (&mut *parts.job, &mut *parts.exchange) };
    // One of HTTP/1 may be complete where frames follow: a 101.
    let answer = if exchange.is_answered() {
        exchange.answered()
    } else if parts.streams.is_null() {
        None
    } else {
        // SAFETY: as above.
        ended(exchange, unsafe { &mut *parts.streams })
    };
    if let Some(answer) = answer {
        count_answer(job, exchange, answer);
    }
    0
}

/// Counts a response, which is complete now.
#[inline(always)]
pub(super) fn count_answer<Q: Queue>(job: &mut Job, exchange: &mut Exchange<Q>, answer: Answer) {
    job.answer = answer;
    let now_ns = job.now_ns();
    count::answer(exchange, &job.answer, now_ns);
}

/// The response whose stream has ended now.
#[inline(always)]
fn ended<Q: Queue>(exchange: &mut Exchange<Q>, streams: &mut Streams) -> Option<Answer> {
    let id = streams.ended(&mut exchange.stream)?;
    // Of one that ended before, as where its reset follows, nothing is kept.
    let stream = streams.take(id).or_else(|| {
        let key = StreamKey { began_ns: streams.began_ns, id, reserved: 0 };
        // SAFETY: copied before it is removed; only this connection has its key.
        let stream = unsafe { DISPLACED.get(key) }.copied();
        let _ = DISPLACED.remove(key);
        stream
    })?;
    let answer = streams.end(stream);
    if answer.is_none() {
        count::add_outcome(exchange, 1, 0);
    }
    answer
}

/// What is sent cannot be followed any more.
#[inline(never)]
pub(super) fn lose<Q: Queue>(exchange: &mut Exchange<Q>, owner: Owner, cause: Untold) -> u64 {
    if maps::streams(owner).is_some_and(|streams| streams.is_guess()) {
        // Nothing is awaited.
        exchange.lose();
        return 0;
    }
    count::lose(exchange, cause);
    if let Some(streams) = maps::streams(owner) {
        count::lost(exchange, streams.lose());
    }
    0
}

//! The answering direction of one connection. PURE.

use super::{Asked, Handed, Queue, Waiting};
use crate::event::Event;
use crate::http1;
use crate::machine::{Read, Source, advance};
use crate::maps::ProcessKey;
use crate::method::Method;
use crate::stream::{Phase, Stream, flag};

/// What is kept of a connection's responses. It is made at the first request that is counted, and of responses alone knows
/// what its requests are. Fresh storage is zeroed.
///
/// Where others read requests than those who follow responses, `process` and `slot` may be read while they are written. A mixture of two is
/// nobody who holds that slot, so what is counted for it is [`Untold::Process`](super::Untold).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exchange<Q = Waiting> {
    /// Where the stream of responses stands.
    pub stream: Stream,
    /// Who counted the latest request here, and so is to count its response.
    pub process: ProcessKey,
    /// That process's slot.
    pub slot: u32,
    /// The position behind the last byte seen, modulo 2^32.
    pub next: u32,
    /// In which series the latest response was counted.
    pub series: u32,
    /// Responses may come to requests that were lost: what comes next cannot be certain again.
    owed: u8,
    /// Whether the latest response agreed to leave HTTP: one of the following.
    decided: u8,
    /// The status of the response that is being sent; 0: none is.
    status: u16,
    /// When its request came; 0: not known.
    started_ns: u64,
    /// Its request.
    asked: Asked,
    padding: [u8; 7],
    /// The requests that wait behind it.
    pub waiting: Q,
}

const SWITCHING_PROTOCOLS: u16 = 101;
const TAKEN: u8 = 1;
const REFUSED: u8 = 2;

// In a socket's storage, to which the kernel adds 72 bytes (since Linux 6.3): 256.
const _: () = assert!(size_of::<Exchange>() <= 184);

/// A response that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u32,
    /// Its request.
    pub asked: Asked,
    /// When that came; 0: not known.
    pub started_ns: u64,
}

impl Exchange {
    /// A request was counted, on a connection that has `sent` so many bytes (modulo 2^32). False: its response will not be known.
    #[inline(always)]
    pub fn expect(&mut self, asked: Asked, now_ns: u64, sent: u32) -> bool {
        let known = self.awaits(sent);
        if known {
            self.waiting.push(asked, now_ns);
        }
        known
    }
}

impl<const KEPT: usize> Exchange<Handed<KEPT>> {
    /// It is going to be looked at what is sent from `position` on. Of the requests that came until now and are not answered, `kept` are
    /// kept. Returns how many responses will not be known.
    #[inline(always)]
    pub fn take_over(&mut self, kept: u32, position: u32) -> u32 {
        self.waiting.see(kept);
        if self.waiting.len() == 0 || self.awaits(position) { 0 } else { self.waiting.clear() }
    }
}

impl<Q: Queue> Exchange<Q> {
    /// Requests wait, on a connection that has `sent` so many bytes (modulo 2^32). False: their responses will not be known.
    #[inline(always)]
    fn awaits(&mut self, sent: u32) -> bool {
        if self.stream.phase == Phase::Begin {
            self.stream.phase = Phase::Start;
            self.next = sent;
        }
        if self.stream.phase == Phase::Unsynced {
            if self.owed != 0 {
                return false;
            }
            // Nothing is awaited: what is sent next answers this request, if it begins with a status line.
            self.stream = Stream { phase: Phase::Start, ..Stream::default() };
            self.next = sent;
        }
        self.decided = 0;
        true
    }

    /// The latest request is counted for this process, in this slot.
    #[inline(always)]
    pub fn belongs_to(&mut self, process: ProcessKey, slot: u32) {
        if self.process != process {
            self.process = process;
            self.slot = slot;
        }
    }

    /// Requests have become certain again, after an answer: nothing is owed to those that were lost.
    #[inline(always)]
    pub const fn forgive(&mut self) {
        self.owed = 0;
    }

    /// What was answered to the latest request, if it offered to leave HTTP; `None` while that is not known.
    #[inline(always)]
    #[must_use]
    pub fn decision(&self) -> Option<bool> {
        if self.decided == 0 || !self.waiting.is_empty() || self.stream.phase.is_lost() {
            return None;
        }
        Some(self.decided == TAKEN)
    }

    /// The connection speaks HTTP/2, and has sent so many bytes: a frame begins.
    #[inline(always)]
    pub const fn expect_frames(&mut self, sent: u32) {
        if matches!(self.stream.phase, Phase::Begin) {
            self.stream.phase = Phase::Frame;
            self.next = sent;
        }
    }

    /// The connection, which has sent so many bytes, may speak HTTP/2: then a frame begins.
    #[inline(always)]
    pub fn guess_frames(&mut self, sent: u32) {
        self.stream = Stream { phase: Phase::Frame, ..Stream::default() };
        self.next = sent;
    }

    /// Takes note of a send of `length` bytes at `position`: how many of them were seen before, or `None` where bytes were
    /// missed.
    #[inline(always)]
    pub fn arrive(&mut self, position: u32, length: u32) -> Option<u32> {
        let gap = position.wrapping_sub(self.next);
        let seen = gap.wrapping_neg();
        if gap != 0 && seen <= i32::MAX as u32 {
            // A send that was refused, and comes again.
            if seen < length {
                self.next = position.wrapping_add(length);
            }
            return Some(if seen < length { seen } else { length });
        }
        self.next = position.wrapping_add(length);
        if gap != 0 && self.stream.phase.reads_on() {
            if !self.stream.skips() || u64::from(gap) > self.stream.left {
                return None;
            }
            self.stream.skip(gap.into());
        }
        Some(0)
    }

    /// Before the first byte of a response: what its request says about it.
    #[inline(always)]
    fn prepare(&mut self) {
        let mut flags = self.stream.flags & !(flag::BODILESS | flag::CONNECT);
        if let Some(asked) = self.waiting.next() {
            flags |= if asked.is(Method::Head) { flag::BODILESS } else { 0 };
            flags |= if asked.is(Method::Connect) { flag::CONNECT } else { 0 };
        }
        self.stream.flags = flags;
    }

    /// One bounded step through a send, of HTTP/1; see [`crate::machine::turn`]. What it leads to, [`Exchange::answered`] and the
    /// stream's phase tell.
    #[inline(always)]
    pub fn turn<S: Source>(&mut self, source: &mut S, read: &mut Read) -> Event {
        self.any_turn::<S, false>(source, read)
    }

    /// As [`crate::machine::first_turn`]: an ordinary head, no more.
    #[inline(always)]
    pub fn first_turn<S: Source>(&mut self, source: &mut S, read: &mut Read) -> Event {
        self.any_turn::<S, true>(source, read)
    }

    #[inline(always)]
    fn any_turn<S: Source, const FIRST: bool>(&mut self, source: &mut S, read: &mut Read) -> Event {
        if self.stream.phase == Phase::Start {
            self.prepare();
        }
        let event = advance::<S, FIRST>(
            &mut self.stream,
            source,
            read,
            #[inline(always)]
            |stream, source, at, end| http1::response_step::<S, FIRST>(stream, source, at, end),
        );
        let status = event.status();
        if status >= 200 || status == SWITCHING_PROTOCOLS.into() {
            self.begin(status);
        }
        if self.stream.phase == Phase::Tunnel && self.status == SWITCHING_PROTOCOLS {
            // Perhaps to HTTP/2: the first frame tells.
            self.stream = Stream { phase: Phase::FirstFrame, ..Stream::default() };
        }
        event
    }

    #[inline(always)]
    fn begin(&mut self, status: u32) {
        let taken = self.waiting.take();
        self.started_ns = 0;
        // To no request: framed, and not counted.
        self.status = 0;
        if let Some(taken) = taken {
            let tunnels = status == SWITCHING_PROTOCOLS.into() || self.stream.has(flag::CONNECT);
            self.decided = if tunnels { TAKEN } else { REFUSED };
            self.status = status as u16;
            self.asked = taken.asked;
            self.started_ns = taken.started_ns;
            if taken.ambiguous {
                self.stream.phase = Phase::Unsynced;
            }
        }
    }

    /// What is sent answers a request that was counted; of HTTP/1.
    #[inline(always)]
    #[must_use]
    pub const fn answers(&self) -> bool {
        self.status != 0
    }

    /// The response that is now complete, or will never be; of HTTP/1.
    #[inline(always)]
    pub fn answered(&mut self) -> Option<Answer> {
        if self.is_answered() { self.take() } else { None }
    }

    /// Whether there is one.
    #[inline(always)]
    #[must_use]
    pub const fn is_answered(&self) -> bool {
        let phase = self.stream.phase;
        self.answers() && (phase.is_lost() || matches!(phase, Phase::Start | Phase::Tunnel | Phase::FirstFrame))
    }

    /// How many requests of HTTP/1 are not answered to the end.
    #[must_use]
    pub fn owed(&self) -> u32 {
        self.waiting.len() + (self.status != 0) as u32
    }

    /// The response that lasts until the connection's end, where that will not be seen.
    #[inline(always)]
    pub fn unfinished(&mut self) -> Option<Answer> {
        self.take()
    }

    /// The response that was being sent. Of one that was lost on the way the duration is not known.
    #[inline(always)]
    fn take(&mut self) -> Option<Answer> {
        let status = u32::from(self.status);
        self.status = 0;
        let started_ns = if self.stream.phase.is_lost() { 0 } else { self.started_ns };
        if status == 0 { None } else { Some(Answer { status, asked: self.asked, started_ns }) }
    }

    /// What is sent cannot be followed any more. Returns how many requests' responses will not be known, behind the one
    /// that [`Exchange::answered`] has.
    #[inline(always)]
    pub fn lose(&mut self) -> u32 {
        self.stream = Stream { phase: Phase::Unsynced, ..Stream::default() };
        let lost = self.waiting.clear();
        self.owed |= u8::from(lost > 0);
        lost
    }

    /// The connection sends no more: what was being sent, and how many requests go without an answer.
    #[inline(always)]
    pub fn close(&mut self) -> (Option<Answer>, u32) {
        (self.take(), self.waiting.clear())
    }
}

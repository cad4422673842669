//! HTTP/2: the streams of a connection that are being answered. PURE.

use super::{Answer, Asked};
use crate::event::Event;
use crate::http2::{self, Blocks};
use crate::machine::{Read, Source, advance};
use crate::method::Method;
use crate::stream::{Phase, Stream, flag};

/// How many streams are kept; one that finds its place taken displaces the other.
pub const KEPT: u32 = 32;

/// The part of a note that is the stream's final status, 0 before that. Above it is the number of its request's method.
const STATUS: u32 = (1 << METHOD) - 1;
const METHOD: u32 = 12;

/// What is kept of an HTTP/2 connection beside its [`super::Exchange`]. Fresh storage is zeroed.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    blocks: Blocks,
    /// When its first request came.
    pub began_ns: u64,
    /// Requests that were counted and whose stream has not ended.
    outstanding: u32,
    /// The first request's stream: those before are not counted, or were answered by a 101.
    first: u32,
    /// While it is not certain that this is HTTP/2: a stream that was seen to open, and the highest.
    guessed: [u32; 2],
    /// One of these, or between them, that was answered; 0 for none.
    confirmed: u32,
    /// What is sent cannot be followed any more: 1, else 0.
    is_lost: u32,
    /// Which stream has a place; 0 for none.
    ids: [u32; KEPT as usize],
    /// Its final status and its request's method.
    notes: [u16; KEPT as usize],
    /// When its request came.
    started_ns: [u64; KEPT as usize],
}

/// A stream that is not among those kept.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Displaced {
    /// The stream.
    pub id: u32,
    /// Its final status and its request's method.
    pub note: u32,
    /// When its request came.
    pub started_ns: u64,
}

impl Displaced {
    /// A status was found on the stream. A block behind the final one is trailers.
    #[inline(always)]
    pub const fn note(&mut self, status: u32) {
        if self.note & STATUS == 0 {
            self.note |= status;
        }
    }

    /// One whose request was not kept.
    #[inline(always)]
    #[must_use]
    pub const fn of_unkept(id: u32, status: u32) -> Self {
        Self { id, note: (Method::Unknown as u32) << METHOD | status, started_ns: 0 }
    }
}

impl Streams {
    /// A request opened a stream; returns the one that had to make room, whose `id` is 0 if none had.
    #[inline(always)]
    pub fn open(&mut self, id: u32, asked: Asked, now_ns: u64) -> Displaced {
        if self.first == 0 {
            self.first = id;
            self.began_ns = now_ns;
        }
        self.outstanding = self.outstanding.saturating_add(1);
        let mut displaced = Displaced::default();
        let at = Self::place(id);
        if let (Some(kept), Some(note), Some(started_ns)) =
            (self.ids.get_mut(at), self.notes.get_mut(at), self.started_ns.get_mut(at))
        {
            displaced = Displaced { id: *kept, note: (*note).into(), started_ns: *started_ns };
            *kept = id;
            *note = (asked.method_number() as u16) << METHOD;
            *started_ns = now_ns;
        }
        displaced
    }

    /// This stream may have been opened, on a connection whose first bytes were missed: what its table of fields may hold is not known.
    #[inline(always)]
    pub const fn guess(&mut self, id: u32) {
        let [from, to] = &mut self.guessed;
        if *from == 0 {
            *from = id;
            self.blocks.forget();
        }
        *to = id;
    }

    /// No more than that is known.
    #[inline(always)]
    #[must_use]
    pub const fn is_guess(&self) -> bool {
        let [from, _] = self.guessed;
        self.first == 0 && from != 0
    }

    /// A stream that may have been opened was answered.
    #[inline(always)]
    #[must_use]
    pub const fn is_confirmed(&self) -> bool {
        self.confirmed != 0
    }

    /// Further requests opened streams that are not known.
    #[inline(always)]
    pub const fn open_unkept(&mut self, count: u32) {
        self.outstanding = self.outstanding.saturating_add(count);
    }

    #[inline(always)]
    const fn place(id: u32) -> usize {
        (id >> 1 & (KEPT - 1)) as usize
    }

    /// One bounded step through a send; see [`crate::machine::turn`]. An event with a status is one of `stream.last_stream`.
    #[inline(always)]
    pub fn turn<S: Source>(&mut self, stream: &mut Stream, source: &mut S, read: &mut Read) -> Event {
        let blocks = &mut self.blocks;
        advance::<S, false>(
            stream,
            source,
            read,
            #[inline(always)]
            |stream, source, at, end| http2::response_step(stream, blocks, source, (at, end)),
        )
    }

    /// A status was found on a stream. False: the stream is not among those kept, and the caller is to look for it.
    #[inline(always)]
    pub fn found(&mut self, id: u32, status: u32) -> bool {
        let is_interim = (100..200).contains(&status);
        if is_interim || !self.counts(id) {
            let [from, to] = self.guessed;
            if self.first == 0 && from != 0 && id & 1 != 0 && id >= from && id <= to {
                self.confirmed = id;
            }
            return true;
        }
        let at = Self::place(id);
        let (Some(kept), Some(note)) = (self.ids.get(at), self.notes.get_mut(at)) else { return true };
        if *kept != id {
            return false;
        }
        // A block behind the final one is trailers.
        if u32::from(*note) & STATUS == 0 {
            *note |= status as u16;
        }
        true
    }

    /// A request was counted on this stream.
    #[inline(always)]
    const fn counts(&self, id: u32) -> bool {
        id & 1 != 0 && id >= self.first && self.first != 0
    }

    /// The stream that has ended, if one has; asked after each turn.
    #[inline(always)]
    pub const fn ended(&self, stream: &mut Stream) -> Option<u32> {
        let ends =
            stream.flags & flag::ENDS_STREAM != 0 && matches!(stream.phase, Phase::Frame) && stream.progress == 0;
        if !ends {
            return None;
        }
        stream.flags &= !flag::ENDS_STREAM;
        if self.counts(stream.last_stream) { Some(stream.last_stream) } else { None }
    }

    /// Takes a stream that has ended from those kept; `None` if it is not among them.
    #[inline(always)]
    pub fn take(&mut self, id: u32) -> Option<Displaced> {
        let at = Self::place(id);
        let (Some(kept), Some(note), Some(started_ns)) =
            (self.ids.get_mut(at), self.notes.get_mut(at), self.started_ns.get(at))
        else {
            return None;
        };
        if *kept != id {
            return None;
        }
        *kept = 0;
        let taken = Displaced { id, note: (*note).into(), started_ns: *started_ns };
        *note = 0;
        Some(taken)
    }

    /// A stream that had been opened has ended: the response that it was, if there was one.
    #[inline(always)]
    pub const fn end(&mut self, stream: Displaced) -> Option<Answer> {
        self.outstanding = self.outstanding.saturating_sub(1);
        let Displaced { note, started_ns, .. } = stream;
        let (status, asked) = (note & STATUS, Asked::http_2((note >> METHOD) as u8));
        if status == 0 { None } else { Some(Answer { status, asked, started_ns }) }
    }

    /// What is sent cannot be followed any more; returns how many streams' responses will not be known, as those of all that open
    /// from now on.
    #[inline(always)]
    pub const fn lose(&mut self) -> u32 {
        self.is_lost = 1;
        self.close()
    }

    /// What was sent could not be followed to its end.
    #[inline(always)]
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        self.is_lost != 0
    }

    /// The next of the streams that are kept, when the connection has ended.
    #[inline(always)]
    pub fn drain(&mut self, index: u32) -> Option<Displaced> {
        if self.is_lost != 0 {
            return None;
        }
        let id = self.ids.get((index & (KEPT - 1)) as usize).copied().unwrap_or(0);
        if id == 0 { None } else { self.take(id) }
    }

    /// How many streams are open.
    #[must_use]
    pub const fn open_streams(&self) -> u32 {
        self.outstanding
    }

    /// Nothing more is known of the streams that are open; returns how many were, beside those that were drained.
    #[inline(always)]
    pub const fn close(&mut self) -> u32 {
        let open = self.outstanding;
        self.outstanding = 0;
        open
    }
}

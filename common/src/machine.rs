//! The machine that reads a stream: one turn of it, in the protocol that the stream is in. PURE.
//!
//! The kernel side keeps a [`Stream`] in the socket's storage and calls [`turn`] until the read is
//! used up; tests and fuzz targets on the host do the same.

use crate::event::Event;
use crate::failure::Failure;
use crate::stream::{Phase, Stream, fail};
use crate::window::Window;
use crate::{http1, http2};

/// How far one read has been processed. Offsets count from the read's first byte.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// The next byte to process.
    pub offset: u32,
    /// The length of the read.
    pub end: u32,
    /// The offset of the window's first byte.
    pub window_start: u32,
    /// The offset behind the window's last byte.
    pub window_end: u32,
    /// How many turns it may still take, see [`Read::grant`].
    pub credit: u32,
}

impl Read {
    /// A read of `length` bytes of which the first `offset` are known already.
    #[must_use]
    pub const fn new(offset: u32, length: u32) -> Self {
        Self { offset, end: length, window_start: 0, window_end: 0, credit: 0 }
    }

    /// Lets it take turns, so many that a read of 64 KiB lasts some 0.1 ms at most, whatever somebody sends: it is looked at
    /// under the socket's lock. Ordinary requests take a turn for 20 bytes, or fewer.
    #[inline(always)]
    pub const fn grant(&mut self) {
        self.credit = 256 + self.end / 8;
    }

    /// Passes over bytes that need not be looked at.
    #[inline(always)]
    pub const fn pass_over(&mut self, stream: &mut Stream) {
        if stream.skips() {
            self.offset += stream.skip((self.end - self.offset) as u64) as u32;
        }
    }
}

/// A window that can be moved along the read.
pub trait Source: Window {
    /// The largest window.
    const CAPACITY: u32;
    /// Brings bytes from `offset` on into the window, at most `length` (1 to `CAPACITY`), and says how
    /// many; with 0 it wants to be asked again. `None`: they cannot be read.
    fn fill(&mut self, offset: u32, length: u32) -> Option<u32>;
}

/// One bounded step through a read: moves the window, lets a machine read on, and passes over what
/// it then knows to pass over (before the first turn, the caller does).
#[inline(always)]
pub fn turn<S: Source>(stream: &mut Stream, source: &mut S, read: &mut Read) -> Event {
    any_turn::<S, false>(stream, source, read)
}

/// As [`turn`], and does less: an ordinary request, no more; of anything else nothing. For where a turn stands twice, since
/// the kernel's verifier looks at both.
#[inline(always)]
pub fn first_turn<S: Source>(stream: &mut Stream, source: &mut S, read: &mut Read) -> Event {
    any_turn::<S, true>(stream, source, read)
}

#[inline(always)]
fn any_turn<S: Source, const FIRST: bool>(stream: &mut Stream, source: &mut S, read: &mut Read) -> Event {
    if read.offset >= read.end || !stream.phase.reads_on() {
        return Event::END;
    }
    if read.offset >= read.window_end {
        let rest = read.end - read.offset;
        let length = if rest < S::CAPACITY { rest } else { S::CAPACITY };
        let Some(length) = source.fill(read.offset, length) else {
            return fail(stream, Failure::Unreadable);
        };
        if length == 0 {
            return Event::NONE;
        }
        read.window_start = read.offset;
        read.window_end = read.offset + length;
    }
    if !FIRST && read.credit == 0 {
        return fail(stream, Failure::StepBudget);
    }
    let at = read.offset - read.window_start;
    let end = read.window_end - read.window_start;
    let (next, event) = if stream.phase >= Phase::Preface {
        http2::step::<S, FIRST>(stream, source, at, end)
    } else {
        http1::step::<S, FIRST>(stream, source, at, end)
    };
    read.offset = read.window_start + next;
    if !FIRST && next < end {
        // What goes on in another window costs nothing: windows are few.
        read.credit -= 1;
    }
    read.pass_over(stream);
    event
}

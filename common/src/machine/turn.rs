//! One turn, in the protocol that the stream is in. PURE.
//!
//! In a file below its folder's, as the parts of the protocols are: the compiler inlines in the order of the functions'
//! paths, and the shorter path comes first. Turned first and filled later, a request took 1.5 % more instructions.

use super::read::{Read, Source};
use crate::event::Event;
use crate::failure::Failure;
use crate::stream::{Phase, Stream, fail};
use crate::{http1, http2};

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
    if !FIRST && source.follows_responses() && stream.phase == Phase::Frame {
        http2::keep_together(read);
    }
    advance::<S, FIRST>(stream, source, read, |stream, source, at, end| {
        if stream.phase >= Phase::Preface {
            http2::step::<S, FIRST>(stream, source, at, end)
        } else {
            http1::step::<S, FIRST>(stream, source, at, end)
        }
    })
}

/// A turn with this step of a machine.
#[inline(always)]
pub(crate) fn advance<S: Source, const FIRST: bool>(
    stream: &mut Stream,
    source: &mut S,
    read: &mut Read,
    step: impl FnOnce(&mut Stream, &S, u32, u32) -> (u32, Event),
) -> Event {
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
    let (next, event) = step(stream, source, at, end);
    read.offset = read.window_start + next;
    if !FIRST && next < end {
        // What goes on in another window costs nothing: windows are few.
        read.credit -= 1;
    }
    read.pass_over(stream);
    event
}

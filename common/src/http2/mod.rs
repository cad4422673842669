//! HTTP/2 framing: counts request streams by frame headers alone, and finds statuses in header blocks (RFC 9113, RFC 7541), resumable at any
//! byte. It hands out [`step`] for what a client sends and [`response_step`] for what a server does; each file is a part of these. PURE.

mod block;
mod frames;
mod kinds;
mod method;
mod preface;
mod response;
mod status_value;
mod statuses;
mod unsure;

use crate::event::Event;
use crate::machine::Read;
use crate::stream::{Phase, Stream, flag};
use crate::window::Window;
use crate::word;
use frames::{HEADER_BYTES, LOOKED_AT, frame, frame_byte, named};
use preface::preface_byte;
pub use response::Blocks;
pub(crate) use response::step as response_step;
pub use statuses::UNTOLD;
use unsure::unsure_frame;

/// Before a frame: lets the window be filled anew where its end would cut what is looked at of the frame.
#[inline(always)]
pub(crate) const fn keep_together(read: &mut Read) {
    if read.window_end < read.end && read.window_end.wrapping_sub(read.offset) < LOOKED_AT {
        read.window_end = read.offset;
    }
}

/// Reads on from `at` (below `end`), at least one byte; only a whole frame header, if it is the `FIRST` step.
#[inline(always)]
pub(crate) fn step<W: Window + ?Sized, const FIRST: bool>(
    stream: &mut Stream,
    window: &W,
    at: u32,
    end: u32,
) -> (u32, Event) {
    if stream.phase != Phase::Preface && stream.progress == 0 && end - at >= HEADER_BYTES {
        stream.token = window.word(at);
        let payload = at + HEADER_BYTES;
        let follows_responses = window.follows_responses();
        if follows_responses && stream.has(flag::UNSURE) {
            if FIRST {
                return (at, Event::NONE);
            }
            unsure_frame(stream, window.byte(at + word::BYTES));
            return (payload, Event::NONE);
        }
        let event = frame(stream, window.byte(at + word::BYTES));
        let is_named = follows_responses && event.version().is_some();
        return (payload, if is_named { named(stream, window, payload, end) } else { event });
    }
    if FIRST {
        return (at, Event::NONE);
    }
    let byte = window.byte(at);
    let event = if stream.phase == Phase::Preface { preface_byte(stream, byte) } else { frame_byte(stream, byte) };
    (at + 1, event)
}

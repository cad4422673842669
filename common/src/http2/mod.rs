//! HTTP/2 framing: counts request streams by frame headers alone (RFC 9113), resumable at any byte. It
//! hands out [`step`]; each file is a part of what a client sends. PURE.

mod frames;
mod preface;

use crate::event::Event;
use crate::stream::{Phase, Stream};
use crate::window::Window;
use crate::word;
use frames::{HEADER_BYTES, frame, frame_byte};
use preface::preface_byte;

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
        let event = frame(stream, window.byte(at + word::BYTES));
        return (at + HEADER_BYTES, event);
    }
    if FIRST {
        return (at, Event::NONE);
    }
    let byte = window.byte(at);
    let event = if stream.phase == Phase::Preface { preface_byte(stream, byte) } else { frame_byte(stream, byte) };
    (at + 1, event)
}

//! The value of `Transfer-Encoding` (RFC 9112 §6.3). PURE.

use crate::event::Event;
use crate::stream::{Phase, Stream, flag};
use crate::window::Window;
use crate::word;

/// Progress through one transfer coding: below `MATCHED`, letters of `chunked`.
mod coding {
    pub(super) const MATCHED: u8 = 7;
    pub(super) const AFTER: u8 = 8;
    pub(super) const OTHER: u8 = 9;
}

const CHUNKED: u64 = word::literal(b"chunked\0");

/// `chunked` as the only coding, in its plainest form, and a line after it that does not continue it: returns the line's
/// length. 0: something else.
#[inline(always)]
pub(super) fn coding_line<W: Window + ?Sized>(stream: &mut Stream, window: &W, at: u32, available: u32) -> u32 {
    /// `Transfer-Encoding: chunked` and the line's end.
    const LINE: u32 = 28;
    const COLON_BLANK: u64 = 0xffff << 8;
    let (middle, last) = (window.word(at + word::BYTES), window.word(at + 2 * word::BYTES));
    let end = window.word(at + 3 * word::BYTES);
    let differs = word::lower_case(middle) ^ word::literal(b"-encodin")
        | word::lower_case(last) ^ word::literal(b"g: chunk")
        | (last ^ word::literal(b"g: chunk")) & COLON_BLANK
        | u64::from((end as u32 | 0x2020) ^ u32::from_le_bytes(*b"ed\r\n"));
    let next = (end >> 32) as u8;
    if differs != 0 || next == b' ' || next == b'\t' || available <= LINE {
        return 0;
    }
    stream.flags |= flag::CODED | flag::CHUNKED;
    LINE
}

#[inline(always)]
pub(super) fn transfer_encoding(stream: &mut Stream, byte: u8) -> Event {
    match byte {
        b' ' | b'\t' | b'\r' => {
            if stream.progress == coding::MATCHED {
                stream.progress = coding::AFTER;
            } else if stream.progress != 0 && stream.progress < coding::MATCHED {
                stream.progress = coding::OTHER;
            }
        }
        b',' => finish_coding(stream),
        b'\n' => stream.phase = Phase::FieldStart,
        _ => {
            let expected = (CHUNKED >> (8 * (stream.progress & 7))) as u8;
            let matches = stream.progress < coding::MATCHED && byte | 0x20 == expected;
            stream.progress = if matches { stream.progress + 1 } else { coding::OTHER };
        }
    }
    Event::NONE
}

/// One transfer coding is complete: only the last one decides (RFC 9112 §6.3).
#[inline(always)]
pub(super) fn finish_coding(stream: &mut Stream) {
    match stream.progress {
        0 => {}
        coding::MATCHED | coding::AFTER => stream.flags |= flag::CODED | flag::CHUNKED,
        _ => stream.flags = (stream.flags | flag::CODED) & !flag::CHUNKED,
    }
    stream.progress = 0;
}

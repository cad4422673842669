//! The value of `Transfer-Encoding` (RFC 9112 §6.3). PURE.

use crate::event::Event;
use crate::stream::{Phase, Stream, flag};
use crate::word;

/// Progress through one transfer coding: below `MATCHED`, letters of `chunked`.
mod coding {
    pub(super) const MATCHED: u8 = 7;
    pub(super) const AFTER: u8 = 8;
    pub(super) const OTHER: u8 = 9;
}

const CHUNKED: u64 = word::literal(b"chunked\0");

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

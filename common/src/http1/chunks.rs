//! A body in chunks, and its trailers (RFC 9112 §7.1). PURE.

use crate::event::Event;
use crate::failure::Failure;
use crate::stream::{Phase, Stream, fail};

#[inline(always)]
pub(super) fn chunk_size(stream: &mut Stream, byte: u8) -> Event {
    const MORE_DIGITS: u8 = 1;
    let digit = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' | b'A'..=b'F' => (byte | 0x20) - b'a' + 10,
        _ if stream.progress == 0 => return fail(stream, Failure::MalformedFraming),
        b'\n' => {
            chunk_size_end(stream);
            return Event::NONE;
        }
        b';' | b' ' | b'\t' | b'\r' => {
            stream.enter(Phase::ChunkExtension);
            return Event::NONE;
        }
        _ => return fail(stream, Failure::MalformedFraming),
    };
    if stream.left >> 60 != 0 {
        return fail(stream, Failure::MalformedFraming);
    }
    stream.left = stream.left << 4 | u64::from(digit);
    stream.progress = MORE_DIGITS;
    Event::NONE
}

#[inline(always)]
pub(super) fn chunk_size_end(stream: &mut Stream) {
    stream.enter(if stream.left > 0 { Phase::ChunkData } else { Phase::TrailerStart });
}

#[inline(always)]
pub(super) fn chunk_end(stream: &mut Stream, byte: u8) -> Event {
    match byte {
        b'\r' if stream.progress == 0 => stream.progress = 1,
        b'\n' => stream.enter(Phase::ChunkSize),
        _ => return fail(stream, Failure::MalformedFraming),
    }
    Event::NONE
}

#[inline(always)]
pub(super) fn trailer_start(stream: &mut Stream, byte: u8) -> Event {
    stream.enter(match byte {
        b'\n' => Phase::Start,
        b'\r' => Phase::TrailerEnd,
        _ => Phase::TrailerRest,
    });
    Event::NONE
}

#[inline(always)]
pub(super) fn trailer_end(stream: &mut Stream, byte: u8) -> Event {
    stream.enter(if byte == b'\n' { Phase::Start } else { Phase::TrailerRest });
    Event::NONE
}

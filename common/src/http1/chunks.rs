//! A body in chunks, and its trailers (RFC 9112 §7.1). PURE.

use crate::event::Event;
use crate::failure::Failure;
use crate::stream::{Phase, Stream, fail};
use crate::word;

/// The end of a chunk or of all, or a size of up to six digits with nothing behind it: returns the length. 0: something else, to be
/// looked at byte by byte.
#[inline(always)]
pub(super) fn chunk(stream: &mut Stream, letters: u64, available: u32) -> u32 {
    const CR_LF_BYTES: u32 = 2;
    if stream.progress != 0 {
        return 0;
    }
    let returns = word::equal_to(letters, b'\r');
    let digits = word::first(returns);
    let length = digits + CR_LF_BYTES;
    if returns == 0 || length > word::BYTES || length > available {
        return 0;
    }
    if (letters >> (8 * digits + 8)) as u8 != b'\n' {
        return 0;
    }
    if stream.phase != Phase::ChunkSize {
        if digits != 0 {
            return 0;
        }
        stream.enter(if stream.phase == Phase::ChunkEnd { Phase::ChunkSize } else { Phase::Start });
        return length;
    }
    // Digits to the high end, zeros before them.
    let empty = word::BYTES - digits;
    let number = word::hexadecimal(letters << ((8 * empty) & 63) | word::repeat(b'0') >> (8 * digits));
    if digits == 0 || number > word::MAX_HEXADECIMAL {
        return 0;
    }
    stream.left = number;
    chunk_size_end(stream);
    length
}

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
            stream.token = 0;
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

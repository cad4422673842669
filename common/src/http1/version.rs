//! The version that ends a request line, and that line's end. PURE.

use super::detail::method;
use super::line::CR_LF;
use super::request_line::{is_blank, no_request_line, request};
use crate::event::Event;
use crate::stream::{Phase, Stream};
use crate::window::Window;
use crate::word;

const HTTP_1: u64 = word::literal(b"HTTP/1.\0");

/// An ordinary version and the line's end: returns their length. 0: something else, to be looked
/// at byte by byte.
#[inline(always)]
pub(super) fn version<W: Window + ?Sized>(stream: &mut Stream, window: &W, at: u32, end: u32) -> u32 {
    const LENGTH: u32 = 10;
    let letters = window.word(at);
    let minor = (letters >> 56) as u8;
    let line_end = window.word(at + word::BYTES) as u16;
    if end - at < LENGTH || word::lowest(letters, 7) != HTTP_1 || !minor.is_ascii_digit() || line_end != CR_LF {
        return 0;
    }
    stream.detail |= if minor == b'1' { method::HTTP_1_1 } else { 0 };
    LENGTH
}

#[inline(always)]
pub(super) fn version_byte(stream: &mut Stream, byte: u8) -> Event {
    const MAJOR: u8 = 5;
    const MINOR: u8 = 7;
    let progress = stream.progress;
    if progress == 0 && is_blank(byte) {
        return Event::NONE;
    }
    let fits = match progress {
        MAJOR => byte.wrapping_sub(b'1') < 9,
        MINOR => byte.is_ascii_digit(),
        _ => byte == (HTTP_1 >> (8 * (progress & 7))) as u8,
    };
    if !fits {
        return no_request_line(stream, byte);
    }
    if progress == MAJOR && byte != b'1' {
        let preface = byte == b'2' && stream.detail == method::PRI | method::ASTERISK;
        stream.detail |= if preface { method::HTTP_2 } else { method::LATER };
    }
    stream.progress = progress + 1;
    if progress == MINOR {
        if byte == b'1' && stream.detail & (method::HTTP_2 | method::LATER) == 0 {
            stream.detail |= method::HTTP_1_1;
        }
        if byte != b'0' {
            stream.detail &= !method::HTTP_2;
        }
        stream.enter(Phase::RequestEnd);
    }
    Event::NONE
}

/// More digits of a version, blanks, and the line's end.
#[inline(always)]
pub(super) fn request_end(stream: &mut Stream, byte: u8) -> Event {
    const BLANKS: u8 = 1;
    if is_blank(byte) {
        stream.progress = BLANKS;
        return Event::NONE;
    }
    if byte.is_ascii_digit() && stream.progress != BLANKS {
        stream.detail &= !(method::HTTP_1_1 | method::HTTP_2);
        return Event::NONE;
    }
    if byte != b'\n' {
        return no_request_line(stream, byte);
    }
    if stream.detail & method::HTTP_2 != 0 {
        stream.enter(Phase::Preface);
        return Event::NONE;
    }
    request(stream)
}

//! The request line (RFC 9112 §3), and empty lines before it. PURE.

use super::detail::{field, method};
use super::line::{BLOCK_BYTES, CR_LF};
use super::method::method_byte;
use super::no_request::no_request;
use crate::event::Event;
use crate::maps::Version;
use crate::stream::{Phase, Stream, flag};
use crate::window::Window;
use crate::word;

const HTTP_1: u64 = word::literal(b"HTTP/1.\0");
const HTTP_1_LETTERS: u64 = word::literal(b"HTTP/1.0");
const HTTP_2_LETTERS: u64 = word::literal(b"HTTP/2.0");

#[inline(always)]
pub(super) fn start_byte(stream: &mut Stream, byte: u8) -> Event {
    const AFTER_CR: u8 = 1;
    if stream.progress == AFTER_CR && byte != b'\n' {
        return no_request(stream);
    }
    match byte {
        b'\r' if stream.phase == Phase::Begin => {
            stream.phase = Phase::ProxySignature;
            stream.progress = 1;
            Event::NONE
        }
        b'\r' => {
            stream.progress = AFTER_CR;
            Event::NONE
        }
        b'\n' => {
            stream.enter(Phase::Start);
            Event::NONE
        }
        _ => {
            stream.enter(Phase::Method);
            stream.token = 0;
            method_byte(stream, byte)
        }
    }
}

/// The target: anything but blanks and control characters (bytes beyond ASCII are let through, as
/// servers do). Returns the place behind what was looked at; when the blank that ends the target
/// is there, behind that, in the next phase.
#[inline(always)]
pub(super) fn target<W: Window + ?Sized>(stream: &mut Stream, window: &W, at: u32, end: u32) -> u32 {
    let first = window.byte(at);
    let mut stops = 0;
    let mut length = 0;
    let mut stop = 0;
    while length < BLOCK_BYTES {
        let letters = window.word(at + length);
        stops = stops_target(letters);
        if stops != 0 {
            stop = word::lowest_marked(letters, stops);
            length += word::first(stops);
            break;
        }
        length += word::BYTES;
    }
    if length > end - at {
        stops = 0;
        length = end - at;
    }
    note_target(stream, first, length);
    let at = at + length;
    if stops != 0 && at < end && stop == b' ' && stream.progress != 0 {
        stream.enter(Phase::Version);
        return at + 1;
    }
    if stops != 0 && at < end {
        // Not a blank, or no target: the byte decides, in a step of its own.
        stream.enter(Phase::TargetEnd);
    }
    at
}

/// Marks the bytes that cannot be part of a target. The lowest mark is exact.
#[inline(always)]
fn stops_target(letters: u64) -> u64 {
    word::below(letters, b'!') | word::equal_to(letters, 0x7f)
}

/// Notes `length` more bytes of the target, of which `first` is the first. `progress` counts to
/// two: none, one byte, more.
#[inline(always)]
fn note_target(stream: &mut Stream, first: u8, length: u32) {
    if length == 0 {
        return;
    }
    let only = stream.progress == 0 && length == 1;
    stream.progress = if only { 1 } else { 2 };
    if only && first == b'*' {
        stream.detail |= method::ASTERISK;
    } else {
        stream.detail &= !method::ASTERISK;
    }
}

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
    let preface = method::PRI | method::ASTERISK;
    let expected = if stream.detail & method::HTTP_2 != 0 { HTTP_2_LETTERS } else { HTTP_1_LETTERS };
    let progress = stream.progress;
    if progress == MAJOR && byte == b'2' && stream.detail == preface {
        stream.detail |= method::HTTP_2;
    } else if progress == MINOR && expected == HTTP_1_LETTERS && byte.is_ascii_digit() {
        stream.detail |= if byte == b'1' { method::HTTP_1_1 } else { 0 };
    } else if byte != (expected >> (8 * (progress & 7))) as u8 {
        return no_request_line(stream, byte);
    }
    stream.progress = progress + 1;
    if progress == MINOR {
        stream.enter(Phase::RequestEnd);
    }
    Event::NONE
}

#[inline(always)]
pub(super) fn request_end(stream: &mut Stream, byte: u8) -> Event {
    if byte == b'\r' && stream.progress == 0 {
        stream.progress = 1;
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

/// A request line is complete.
#[inline(always)]
pub(super) fn request(stream: &mut Stream) -> Event {
    let version = if stream.detail & method::HTTP_1_1 != 0 { Version::Http11 } else { Version::Http10 };
    let connect = if stream.detail & method::MASK == method::CONNECT { flag::CONNECT } else { 0 };
    stream.flags = stream.flags & !flag::REQUEST | flag::SEEN | connect;
    stream.left = 0;
    stream.detail = field::NONE;
    stream.enter(Phase::FieldStart);
    Event::request(version)
}

/// A line that began like a request ended otherwise, at `byte`.
#[inline(always)]
pub(super) fn no_request_line(stream: &mut Stream, byte: u8) -> Event {
    if stream.detail & method::MASK == method::PROXY && !stream.has(flag::SEEN) {
        stream.enter(if byte == b'\n' { Phase::Start } else { Phase::ProxyLine });
        return Event::NONE;
    }
    no_request(stream)
}

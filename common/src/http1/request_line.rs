//! The request line (RFC 9112 §3), and empty lines before it. PURE.
//!
//! It is read as leniently as any server reads it: docs/accuracy.md has what servers serve.

use super::detail::{field, method};
use super::line::BLOCK_BYTES;
use super::method::method_byte;
use super::no_request::no_request;
use crate::event::Event;
use crate::failure::Failure;
use crate::maps::Version;
use crate::stream::{Phase, Stream, TRIES, fail, flag};
use crate::window::Window;
use crate::{tls, word};

/// Blanks, empty lines, or the first byte of a method.
#[inline(always)]
pub(super) fn start_byte(stream: &mut Stream, byte: u8) -> Event {
    if byte == b'\r' && stream.phase == Phase::Begin {
        stream.phase = Phase::ProxySignature;
        stream.progress = 1;
        return Event::NONE;
    }
    if byte == tls::HANDSHAKE && is_first(stream) {
        tls::begin(stream);
        return Event::NONE;
    }
    if byte == b'\n' || is_blank(byte) {
        stream.detail = 0;
        stream.enter(Phase::Start);
        return Event::NONE;
    }
    if byte == 0 && stream.last_stream > TRIES {
        // The length of a frame begins so.
        *stream = Stream::unsure_frames();
        stream.progress = 1;
        return Event::NONE;
    }
    stream.enter(Phase::Method);
    stream.token = 0;
    method_byte(stream, byte)
}

/// At the stream's first byte, or the first one behind a PROXY protocol header.
#[inline(always)]
const fn is_first(stream: &Stream) -> bool {
    matches!(stream.phase, Phase::Begin) || stream.detail & method::MASK == method::PROXY && !stream.has(flag::SEEN)
}

/// What servers take for the blank between two parts of a request line (RFC 9112 §3): any of these, and runs of them.
#[inline(always)]
pub(super) const fn is_blank(byte: u8) -> bool {
    const BITS: u64 = 1 << b' ' | 1 << b'\t' | 1 << 0x0b | 1 << 0x0c | 1 << b'\r';
    byte <= b' ' && BITS >> (byte & 63) & 1 != 0
}

/// The target: anything but blanks and line ends, since there are servers that let every other byte through. Returns the
/// place behind what was looked at; when the blank that ends the target is there, behind that, in the next phase.
#[inline(always)]
pub(super) fn target<W: Window + ?Sized>(stream: &mut Stream, window: &W, at: u32, end: u32) -> u32 {
    let first = window.byte(at);
    let mut stops = 0;
    let mut length = 0;
    let mut stop = 0;
    while length < BLOCK_BYTES {
        let letters = window.word(at + length);
        stops = word::below(letters, b'!');
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
        // Another blank, or no target yet: the byte decides, in a step of its own.
        stream.phase = Phase::TargetEnd;
    }
    at
}

/// A byte in or behind a target that is no letter.
#[inline(always)]
pub(super) fn target_end(stream: &mut Stream, byte: u8) -> Event {
    if is_blank(byte) {
        stream.enter(if stream.progress == 0 { Phase::Target } else { Phase::Version });
        return Event::NONE;
    }
    if byte == b'\n' {
        return if stream.progress == 0 { no_request(stream) } else { no_request_line(stream, byte) };
    }
    stream.phase = Phase::Target;
    note_target(stream, byte, 1);
    Event::NONE
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

/// A request line is complete.
#[inline(always)]
pub(super) fn request(stream: &mut Stream) -> Event {
    let version = if stream.detail & method::HTTP_1_1 != 0 { Version::Http11 } else { Version::Http10 };
    let kind = stream.detail & method::MASK;
    let connect = if kind == method::CONNECT { flag::CONNECT } else { 0 };
    stream.flags = stream.flags & !flag::REQUEST | flag::SEEN | connect;
    stream.left = 0;
    stream.last_stream = 0;
    stream.detail = field::NONE;
    stream.enter(Phase::FieldStart);
    Event::request(version, kind)
}

/// A line of at least two words turns out, at `byte`, to be no request line.
#[inline(always)]
pub(super) fn no_request_line(stream: &mut Stream, byte: u8) -> Event {
    /// `progress` through a version: `HTTP/` was there.
    const NAMED: u8 = 5;
    if stream.has(flag::SEEN) {
        return no_request(stream);
    }
    if stream.detail & method::MASK == method::PROXY {
        stream.enter(if byte == b'\n' { Phase::Start } else { Phase::ProxyLine });
        return Event::NONE;
    }
    if stream.phase == Phase::RequestEnd || stream.phase == Phase::Version && stream.progress >= NAMED {
        return fail(stream, Failure::MalformedRequest);
    }
    let tries = if stream.last_stream == 0 { TRIES } else { stream.last_stream };
    let event = fail(stream, Failure::NoRequestLine);
    stream.last_stream = tries;
    event
}

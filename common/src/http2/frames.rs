//! HTTP/2 framing: counts request streams by frame headers alone (RFC 9113), resumable at any byte. PURE.
//!
//! A client opens a stream with a HEADERS frame that carries a new, higher, odd identifier
//! (§5.1.1). Nothing else is a request, so no header block needs to be decoded.

use crate::event::Event;
use crate::failure::Failure;
use crate::maps::Version;
use crate::stream::{Phase, Stream, fail, flag};
use crate::window::Window;
use crate::word;

const HEADER_BYTES: u32 = 9;
const TYPE_HEADERS: u8 = 1;
const TYPE_SETTINGS: u8 = 4;
/// What follows `PRI * HTTP/2.0\r\n` (§3.4).
const PREFACE_END: u64 = word::literal(b"\r\nSM\r\n\r\n");
/// The stream that a request becomes which asked for `Upgrade: h2c` (RFC 7540 §3.2).
const UPGRADED_STREAM: u32 = 1;

/// Reads on from `at` (below `end`), at least one byte.
#[inline(always)]
pub(crate) fn step<W: Window + ?Sized>(stream: &mut Stream, window: &W, at: u32, end: u32) -> (u32, Event) {
    if stream.phase != Phase::Preface && stream.progress == 0 && end - at >= HEADER_BYTES {
        stream.token = window.word(at);
        let event = frame(stream, window.byte(at + word::BYTES));
        return (at + HEADER_BYTES, event);
    }
    let byte = window.byte(at);
    let event = if stream.phase == Phase::Preface { preface_byte(stream, byte) } else { frame_byte(stream, byte) };
    (at + 1, event)
}

#[inline(always)]
fn preface_byte(stream: &mut Stream, byte: u8) -> Event {
    if byte != (PREFACE_END >> (8 * (stream.progress & 7))) as u8 {
        return fail(stream, Failure::MalformedFrame);
    }
    stream.progress += 1;
    if u32::from(stream.progress) == word::BYTES {
        stream.last_stream = if stream.has(flag::SEEN) { UPGRADED_STREAM } else { 0 };
        stream.enter(Phase::FirstFrame);
    }
    Event::NONE
}

/// One byte of a frame header that a window's end cut.
#[inline(always)]
fn frame_byte(stream: &mut Stream, byte: u8) -> Event {
    if u32::from(stream.progress) == word::BYTES {
        return frame(stream, byte);
    }
    let place = 8 * (stream.progress & 7);
    stream.token = stream.token & !(0xff << place) | u64::from(byte) << place;
    stream.progress += 1;
    Event::NONE
}

/// A frame header is complete: `token` holds its first eight bytes.
#[inline(always)]
fn frame(stream: &mut Stream, last: u8) -> Event {
    let header = stream.token;
    let big_endian = header.swap_bytes();
    let length = big_endian >> 40;
    let kind = (header >> 24) as u8;
    let id = ((big_endian << 8) as u32 | u32::from(last)) & 0x7fff_ffff;
    if stream.phase == Phase::FirstFrame && (kind != TYPE_SETTINGS || id != 0) {
        return fail(stream, Failure::MalformedFrame);
    }
    stream.left = length;
    stream.enter(if length > 0 { Phase::FramePayload } else { Phase::Frame });
    if kind == TYPE_HEADERS && id & 1 == 1 && id > stream.last_stream {
        stream.last_stream = id;
        stream.flags |= flag::SEEN;
        return Event::request(Version::Http2);
    }
    Event::NONE
}

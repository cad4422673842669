//! Frame headers, and the streams that they open (RFC 9113). PURE.
//!
//! A client opens a stream with a HEADERS frame that carries a new, higher, odd identifier
//! (§5.1.1). Nothing else is a request, so no header block needs to be decoded.

use crate::event::Event;
use crate::failure::Failure;
use crate::maps::Version;
use crate::method::Method;
use crate::stream::{Phase, Stream, fail, flag};
use crate::window::Window;
use crate::word;

use super::kinds::{HEADERS, PRIORITY_BYTES, SETTINGS, bit};
use super::method::{self, method, written_out};
use super::unsure::unsure_frame;

pub(super) const HEADER_BYTES: u32 = 9;
/// A frame's header, what may stand before the block, and as much of that as may tell the method.
pub(super) const LOOKED_AT: u32 = HEADER_BYTES + 1 + PRIORITY_BYTES + method::LOOKED_AT;

/// One byte of a frame header that a window's end cut.
#[inline(always)]
pub(super) fn frame_byte(stream: &mut Stream, byte: u8) -> Event {
    if u32::from(stream.progress) == word::BYTES {
        if stream.has(flag::UNSURE) {
            unsure_frame(stream, byte);
            return Event::NONE;
        }
        return frame(stream, byte);
    }
    let place = 8 * (stream.progress & 7);
    stream.token = stream.token & !(0xff << place) | u64::from(byte) << place;
    stream.progress += 1;
    Event::NONE
}

/// A frame header is complete: `token` holds its first eight bytes.
#[inline(always)]
pub(super) fn frame(stream: &mut Stream, last: u8) -> Event {
    let header = stream.token;
    let big_endian = header.swap_bytes();
    let length = big_endian >> 40;
    let kind = (header >> 24) as u8;
    let id = ((big_endian << 8) as u32 | u32::from(last)) & 0x7fff_ffff;
    if stream.phase == Phase::FirstFrame && (kind != SETTINGS || id != 0) {
        return fail(stream, Failure::MalformedFrame);
    }
    stream.left = length;
    stream.enter(if length > 0 { Phase::FramePayload } else { Phase::Frame });
    if kind == HEADERS && id & 1 == 1 && id > stream.last_stream {
        stream.last_stream = id;
        stream.flags |= flag::SEEN;
        return Event::request(Version::Http2, Method::Unknown as u8);
    }
    Event::NONE
}

/// The request of a frame header that was just read, with its method as far as the block, from `at` on, tells it before `end`.
#[inline(always)]
pub(super) fn named<W: Window + ?Sized>(stream: &Stream, window: &W, at: u32, end: u32) -> Event {
    let flags = (stream.token >> 32) as u8;
    let (mut before, mut padding) = (0, 0_u64);
    if flags & (bit::PADDED | bit::PRIORITY) != 0 {
        if flags & bit::PADDED != 0 {
            before = 1;
            padding = window.byte(at).into();
        }
        before += if flags & bit::PRIORITY != 0 { u64::from(PRIORITY_BYTES) } else { 0 };
    }
    let (length, rest) = (stream.left.saturating_sub(before + padding), u64::from(end - at).saturating_sub(before));
    let available = if length < rest { length as u32 } else { rest as u32 };
    let start = at + before as u32;
    let block = window.word(start);
    let method = match method(block, available) {
        Method::Unknown => written_out(block, window, start, available),
        method => method,
    };
    Event::request(Version::Http2, method as u8)
}

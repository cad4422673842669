//! Frame headers, and the streams that they open (RFC 9113). PURE.
//!
//! A client opens a stream with a HEADERS frame that carries a new, higher, odd identifier
//! (§5.1.1). Nothing else is a request, so no header block needs to be decoded.

use crate::event::Event;
use crate::failure::Failure;
use crate::maps::Version;
use crate::stream::{Phase, Stream, fail, flag};
use crate::word;

pub(super) const HEADER_BYTES: u32 = 9;
const TYPE_HEADERS: u8 = 1;
const TYPE_SETTINGS: u8 = 4;

/// One byte of a frame header that a window's end cut.
#[inline(always)]
pub(super) fn frame_byte(stream: &mut Stream, byte: u8) -> Event {
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
pub(super) fn frame(stream: &mut Stream, last: u8) -> Event {
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

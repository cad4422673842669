//! Frames on a connection whose first bytes were missed, and of which it is not certain yet that it speaks HTTP/2. PURE.

use super::kinds::{DATA, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, bit};
use crate::stream::{Phase, Stream};

/// What no server has to take larger (RFC 9113 §6.5.2).
const LONGEST: u64 = 1 << 14;

/// A frame header is complete: `token` holds its first eight bytes. Where a client would not send this one, the stream is given up.
///
/// A function of its own, which hands over what it found through memory: what the verifier knows in it is gone where it returns.
#[inline(never)]
pub(super) fn unsure_frame(stream: &mut Stream, last: u8) -> u64 {
    let big_endian = stream.token.swap_bytes();
    let id = (big_endian << 8) as u32 | u32::from(last);
    if !is_legal(stream.token, id) {
        *stream = stream.tried();
        return 0;
    }
    stream.left = big_endian >> 40;
    stream.enter(if stream.left > 0 { Phase::FramePayload } else { Phase::Frame });
    if (stream.token >> 24) as u8 == HEADERS && id > stream.last_stream {
        stream.last_stream = id;
    }
    0
}

/// Whether a client would send a frame with this header, of which the first eight bytes are in a word: with no more than what every
/// server takes, in the sizes and on the streams that its type allows (RFC 9113 §4.1, §6), and with the fields of a request in one frame.
#[inline(always)]
const fn is_legal(header: u64, id: u32) -> bool {
    let length = header.swap_bytes() >> 40;
    let (kind, flags) = ((header >> 24) as u8, (header >> 32) as u8);
    let is_of_stream = id & 1 == 1 && id >> 31 == 0;
    let (fits, is_in_place, flags_may) = match kind {
        DATA => (length <= LONGEST, is_of_stream, bit::END_STREAM | bit::PADDED),
        HEADERS => (
            length > 0 && length <= LONGEST && flags & bit::END_HEADERS != 0,
            is_of_stream,
            bit::END_STREAM | bit::END_HEADERS | bit::PADDED | bit::PRIORITY,
        ),
        PRIORITY => (length == 5, is_of_stream, 0),
        RST_STREAM => (length == 4, is_of_stream, 0),
        SETTINGS if flags & bit::ACK != 0 => (length == 0, id == 0, bit::ACK),
        SETTINGS => (length <= LONGEST && length.is_multiple_of(6), id == 0, 0),
        PING => (length == 8, id == 0, bit::ACK),
        GOAWAY => (length >= 8 && length <= LONGEST, id == 0, 0),
        WINDOW_UPDATE => (length == 4, is_of_stream || id == 0, 0),
        _ => (false, false, 0),
    };
    fits && is_in_place && flags & !flags_may == 0
}

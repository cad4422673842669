//! What is known of a stream where a request should begin and none does. PURE.

use crate::event::Event;
use crate::failure::Failure;
use crate::stream::{Phase, Stream, fail, flag};
use crate::word;

/// The stream goes on with something that is no request.
#[inline(always)]
pub(super) fn no_request(stream: &mut Stream) -> Event {
    if !stream.has(flag::SEEN) {
        stream.enter(Phase::NotHttp);
        return Event::NONE;
    }
    if stream.has(flag::UPGRADE) {
        stream.enter(Phase::Tunnel);
        return Event::NONE;
    }
    fail(stream, Failure::MalformedRequest)
}

/// The stream's first byte was looked at. A server of HTTP/2 begins with SETTINGS (RFC 9113 §3.4), whose header starts with this word.
#[inline(always)]
pub(super) fn note_settings(stream: &mut Stream, word: u64, length: u32) {
    const HEADER: u64 = word::literal(b"\0\0\0\x04\0\0\0\0");
    /// Fewer than 256 bytes of settings.
    const LENGTH: u64 = word::literal(b"\0\0\xff\0\0\0\0\0");
    if stream.phase == Phase::NotHttp && length > word::BYTES && word & !LENGTH == HEADER {
        stream.flags |= flag::FRAMES;
    }
}

/// A byte behind a 101: of HTTP/2's preface, or not of HTTP any more.
#[inline(always)]
pub(super) fn switched(stream: &mut Stream, byte: u8) -> Event {
    const PREFACE_LINE: [u64; 2] = [word::literal(b"PRI * HT"), word::literal(b"TP/2.0\r\n")];
    const BYTES: u8 = 2 * word::BYTES as u8;
    let [first, second] = PREFACE_LINE;
    let letters = if u32::from(stream.progress) < word::BYTES { first } else { second };
    if byte != (letters >> (8 * (stream.progress & 7))) as u8 {
        stream.enter(Phase::Tunnel);
        return Event::NONE;
    }
    stream.progress += 1;
    if stream.progress == BYTES {
        stream.enter(Phase::Preface);
    }
    Event::NONE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_as_the_answers_of_http2_do() {
        let check = |bytes: [u8; 8], length, is_frames| {
            let mut stream = Stream { phase: Phase::NotHttp, ..Stream::default() };
            note_settings(&mut stream, u64::from_le_bytes(bytes), length);
            assert_eq!(stream.has(flag::FRAMES), is_frames, "{bytes:?}");
        };
        check([0, 0, 18, 4, 0, 0, 0, 0], 9, true);
        check([0, 0, 0, 4, 0, 0, 0, 0], 100, true);
        check([0, 0, 18, 4, 0, 0, 0, 0], 8, false);
        check([0, 0, 18, 4, 1, 0, 0, 0], 9, false);
        check([0, 1, 18, 4, 0, 0, 0, 0], 9, false);
        check(*b"HTTP/1.1", 9, false);
    }
}

//! What a client sends before its first frame (RFC 9113). PURE.

use crate::event::Event;
use crate::failure::Failure;
use crate::stream::{Phase, Stream, fail, flag};
use crate::word;

/// What follows `PRI * HTTP/2.0\r\n` (§3.4).
const PREFACE_END: u64 = word::literal(b"\r\nSM\r\n\r\n");
/// The stream that a request becomes which asked for `Upgrade: h2c` (RFC 7540 §3.2).
const UPGRADED_STREAM: u32 = 1;

#[inline(always)]
pub(super) fn preface_byte(stream: &mut Stream, byte: u8) -> Event {
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

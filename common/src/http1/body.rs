//! What comes behind a head: the length of the message (RFC 9112 §6.3). PURE.

use super::detail::field;
use super::line::CR_LF;
use crate::event::Event;
use crate::failure::Failure;
use crate::stream::{Phase, Stream, fail, flag};

/// The end of a head after which a body of known length comes, or none.
#[inline(always)]
pub(super) fn ends_head(stream: &Stream, letters: u64, available: u32) -> bool {
    letters as u16 == CR_LF
        && available >= 2
        && stream.detail == field::NONE
        && !stream.has(flag::CODED | flag::BAD_FRAMING | flag::CONNECT)
}

/// The head is complete: how long is the message (RFC 9112 §6.3)?
#[inline(always)]
pub(super) fn head_done(stream: &mut Stream) -> Event {
    if stream.has(flag::CONNECT) {
        stream.enter(Phase::Tunnel);
        return Event::NONE;
    }
    if stream.has(flag::CODED) {
        if !stream.has(flag::CHUNKED) {
            return fail(stream, Failure::MalformedFraming);
        }
        stream.left = 0;
        stream.enter(Phase::ChunkSize);
        return Event::NONE;
    }
    if stream.has(flag::BAD_FRAMING) {
        return fail(stream, Failure::MalformedFraming);
    }
    stream.enter(if stream.left > 0 { Phase::Body } else { Phase::Start });
    Event::NONE
}

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
        stream.enter(Phase::Asked);
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

/// The end of a response's head whose fields do not contradict each other.
#[inline(always)]
pub(super) fn ends_response_head(stream: &Stream, letters: u64, available: u32) -> bool {
    letters as u16 == CR_LF && available >= 2 && stream.detail == field::NONE && !stream.has(flag::BAD_FRAMING)
}

/// The head of a response is complete: how long is it (RFC 9112 §6.3)? Fails only where
/// [`flag::BAD_FRAMING`] is set.
#[inline(always)]
pub(super) fn response_head_done(stream: &mut Stream) -> Event {
    let length = stream.left;
    stream.left = 0;
    if stream.has(flag::CONNECT) {
        stream.enter(Phase::Tunnel);
    } else if stream.has(flag::BODILESS) {
        stream.enter(Phase::Start);
    } else if stream.has(flag::CODED) {
        stream.enter(if stream.has(flag::CHUNKED) { Phase::ChunkSize } else { Phase::UntilClose });
    } else if stream.has(flag::BAD_FRAMING) {
        return fail(stream, Failure::MalformedFraming);
    } else if !stream.has(flag::SIZED) {
        stream.enter(Phase::UntilClose);
    } else if length == 0 {
        stream.enter(Phase::Start);
    } else {
        stream.left = length;
        stream.enter(Phase::Body);
    }
    Event::NONE
}

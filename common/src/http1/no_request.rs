//! What is known of a stream where a request should begin and none does. PURE.

use crate::event::Event;
use crate::failure::Failure;
use crate::stream::{Phase, Stream, fail, flag};

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

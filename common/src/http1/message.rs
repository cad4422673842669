//! Requests and responses: their fields are alike, what the end of a head means is not. PURE.

use super::body;
use crate::event::Event;
use crate::stream::Stream;

/// The kind of message whose head is read.
pub(super) trait Message {
    /// The head is complete: how long is the message?
    fn head_done(stream: &mut Stream) -> Event;
}

/// What a server reads.
pub(super) struct Request;

/// What it answers.
pub(super) struct Response;

impl Message for Request {
    #[inline(always)]
    fn head_done(stream: &mut Stream) -> Event {
        body::head_done(stream)
    }
}

impl Message for Response {
    #[inline(always)]
    fn head_done(stream: &mut Stream) -> Event {
        body::response_head_done(stream)
    }
}

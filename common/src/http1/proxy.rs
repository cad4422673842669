//! The PROXY protocol, before HTTP: the header of version 2. (A line of version 1 begins like a request line.) PURE.

use super::detail::method;
use super::no_request::no_request;
use super::request_line::start_byte;
use crate::event::Event;
use crate::stream::{Phase, Stream};
use crate::word;

const PROXY_SIGNATURE: (u64, u64) = (word::literal(b"\r\n\r\n\0\r\nQ"), word::literal(b"UIT\n\0\0\0\0"));
const PROXY_SIGNATURE_BYTES: u8 = 12;

/// A version 2 header begins with what could be empty lines.
#[inline(always)]
pub(super) fn proxy_signature(stream: &mut Stream, byte: u8) -> Event {
    const EMPTY_LINES: u8 = 4;
    let progress = stream.progress;
    let half = if progress < 8 { PROXY_SIGNATURE.0 } else { PROXY_SIGNATURE.1 };
    if byte == (half >> (8 * (progress & 7))) as u8 {
        stream.progress = progress + 1;
        if stream.progress == PROXY_SIGNATURE_BYTES {
            stream.enter(Phase::ProxyHeader);
        }
        return Event::NONE;
    }
    if progress > EMPTY_LINES {
        return no_request(stream);
    }
    stream.phase = Phase::Start;
    start_byte(stream, byte)
}

/// Version and command, family, and two bytes of length.
#[inline(always)]
pub(super) fn proxy_header(stream: &mut Stream, byte: u8) -> Event {
    const BYTES: u8 = 4;
    stream.left = (stream.left << 8 | u64::from(byte)) & 0xffff;
    stream.progress += 1;
    if stream.progress >= BYTES {
        stream.enter(if stream.left > 0 { Phase::ProxyPayload } else { Phase::Start });
        // As behind a line of version 1.
        stream.detail = method::PROXY;
    }
    Event::NONE
}

//! HTTP/1 framing: finds request lines, status lines and the ends of messages (RFC 9112), resumable at any byte. PURE.
//!
//! It hands out [`step`] for requests and [`response_step`]; each file is a part of a message, or of what may stand before one.
//!
//! Most steps look at one byte. Those that most bytes of real traffic go through (the request
//! line, field lines that do not matter) look at eight at a time, and fall back to single bytes
//! where a window ends. Both ways must agree: tests cut every message at every byte.

mod body;
mod chunks;
mod content_length;
mod detail;
mod fields;
mod framing_fields;
mod line;
mod message;
mod method;
mod no_request;
mod proxy;
mod request_line;
mod response;
mod status_line;
mod transfer_encoding;
mod version;

use crate::event::Event;
use crate::failure::Failure;
use crate::stream::{Phase, Stream};
use crate::tls::client_hello;
use crate::window::Window;
use body::ends_head;
use chunks::{chunk, chunk_end, chunk_size, chunk_size_end, trailer_end, trailer_start};
use content_length::content_length;
use detail::field;
use fields::{decides, pass_lines};
use framing_fields::{field_name, head_end, special_line};
use line::{goes_on, line_feed};
use message::Request;
use method::{method, method_byte};
use no_request::{note_settings, switched};
use proxy::{proxy_header, proxy_signature};
use request_line::{request, start_byte, target, target_end};
use transfer_encoding::transfer_encoding;
use version::{request_end, version, version_byte};

pub(crate) use response::step as response_step;

/// Where a step stopped, and what it found.
type Step = (u32, Event);

/// Reads on from `at` (below `end`), at least one byte or one change of phase; only an ordinary request, if it is the `FIRST`
/// step.
///
/// An ordinary request takes one step. Each piece of code stands here once, in the order in which
/// ordinary traffic goes through it: the verifier follows every way through this function.
#[inline(always)]
pub(crate) fn step<W: Window + ?Sized, const FIRST: bool>(stream: &mut Stream, window: &W, at: u32, end: u32) -> Step {
    let mut at = at;
    let mut event = Event::NONE;
    if stream.phase == Phase::FieldStart && (stream.detail != field::NONE || decides(window, at.into(), end.into())) {
        return if FIRST { (at, event) } else { special_line::<Request, W>(stream, window, at, end) };
    }
    if matches!(stream.phase, Phase::Begin | Phase::Start) {
        let length = method(stream, window.word(at), end - at);
        if length == 0 {
            if FIRST {
                return (at, event);
            }
            let is_first = stream.phase == Phase::Begin;
            event = start_byte(stream, window.byte(at));
            if is_first {
                note_settings(stream, window.word(at), end - at);
            }
            return (at + 1, event);
        }
        at += length;
    }
    if stream.phase == Phase::Target && at < end {
        let before = at;
        at = target(stream, window, at, end);
        if stream.phase != Phase::Version || at >= end {
            return (at, if FIRST { Event::NONE } else { goes_on(stream, at - before, Failure::MalformedRequest) });
        }
        let length = version(stream, window, at, end);
        if length != 0 {
            at += length;
            event = request(stream);
        }
    }
    if stream.phase.is_field_line() {
        let line_start = stream.phase == Phase::FieldStart;
        let (next, line_start) = pass_lines(window, at, end, line_start);
        stream.enter(if line_start { Phase::FieldStart } else { Phase::FieldRest });
        if line_start && next < end && ends_head(stream, window.word(next), end - next) {
            stream.enter(if stream.left > 0 { Phase::Body } else { Phase::Start });
            return (next + 2, event);
        }
        if !FIRST && !line_start && event == Event::NONE {
            event = goes_on(stream, next - at, Failure::MalformedRequest);
        }
        return (next, event);
    }
    if FIRST {
        return (at, event);
    }
    if stream.phase.is_rest_of_line() {
        let (next, found) = line_feed(window, at, end);
        if !found {
            return (next, goes_on(stream, next - at, Failure::MalformedFraming));
        }
        end_line(stream);
        return (next, Event::NONE);
    }
    if at >= end {
        return (at, Event::NONE);
    }
    if matches!(stream.phase, Phase::ChunkSize | Phase::ChunkEnd | Phase::TrailerStart) {
        let length = chunk(stream, window.word(at), end - at);
        if length != 0 {
            return (at + length, Event::NONE);
        }
    }
    (at + 1, one_byte(stream, window.byte(at)))
}

/// Phases that look at single bytes. Each takes the byte or, where it belongs to the next phase,
/// hands it on.
#[inline(always)]
fn one_byte(stream: &mut Stream, byte: u8) -> Event {
    match stream.phase {
        Phase::Method => method_byte(stream, byte),
        Phase::TargetEnd => target_end(stream, byte),
        Phase::Version => version_byte(stream, byte),
        Phase::RequestEnd => request_end(stream, byte),
        Phase::FieldName => field_name(stream, byte),
        Phase::ContentLength => content_length(stream, byte),
        Phase::TransferEncoding => transfer_encoding(stream, byte),
        Phase::HeadEnd => head_end::<Request>(stream, byte),
        Phase::ChunkSize => chunk_size(stream, byte),
        Phase::ChunkEnd => chunk_end(stream, byte),
        Phase::TrailerStart => trailer_start(stream, byte),
        Phase::TrailerEnd => trailer_end(stream, byte),
        Phase::Switched => switched(stream, byte),
        Phase::ProxySignature => proxy_signature(stream, byte),
        Phase::ClientHello => client_hello(stream, byte),
        _ => proxy_header(stream, byte),
    }
}

/// The line whose rest did not matter is over.
#[inline(always)]
fn end_line(stream: &mut Stream) {
    match stream.phase {
        Phase::TrailerRest => stream.enter(Phase::TrailerStart),
        Phase::ChunkExtension => chunk_size_end(stream),
        _ => stream.enter(Phase::Start),
    }
}

//! Finds status lines and the ends of responses. PURE.

use super::body::{ends_response_head, response_head_done};
use super::chunks::{chunk, chunk_end, chunk_size, trailer_end, trailer_start};
use super::content_length::content_length;
use super::detail::field;
use super::fields::pass_lines;
use super::framing_fields::{field_name, head_end, plain_line, special_line};
use super::line::line_feed;
use super::message::Response;
use super::status_line::{STATUS_BYTES, status_byte, status_line};
use super::transfer_encoding::transfer_encoding;
use super::{Step, end_line};
use crate::event::Event;
use crate::stream::{Phase, Stream};
use crate::window::Window;
use crate::word;

/// As [`super::step`], of responses. What the request says about its response is in the stream's flags before the
/// response's first byte ([`crate::exchange::Exchange::prepare`]). An ordinary head takes one step; the `FIRST` takes no other.
#[inline(always)]
pub(crate) fn step<W: Window + ?Sized, const FIRST: bool>(stream: &mut Stream, window: &W, at: u32, end: u32) -> Step {
    let mut at = at;
    let mut event = Event::NONE;
    if matches!(stream.phase, Phase::Start | Phase::StatusLine) {
        if stream.phase == Phase::StatusLine || end - at < STATUS_BYTES {
            return if FIRST { (at, event) } else { (at + 1, status_byte(stream, window.byte(at))) };
        }
        event = status_line(stream, window.word(at), window.word(at + word::BYTES));
        at += STATUS_BYTES - 1;
    }
    if stream.phase.is_field_line() {
        if stream.phase == Phase::FieldRest || stream.detail == field::NONE {
            let (next, line_start) = pass_lines(window, at, end, stream.phase == Phase::FieldStart);
            stream.enter(if line_start { Phase::FieldStart } else { Phase::FieldRest });
            let next =
                if line_start && next < end { next + plain_line(stream, window, next, end - next) } else { next };
            if line_start && next < end && ends_response_head(stream, window.word(next), end - next) {
                response_head_done(stream);
                return (next + 2, event);
            }
            if FIRST || next != at {
                return (next, event);
            }
        }
        return if FIRST { (at, event) } else { special_line::<Response, W>(stream, window, at, end) };
    }
    if FIRST || event != Event::NONE {
        return (at, event);
    }
    if stream.phase.is_rest_of_line() {
        let (next, found) = line_feed(window, at, end);
        if found {
            end_line(stream);
        }
        return (next, Event::NONE);
    }
    if matches!(stream.phase, Phase::ChunkSize | Phase::ChunkEnd | Phase::TrailerStart) {
        let length = chunk(stream, window.word(at), end - at);
        if length != 0 {
            return (at + length, Event::NONE);
        }
    }
    (at + 1, one_byte(stream, window.byte(at)))
}

/// Phases that look at single bytes.
#[inline(always)]
fn one_byte(stream: &mut Stream, byte: u8) -> Event {
    match stream.phase {
        Phase::FieldName => field_name(stream, byte),
        Phase::ContentLength => content_length(stream, byte),
        Phase::TransferEncoding => transfer_encoding(stream, byte),
        Phase::HeadEnd => head_end::<Response>(stream, byte),
        Phase::ChunkSize => chunk_size(stream, byte),
        Phase::ChunkEnd => chunk_end(stream, byte),
        Phase::TrailerStart => trailer_start(stream, byte),
        _ => trailer_end(stream, byte),
    }
}

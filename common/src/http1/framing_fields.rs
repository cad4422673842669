//! The fields that decide about framing, and the line that ends a head. PURE.

use super::content_length::{content_length, finish_length, length_line};
use super::detail::field;
use super::fields::{CONTENT_, TRANSFER};
use super::line::CR_LF;
use super::message::Message;
use super::transfer_encoding::{coding_line, finish_coding, transfer_encoding};
use crate::event::Event;
use crate::stream::{Phase, Stream, flag};
use crate::window::Window;
use crate::word;

const LENGTH: u64 = word::literal(b"length\0\0");
const ENCODING: u64 = word::literal(b"-encodin");
const UPGRADE: u64 = word::literal(b"upgrade\0");

/// A field that decides about framing, in its plainest form: returns the line's length. 0: something else.
#[inline(always)]
pub(super) fn plain_line<W: Window + ?Sized>(stream: &mut Stream, window: &W, at: u32, available: u32) -> u32 {
    match word::lower_case(window.word(at)) {
        CONTENT_ => length_line(stream, window, at, available),
        TRANSFER => coding_line(stream, window, at, available),
        _ => 0,
    }
}

/// A line that [`pass_lines`](super::fields::pass_lines) stopped at.
#[inline(always)]
pub(super) fn special_line<M: Message, W: Window + ?Sized>(
    stream: &mut Stream,
    window: &W,
    at: u32,
    end: u32,
) -> (u32, Event) {
    let mut at = at;
    let mut letters = window.word(at);
    if stream.detail == field::NONE {
        let length = plain_line(stream, window, at, end - at);
        if length != 0 {
            at += length;
            letters = window.word(at);
            if letters as u16 != CR_LF || end - at < 2 {
                return (at, Event::NONE);
            }
        }
    }
    let first = letters as u8;
    if letters as u16 == CR_LF && end - at >= 2 {
        finish_field(stream);
        return (at + 2, M::head_done(stream));
    }
    if first <= b' ' {
        return (at + 1, field_start_blank::<M>(stream, first));
    }
    (at + field_start(stream, letters, end - at), Event::NONE)
}

/// The start of a field line, of which `available` bytes are there. Names that decide about
/// framing are told apart by their first letters; whether the rest fits is looked at byte by byte.
/// Returns how many bytes are known: none when the line does not matter.
#[inline(always)]
fn field_start(stream: &mut Stream, letters: u64, available: u32) -> u32 {
    if stream.detail != field::NONE {
        finish_field(stream);
    }
    let letters = word::lower_case(letters);
    let first = letters as u8;
    let (name, known) = if available < word::BYTES {
        match first {
            b'c' => (field::CONTENT_LENGTH, 1),
            b't' => (field::TRANSFER_ENCODING, 1),
            b'u' => (field::UPGRADE, 1),
            _ => (field::NONE, 0),
        }
    } else if letters == CONTENT_ {
        (field::CONTENT_LENGTH, 8)
    } else if letters == TRANSFER {
        (field::TRANSFER_ENCODING, 8)
    } else if word::lowest(letters, 7) == UPGRADE {
        (field::UPGRADE, 7)
    } else {
        (field::NONE, 0)
    };
    stream.detail = name;
    stream.phase = if name == field::NONE { Phase::FieldRest } else { Phase::FieldName };
    stream.progress = known;
    u32::from(known)
}

/// A line that starts with a blank: the end of the head, or a value that goes on (obs-fold).
#[inline(always)]
fn field_start_blank<M: Message>(stream: &mut Stream, byte: u8) -> Event {
    match byte {
        b'\n' => {
            finish_field(stream);
            M::head_done(stream)
        }
        b'\r' => {
            stream.phase = Phase::HeadEnd;
            Event::NONE
        }
        _ => {
            stream.phase = match stream.detail {
                field::CONTENT_LENGTH => Phase::ContentLength,
                field::TRANSFER_ENCODING => Phase::TransferEncoding,
                _ => Phase::FieldRest,
            };
            match stream.phase {
                Phase::ContentLength => content_length(stream, b' '),
                Phase::TransferEncoding => transfer_encoding(stream, b' '),
                _ => Event::NONE,
            }
        }
    }
}

#[inline(always)]
pub(super) fn field_name(stream: &mut Stream, byte: u8) -> Event {
    let progress = stream.progress;
    let (first, rest, length) = match stream.detail {
        field::CONTENT_LENGTH => (CONTENT_, LENGTH, 14),
        field::TRANSFER_ENCODING => (TRANSFER, ENCODING, 17),
        field::UPGRADE => (UPGRADE, 0, 7),
        _ => return leave_field(stream, byte),
    };
    if progress < length {
        let expected = if progress == 16 {
            b'g'
        } else {
            let letters = if progress < 8 { first } else { rest };
            (letters >> (8 * (progress & 7))) as u8
        };
        if byte | 0x20 != expected {
            return leave_field(stream, byte);
        }
        stream.progress = progress + 1;
        return Event::NONE;
    }
    if byte != b':' {
        // Blanks before the colon make servers and proxies disagree (RFC 9112 §5.1).
        if matches!(byte, b' ' | b'\t') && stream.detail != field::UPGRADE {
            stream.flags |= flag::BAD_FRAMING;
        }
        return leave_field(stream, byte);
    }
    match stream.detail {
        field::CONTENT_LENGTH => {
            stream.enter(Phase::ContentLength);
            stream.token = 0;
        }
        field::TRANSFER_ENCODING => stream.enter(Phase::TransferEncoding),
        _ => {
            stream.flags |= flag::UPGRADE;
            return leave_field(stream, byte);
        }
    }
    Event::NONE
}

/// The field does not matter (any more); `byte` is the next of its line.
#[inline(always)]
fn leave_field(stream: &mut Stream, byte: u8) -> Event {
    stream.detail = field::NONE;
    stream.enter(if byte == b'\n' { Phase::FieldStart } else { Phase::FieldRest });
    Event::NONE
}

/// The value of the last field is complete: the line after it does not continue it.
#[inline(always)]
fn finish_field(stream: &mut Stream) {
    match stream.detail {
        field::CONTENT_LENGTH => finish_length(stream),
        field::TRANSFER_ENCODING => finish_coding(stream),
        _ => {}
    }
    stream.detail = field::NONE;
    stream.progress = 0;
}

#[inline(always)]
pub(super) fn head_end<M: Message>(stream: &mut Stream, byte: u8) -> Event {
    finish_field(stream);
    if byte == b'\n' {
        return M::head_done(stream);
    }
    // A CR within a line: not the end of the head.
    leave_field(stream, byte)
}

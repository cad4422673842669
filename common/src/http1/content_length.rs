//! The value of `Content-Length` (RFC 9112 §6.3). PURE.

use super::line::CR_LF;
use crate::event::Event;
use crate::stream::{Phase, Stream, flag};
use crate::window::Window;
use crate::word;

/// Progress through a decimal number and the blanks around it.
mod number {
    pub(super) const BEFORE: u8 = 0;
    pub(super) const WITHIN: u8 = 1;
    pub(super) const AFTER: u8 = 2;
    pub(super) const INVALID: u8 = 3;
}

/// `length: ` in lower case.
const LENGTH_COLON_BLANK: u64 = word::literal(b"length: ");

/// A first `Content-Length` of up to seven digits in its plainest form, and a line after it that
/// does not continue it: notes the length and returns the line's. 0: something else.
#[inline(always)]
pub(super) fn length_line<W: Window + ?Sized>(stream: &mut Stream, window: &W, at: u32, available: u32) -> u32 {
    /// `Content-Length: ` up to the digits.
    const DIGITS: u32 = 16;
    let name_end = word::lower_case(window.word(at + word::BYTES));
    let digits = window.word(at + DIGITS);
    let returns = word::equal_to(digits, b'\r');
    let count = word::first(returns);
    let line = DIGITS + count + 2;
    let line_end = window.word(at + DIGITS + count);
    let next = (line_end >> 16) as u8;
    if name_end != LENGTH_COLON_BLANK
        || returns == 0
        || count == 0
        || available <= line
        || line_end as u16 != CR_LF
        || next == b' '
        || next == b'\t'
        || stream.has(flag::SIZED)
    {
        return 0;
    }
    // Digits to the high end, zeros before them.
    let aligned = digits << (8 * (word::BYTES - count)) | word::repeat(b'0') >> (8 * count);
    let number = word::decimal(aligned);
    if number > word::MAX_DECIMAL {
        return 0;
    }
    stream.left = number;
    stream.flags |= flag::SIZED;
    line
}

#[inline(always)]
pub(super) fn content_length(stream: &mut Stream, byte: u8) -> Event {
    match byte {
        b'0'..=b'9' if stream.progress <= number::WITHIN => {
            let digit = u64::from(byte - b'0');
            if stream.token > (u64::MAX - 9) / 10 {
                stream.progress = number::INVALID;
            } else {
                stream.token = stream.token * 10 + digit;
                stream.progress = number::WITHIN;
            }
        }
        b' ' | b'\t' | b'\r' => {
            if stream.progress == number::WITHIN {
                stream.progress = number::AFTER;
            }
        }
        b',' => finish_length(stream),
        b'\n' => stream.phase = Phase::FieldStart,
        _ => stream.progress = number::INVALID,
    }
    Event::NONE
}

/// One number of a `Content-Length` is complete: a repeated one must be equal (RFC 9112 §6.3).
#[inline(always)]
pub(super) fn finish_length(stream: &mut Stream) {
    let number = stream.token;
    let valid = matches!(stream.progress, number::WITHIN | number::AFTER);
    if !valid || (stream.has(flag::SIZED) && stream.left != number) {
        stream.flags |= flag::BAD_FRAMING;
    }
    stream.flags |= flag::SIZED;
    stream.left = number;
    stream.token = 0;
    stream.progress = number::BEFORE;
}

//! HTTP/1 framing: finds request lines and the ends of messages (RFC 9112), resumable at any byte. PURE.
//!
//! Most steps look at one byte. Those that most bytes of real traffic go through (the request
//! line, field lines that do not matter) look at eight at a time, and fall back to single bytes
//! where a window ends. Both ways must agree: tests cut every message at every byte.

use crate::event::Event;
use crate::failure::Failure;
use crate::maps::Version;
use crate::stream::{Phase, Stream, fail, flag};
use crate::window::Window;
use crate::word;

/// Bytes that one step scans at most; the next step goes on. A window has as many bytes behind
/// its end, of any value.
const BLOCK_BYTES: u32 = 4 * word::BYTES;
/// Pairs of words of a head that one step looks at; the next step goes on.
const HEAD_PAIRS: u32 = 40;
/// Longest method that fits a token; longer ones are valid but none that matters.
const TOKEN_BYTES: u8 = 8;
/// Longest method. Streams of other protocols may look like one that never ends.
const MAX_METHOD_BYTES: u64 = 1024;

/// Kinds of method, in the low half of [`Stream::detail`].
mod method {
    pub(super) const OTHER: u8 = 0;
    pub(super) const CONNECT: u8 = 1;
    pub(super) const PRI: u8 = 2;
    pub(super) const PROXY: u8 = 3;
    pub(super) const MASK: u8 = 0x0f;
    /// The target of a PRI request is `*`: it may be the HTTP/2 preface.
    pub(super) const ASTERISK: u8 = 0x10;
    /// The version is HTTP/1.1.
    pub(super) const HTTP_1_1: u8 = 0x20;
    /// The version is HTTP/2.0, after `PRI *`.
    pub(super) const HTTP_2: u8 = 0x40;
}

/// Fields that decide about framing, as [`Stream::detail`] while a head is read.
mod field {
    pub(super) const NONE: u8 = 0;
    pub(super) const CONTENT_LENGTH: u8 = 1;
    pub(super) const TRANSFER_ENCODING: u8 = 2;
    pub(super) const UPGRADE: u8 = 3;
}

/// Progress through a decimal number and the blanks around it.
mod number {
    pub(super) const BEFORE: u8 = 0;
    pub(super) const WITHIN: u8 = 1;
    pub(super) const AFTER: u8 = 2;
    pub(super) const INVALID: u8 = 3;
}

/// Progress through one transfer coding: below `MATCHED`, letters of `chunked`.
mod coding {
    pub(super) const MATCHED: u8 = 7;
    pub(super) const AFTER: u8 = 8;
    pub(super) const OTHER: u8 = 9;
}

const GET_: u32 = u32::from_le_bytes(*b"GET ");
const CONNECT: u64 = word::literal(b"CONNECT\0");
const PRI: u64 = word::literal(b"PRI\0\0\0\0\0");
const PROXY: u64 = word::literal(b"PROXY\0\0\0");
const HTTP_1: u64 = word::literal(b"HTTP/1.\0");
const HTTP_1_LETTERS: u64 = word::literal(b"HTTP/1.0");
const HTTP_2_LETTERS: u64 = word::literal(b"HTTP/2.0");
const CONTENT_: u64 = word::literal(b"content-");
const LENGTH: u64 = word::literal(b"length\0\0");
/// `length: ` in lower case.
const LENGTH_COLON_BLANK: u64 = word::literal(b"length: ");
const CR_LF: u16 = u16::from_le_bytes(*b"\r\n");
const TRANSFER: u64 = word::literal(b"transfer");
const ENCODING: u64 = word::literal(b"-encodin");
const UPGRADE: u64 = word::literal(b"upgrade\0");
const UPGRADE_COLON: u64 = word::literal(b"upgrade:");
const CHUNKED: u64 = word::literal(b"chunked\0");
const PROXY_SIGNATURE: (u64, u64) = (word::literal(b"\r\n\r\n\0\r\nQ"), word::literal(b"UIT\n\0\0\0\0"));
const PROXY_SIGNATURE_BYTES: u8 = 12;

/// Token characters below and from 64 (RFC 9110 §5.6.2), a bit each.
const TOKEN_LOW: u64 = token_bits(0);
const TOKEN_HIGH: u64 = token_bits(64);

const fn token_bits(first: u8) -> u64 {
    let mut bits = 0;
    let mut index = 0;
    while index < 64 {
        let byte = first + index;
        if byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            )
        {
            bits |= 1 << index;
        }
        index += 1;
    }
    bits
}

/// Where a step stopped, and what it found.
type Step = (u32, Event);

/// Reads on from `at` (below `end`), at least one byte or one change of phase.
///
/// An ordinary request takes one step. Each piece of code stands here once, in the order in which
/// ordinary traffic goes through it: the verifier follows every way through this function.
#[inline(always)]
pub(crate) fn step<W: Window + ?Sized>(stream: &mut Stream, window: &W, at: u32, end: u32) -> Step {
    let mut at = at;
    let mut event = Event::NONE;
    if stream.phase == Phase::FieldStart && (stream.detail != field::NONE || decides(window, at.into(), end.into())) {
        return special_line(stream, window, at, end);
    }
    if matches!(stream.phase, Phase::Begin | Phase::Start) {
        let length = method(stream, window.word(at), end - at);
        if length == 0 {
            return (at + 1, start_byte(stream, window.byte(at)));
        }
        at += length;
    }
    if stream.phase == Phase::Target && at < end {
        at = target(stream, window, at, end);
        if stream.phase != Phase::Version || at >= end {
            return (at, Event::NONE);
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
        return (next, event);
    }
    if stream.phase.is_rest_of_line() {
        let (next, found) = line_feed(window, at, end);
        if found {
            end_line(stream);
        }
        return (next, Event::NONE);
    }
    if at >= end {
        return (at, Event::NONE);
    }
    (at + 1, one_byte(stream, window.byte(at)))
}

/// Phases that look at single bytes. Each takes the byte or, where it belongs to the next phase,
/// hands it on.
#[inline(always)]
fn one_byte(stream: &mut Stream, byte: u8) -> Event {
    match stream.phase {
        Phase::Method => method_byte(stream, byte),
        Phase::TargetEnd => no_request_line(stream, byte),
        Phase::Version => version_byte(stream, byte),
        Phase::RequestEnd => request_end(stream, byte),
        Phase::FieldName => field_name(stream, byte),
        Phase::ContentLength => content_length(stream, byte),
        Phase::TransferEncoding => transfer_encoding(stream, byte),
        Phase::HeadEnd => head_end(stream, byte),
        Phase::ChunkSize => chunk_size(stream, byte),
        Phase::ChunkEnd => chunk_end(stream, byte),
        Phase::TrailerStart => trailer_start(stream, byte),
        Phase::TrailerEnd => trailer_end(stream, byte),
        Phase::ProxySignature => proxy_signature(stream, byte),
        _ => proxy_header(stream, byte),
    }
}

// ---- The request line -------------------------------------------------------------------------

/// An ordinary method and the blank behind it, within `available` bytes: returns their length.
/// 0: something else, to be looked at byte by byte.
#[inline(always)]
fn method(stream: &mut Stream, letters: u64, available: u32) -> u32 {
    if letters as u32 == GET_ && available >= 4 && stream.progress == 0 {
        stream.token = 0;
        method_end(stream);
        return 4;
    }
    let spaces = word::equal_to(letters, b' ');
    if spaces == 0 || stream.progress != 0 {
        return 0;
    }
    let length = word::first(spaces);
    let no_letters = word::lowest(!word::upper_case(letters) & word::repeat(0x80), length);
    if length == 0 || length >= available || no_letters != 0 {
        return 0;
    }
    stream.token = word::lowest(letters, length);
    method_end(stream);
    length + 1
}

#[inline(always)]
fn start_byte(stream: &mut Stream, byte: u8) -> Event {
    const AFTER_CR: u8 = 1;
    if stream.progress == AFTER_CR && byte != b'\n' {
        return no_request(stream);
    }
    match byte {
        b'\r' if stream.phase == Phase::Begin => {
            stream.phase = Phase::ProxySignature;
            stream.progress = 1;
            Event::NONE
        }
        b'\r' => {
            stream.progress = AFTER_CR;
            Event::NONE
        }
        b'\n' => {
            stream.enter(Phase::Start);
            Event::NONE
        }
        _ => {
            stream.enter(Phase::Method);
            stream.token = 0;
            method_byte(stream, byte)
        }
    }
}

#[inline(always)]
fn method_byte(stream: &mut Stream, byte: u8) -> Event {
    if byte == b' ' && stream.progress > 0 {
        method_end(stream);
        return Event::NONE;
    }
    if !is_token(byte) {
        return no_request(stream);
    }
    if stream.progress < TOKEN_BYTES {
        stream.token |= u64::from(byte) << (8 * (stream.progress & 7));
        stream.progress += 1;
        return Event::NONE;
    }
    stream.token = 0;
    stream.left += 1;
    if stream.left > MAX_METHOD_BYTES - TOKEN_BYTES as u64 {
        return no_request(stream);
    }
    Event::NONE
}

#[inline(always)]
fn is_token(byte: u8) -> bool {
    let bits = if byte < 64 { TOKEN_LOW } else { TOKEN_HIGH };
    byte < 128 && bits >> (byte & 63) & 1 != 0
}

#[inline(always)]
fn method_end(stream: &mut Stream) {
    stream.detail = match stream.token {
        CONNECT => method::CONNECT,
        PRI => method::PRI,
        PROXY => method::PROXY,
        _ => method::OTHER,
    };
    stream.token = 0;
    stream.enter(Phase::Target);
}

/// The target: anything but blanks and control characters (bytes beyond ASCII are let through, as
/// servers do). Returns the place behind what was looked at; when the blank that ends the target
/// is there, behind that, in the next phase.
#[inline(always)]
fn target<W: Window + ?Sized>(stream: &mut Stream, window: &W, at: u32, end: u32) -> u32 {
    let first = window.byte(at);
    let mut stops = 0;
    let mut length = 0;
    let mut stop = 0;
    while length < BLOCK_BYTES {
        let letters = window.word(at + length);
        stops = stops_target(letters);
        if stops != 0 {
            stop = word::lowest_marked(letters, stops);
            length += word::first(stops);
            break;
        }
        length += word::BYTES;
    }
    if length > end - at {
        stops = 0;
        length = end - at;
    }
    note_target(stream, first, length);
    let at = at + length;
    if stops != 0 && at < end && stop == b' ' && stream.progress != 0 {
        stream.enter(Phase::Version);
        return at + 1;
    }
    if stops != 0 && at < end {
        // Not a blank, or no target: the byte decides, in a step of its own.
        stream.enter(Phase::TargetEnd);
    }
    at
}

/// Marks the bytes that cannot be part of a target. The lowest mark is exact.
#[inline(always)]
fn stops_target(letters: u64) -> u64 {
    word::below(letters, b'!') | word::equal_to(letters, 0x7f)
}

/// Notes `length` more bytes of the target, of which `first` is the first. `progress` counts to
/// two: none, one byte, more.
#[inline(always)]
fn note_target(stream: &mut Stream, first: u8, length: u32) {
    if length == 0 {
        return;
    }
    let only = stream.progress == 0 && length == 1;
    stream.progress = if only { 1 } else { 2 };
    if only && first == b'*' {
        stream.detail |= method::ASTERISK;
    } else {
        stream.detail &= !method::ASTERISK;
    }
}

/// An ordinary version and the line's end: returns their length. 0: something else, to be looked
/// at byte by byte.
#[inline(always)]
fn version<W: Window + ?Sized>(stream: &mut Stream, window: &W, at: u32, end: u32) -> u32 {
    const LENGTH: u32 = 10;
    let letters = window.word(at);
    let minor = (letters >> 56) as u8;
    let line_end = window.word(at + word::BYTES) as u16;
    if end - at < LENGTH || word::lowest(letters, 7) != HTTP_1 || !minor.is_ascii_digit() || line_end != CR_LF {
        return 0;
    }
    stream.detail |= if minor == b'1' { method::HTTP_1_1 } else { 0 };
    LENGTH
}

#[inline(always)]
fn version_byte(stream: &mut Stream, byte: u8) -> Event {
    const MAJOR: u8 = 5;
    const MINOR: u8 = 7;
    let preface = method::PRI | method::ASTERISK;
    let expected = if stream.detail & method::HTTP_2 != 0 { HTTP_2_LETTERS } else { HTTP_1_LETTERS };
    let progress = stream.progress;
    if progress == MAJOR && byte == b'2' && stream.detail == preface {
        stream.detail |= method::HTTP_2;
    } else if progress == MINOR && expected == HTTP_1_LETTERS && byte.is_ascii_digit() {
        stream.detail |= if byte == b'1' { method::HTTP_1_1 } else { 0 };
    } else if byte != (expected >> (8 * (progress & 7))) as u8 {
        return no_request_line(stream, byte);
    }
    stream.progress = progress + 1;
    if progress == MINOR {
        stream.enter(Phase::RequestEnd);
    }
    Event::NONE
}

#[inline(always)]
fn request_end(stream: &mut Stream, byte: u8) -> Event {
    if byte == b'\r' && stream.progress == 0 {
        stream.progress = 1;
        return Event::NONE;
    }
    if byte != b'\n' {
        return no_request_line(stream, byte);
    }
    if stream.detail & method::HTTP_2 != 0 {
        stream.enter(Phase::Preface);
        return Event::NONE;
    }
    request(stream)
}

/// A request line is complete.
#[inline(always)]
fn request(stream: &mut Stream) -> Event {
    let version = if stream.detail & method::HTTP_1_1 != 0 { Version::Http11 } else { Version::Http10 };
    let connect = if stream.detail & method::MASK == method::CONNECT { flag::CONNECT } else { 0 };
    stream.flags = stream.flags & !flag::REQUEST | flag::SEEN | connect;
    stream.left = 0;
    stream.detail = field::NONE;
    stream.enter(Phase::FieldStart);
    Event::request(version)
}

/// A line that began like a request ended otherwise, at `byte`.
#[inline(always)]
fn no_request_line(stream: &mut Stream, byte: u8) -> Event {
    if stream.detail & method::MASK == method::PROXY && !stream.has(flag::SEEN) {
        stream.enter(if byte == b'\n' { Phase::Start } else { Phase::ProxyLine });
        return Event::NONE;
    }
    no_request(stream)
}

/// The stream goes on with something that is no request.
#[inline(always)]
fn no_request(stream: &mut Stream) -> Event {
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

// ---- The head ---------------------------------------------------------------------------------

/// The line at `at` (below `end`) may decide about the message's length, ends the head, or continues the line
/// before; or too little of it is there to tell. Most lines are told by their first letter.
#[inline(always)]
fn decides<W: Window + ?Sized>(window: &W, at: u64, end: u64) -> bool {
    /// By the lowest five bits, which both cases of a letter share: what the fields begin with, and blanks.
    const FIRST_LETTERS: u32 = 1 << (b'c' & 31)
        | 1 << (b't' & 31)
        | 1 << (b'u' & 31)
        | 1 << b'\r'
        | 1 << b'\n'
        | 1 << b'\t'
        | 1 << (b' ' & 31);
    let letters = window.word(at);
    if FIRST_LETTERS >> (letters & 31) & 1 == 0 {
        return false;
    }
    let lower = word::lower_case(letters);
    // A product instead of three comparisons, of which the verifier would follow every outcome. One that is 0 without
    // a factor that is would do no harm: a line that decides nothing is found out.
    let difference = (lower ^ CONTENT_).wrapping_mul(lower ^ TRANSFER).wrapping_mul(lower ^ UPGRADE_COLON);
    letters as u8 <= b' ' || end - at < word::BYTES.into() || difference == 0
}

/// The end of a head after which a body of known length comes, or none.
#[inline(always)]
fn ends_head(stream: &Stream, letters: u64, available: u32) -> bool {
    letters as u16 == CR_LF
        && available >= 2
        && stream.detail == field::NONE
        && !stream.has(flag::CODED | flag::BAD_FRAMING | flag::CONNECT)
}

/// Passes over field lines that decide nothing, up to the start of one that may. Says whether it
/// stopped at the start of a line.
///
/// Most bytes of most heads go through this loop, so it knows nothing but the window. It goes from pair to pair
/// of words and not from line to line: a step that need not wait for the last one's result costs half.
#[inline(always)]
fn pass_lines<W: Window + ?Sized>(window: &W, at: u32, end: u32, line_start: bool) -> (u32, bool) {
    const PAIR: u64 = 2 * word::BYTES as u64;
    let end = u64::from(end);
    let mut at = window.somewhere(at.into());
    if at >= end || line_start && decides(window, at, end) {
        return (at as u32, line_start);
    }
    let mut pairs = 0;
    while at < end && pairs < HEAD_PAIRS {
        pairs += 1;
        let here = at;
        let (first, second) = window.pair(here);
        at = window.somewhere(here + PAIR);
        if word::are_plain(first, second) {
            continue;
        }
        let in_first = word::equal_to(first, b'\n');
        let feeds = if in_first != 0 { in_first } else { word::equal_to(second, b'\n') };
        if feeds == 0 {
            continue;
        }
        let before = window.somewhere(if in_first != 0 { here } else { here + u64::from(word::BYTES) });
        let line = window.somewhere(before + u64::from(word::first(feeds)) + 1);
        if line >= end {
            // A LF behind the end is none.
            return (end as u32, line == end);
        }
        if decides(window, line, end) {
            return (line as u32, true);
        }
        let only = word::but_first(feeds) == 0;
        at = window.somewhere(if only { before + u64::from(word::BYTES) } else { line });
    }
    (if at < end { at as u32 } else { end as u32 }, false)
}

/// A line that [`pass_lines`] stopped at.
#[inline(always)]
fn special_line<W: Window + ?Sized>(stream: &mut Stream, window: &W, at: u32, end: u32) -> Step {
    let letters = window.word(at);
    let first = letters as u8;
    if first <= b' ' {
        return (at + 1, field_start_blank(stream, first));
    }
    if stream.detail == field::NONE && word::lower_case(letters) == CONTENT_ {
        let length = length_line(stream, window, at, end - at);
        if length != 0 {
            return (at + length, Event::NONE);
        }
    }
    (at + field_start(stream, letters, end - at), Event::NONE)
}

/// A first `Content-Length` of up to seven digits in its plainest form, and a line after it that
/// does not continue it: notes the length and returns the line's. 0: something else.
#[inline(always)]
fn length_line<W: Window + ?Sized>(stream: &mut Stream, window: &W, at: u32, available: u32) -> u32 {
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
fn field_start_blank(stream: &mut Stream, byte: u8) -> Event {
    match byte {
        b'\n' => head_done(stream),
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
fn field_name(stream: &mut Stream, byte: u8) -> Event {
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

#[inline(always)]
fn content_length(stream: &mut Stream, byte: u8) -> Event {
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
fn finish_length(stream: &mut Stream) {
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

#[inline(always)]
fn transfer_encoding(stream: &mut Stream, byte: u8) -> Event {
    match byte {
        b' ' | b'\t' | b'\r' => {
            if stream.progress == coding::MATCHED {
                stream.progress = coding::AFTER;
            } else if stream.progress != 0 && stream.progress < coding::MATCHED {
                stream.progress = coding::OTHER;
            }
        }
        b',' => finish_coding(stream),
        b'\n' => stream.phase = Phase::FieldStart,
        _ => {
            let expected = (CHUNKED >> (8 * (stream.progress & 7))) as u8;
            let matches = stream.progress < coding::MATCHED && byte | 0x20 == expected;
            stream.progress = if matches { stream.progress + 1 } else { coding::OTHER };
        }
    }
    Event::NONE
}

/// One transfer coding is complete: only the last one decides (RFC 9112 §6.3).
#[inline(always)]
fn finish_coding(stream: &mut Stream) {
    match stream.progress {
        0 => {}
        coding::MATCHED | coding::AFTER => stream.flags |= flag::CODED | flag::CHUNKED,
        _ => stream.flags = (stream.flags | flag::CODED) & !flag::CHUNKED,
    }
    stream.progress = 0;
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
fn head_end(stream: &mut Stream, byte: u8) -> Event {
    if byte == b'\n' {
        return head_done(stream);
    }
    // A CR within a line: not the end of the head.
    finish_field(stream);
    leave_field(stream, byte)
}

/// The head is complete: how long is the message (RFC 9112 §6.3)?
#[inline(always)]
fn head_done(stream: &mut Stream) -> Event {
    finish_field(stream);
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

// ---- The body ---------------------------------------------------------------------------------

#[inline(always)]
fn chunk_size(stream: &mut Stream, byte: u8) -> Event {
    const MORE_DIGITS: u8 = 1;
    let digit = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' | b'A'..=b'F' => (byte | 0x20) - b'a' + 10,
        _ if stream.progress == 0 => return fail(stream, Failure::MalformedFraming),
        b'\n' => {
            chunk_size_end(stream);
            return Event::NONE;
        }
        b';' | b' ' | b'\t' | b'\r' => {
            stream.enter(Phase::ChunkExtension);
            return Event::NONE;
        }
        _ => return fail(stream, Failure::MalformedFraming),
    };
    if stream.left >> 60 != 0 {
        return fail(stream, Failure::MalformedFraming);
    }
    stream.left = stream.left << 4 | u64::from(digit);
    stream.progress = MORE_DIGITS;
    Event::NONE
}

#[inline(always)]
fn chunk_size_end(stream: &mut Stream) {
    stream.enter(if stream.left > 0 { Phase::ChunkData } else { Phase::TrailerStart });
}

#[inline(always)]
fn chunk_end(stream: &mut Stream, byte: u8) -> Event {
    match byte {
        b'\r' if stream.progress == 0 => stream.progress = 1,
        b'\n' => stream.enter(Phase::ChunkSize),
        _ => return fail(stream, Failure::MalformedFraming),
    }
    Event::NONE
}

#[inline(always)]
fn trailer_start(stream: &mut Stream, byte: u8) -> Event {
    stream.enter(match byte {
        b'\n' => Phase::Start,
        b'\r' => Phase::TrailerEnd,
        _ => Phase::TrailerRest,
    });
    Event::NONE
}

#[inline(always)]
fn trailer_end(stream: &mut Stream, byte: u8) -> Event {
    stream.enter(if byte == b'\n' { Phase::Start } else { Phase::TrailerRest });
    Event::NONE
}

// ---- Lines that do not matter -----------------------------------------------------------------

/// Looks for a LF within a block from `at` on; returns the place behind it, or behind what was
/// looked at.
#[inline(always)]
fn line_feed<W: Window + ?Sized>(window: &W, at: u32, end: u32) -> (u32, bool) {
    let mut found = 0;
    let mut length = 0;
    while length < BLOCK_BYTES {
        found = word::equal_to(window.word(at + length), b'\n');
        if found != 0 {
            length += word::first(found) + 1;
            break;
        }
        length += word::BYTES;
    }
    if length > end - at { (end, false) } else { (at + length, found != 0) }
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

// ---- The PROXY protocol, before HTTP ----------------------------------------------------------

/// A version 2 header begins with what could be empty lines.
#[inline(always)]
fn proxy_signature(stream: &mut Stream, byte: u8) -> Event {
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
    stream.progress = progress & 1;
    start_byte(stream, byte)
}

/// Version and command, family, and two bytes of length.
#[inline(always)]
fn proxy_header(stream: &mut Stream, byte: u8) -> Event {
    const BYTES: u8 = 4;
    stream.left = (stream.left << 8 | u64::from(byte)) & 0xffff;
    stream.progress += 1;
    if stream.progress >= BYTES {
        stream.enter(if stream.left > 0 { Phase::ProxyPayload } else { Phase::Start });
    }
    Event::NONE
}

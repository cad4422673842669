//! The method that a request line begins with. PURE.

use super::detail::method;
use super::no_request::no_request;
use super::request_line::{is_blank, no_request_line};
use crate::event::Event;
use crate::method::Method;
use crate::stream::{Phase, Stream};
use crate::word;

/// Longest method that fits a token; longer ones are valid but none that matters.
const TOKEN_BYTES: u8 = 8;
/// Longest method. Streams of other protocols may look like one that never ends.
const MAX_METHOD_BYTES: u64 = 128;
const GET_: u32 = u32::from_le_bytes(*b"GET ");
const CONNECT: u64 = word::literal(b"CONNECT\0");
const PRI: u64 = word::literal(b"PRI\0\0\0\0\0");
const PROXY: u64 = word::literal(b"PROXY\0\0\0");
const GET: u64 = word::literal(b"GET\0\0\0\0\0");
const POST: u64 = word::literal(b"POST\0\0\0\0");
const HEAD: u64 = word::literal(b"HEAD\0\0\0\0");
const PUT: u64 = word::literal(b"PUT\0\0\0\0\0");
const DELETE: u64 = word::literal(b"DELETE\0\0");
const OPTIONS: u64 = word::literal(b"OPTIONS\0");
const TRACE: u64 = word::literal(b"TRACE\0\0\0");
const PATCH: u64 = word::literal(b"PATCH\0\0\0");
const QUERY: u64 = word::literal(b"QUERY\0\0\0");
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

/// An ordinary method and the blank behind it, within `available` bytes: returns their length.
/// 0: something else, to be looked at byte by byte.
#[inline(always)]
pub(super) fn method(stream: &mut Stream, letters: u64, available: u32) -> u32 {
    if letters as u32 == GET_ && available >= 4 && stream.progress == 0 {
        method_is(stream, method::GET);
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
pub(super) fn method_byte(stream: &mut Stream, byte: u8) -> Event {
    if stream.progress > 0 && is_blank(byte) {
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
        return no_request_line(stream, byte);
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
    let kind = match stream.token {
        GET => method::GET,
        CONNECT => method::CONNECT,
        PRI => method::PRI,
        PROXY => method::PROXY,
        POST => Method::Post as u8,
        HEAD => Method::Head as u8,
        PUT => Method::Put as u8,
        DELETE => Method::Delete as u8,
        OPTIONS => Method::Options as u8,
        TRACE => Method::Trace as u8,
        PATCH => Method::Patch as u8,
        QUERY => Method::Query as u8,
        _ => method::OTHER,
    };
    method_is(stream, kind);
}

#[inline(always)]
fn method_is(stream: &mut Stream, kind: u8) {
    stream.detail = kind;
    stream.token = 0;
    stream.enter(Phase::Target);
}

//! The status line (RFC 9112 §4), as far as it matters: version, status, and the byte behind it. PURE.

use super::detail::field;
use crate::event::Event;
use crate::failure::Failure;
use crate::stream::{Phase, Stream, fail, flag};
use crate::word;

/// `HTTP/1.1 200` and the byte behind it, which shows that the status is over.
pub(super) const STATUS_BYTES: u32 = 13;
const HTTP_1_0: u64 = word::literal(b"HTTP/1.0");
const BLANK_000: u32 = u32::from_le_bytes(*b" 000");
const SWITCHING_PROTOCOLS: u32 = 101;

/// A status line begins with these bytes: `version` is its first eight, `rest` has five more. What is left of it, with the
/// last of these bytes, does not matter.
///
/// Facts are calculated, not branched upon: the verifier would follow each way through the fields behind.
#[inline(always)]
pub(super) fn status_line(stream: &mut Stream, version: u64, rest: u64) -> Event {
    let (status, bad) = status(version, rest);
    if bad != 0 {
        return fail(stream, Failure::MalformedFraming);
    }
    let bodiless = below(status, 200) | is(status, 204) | is(status, 304);
    // What the request was, the exchange has noted: of a CONNECT only a 2xx makes a tunnel.
    let connect = stream.flags & flag::CONNECT;
    let taken = below(status, 300) & (below(status, 200) ^ 1);
    let tunnels = (is(status, SWITCHING_PROTOCOLS) * flag::CONNECT) | (taken * connect);
    let asked = stream.flags & flag::BODILESS;
    stream.flags =
        stream.flags & !(flag::REQUEST | flag::BODILESS) | flag::SEEN | asked | (bodiless * flag::BODILESS) | tunnels;
    stream.token = 0;
    stream.left = 0;
    stream.detail = field::NONE;
    stream.enter(Phase::FieldRest);
    Event::response(status)
}

/// The status that these bytes say; and 0 if they are a status line.
#[inline(always)]
fn status(version: u64, rest: u64) -> (u32, u64) {
    // What is left of a digit is its value.
    let minor = version ^ HTTP_1_0;
    let digits = rest as u32 ^ BLANK_000;
    let status = 100 * (digits >> 8 & 0xf) + 10 * (digits >> 16 & 0xf) + (digits >> 24);
    let behind = rest >> 32 & 0xff;
    let more = (behind ^ u64::from(b' ')) * (behind ^ u64::from(b'\r')) * (behind ^ u64::from(b'\n'));
    let bad = (minor | minor.wrapping_add(6 << 56)) & !(0xf << 56)
        | u64::from((digits | digits.wrapping_add(0x0606_0600)) & 0xf0f0_f0ff)
        | u64::from(below(status, 100))
        | more;
    (status, bad)
}

/// 1 or 0.
#[inline(always)]
fn below(number: u32, bound: u32) -> u8 {
    (u64::from(number).wrapping_sub(bound.into()) >> 63) as u8
}

/// 1 or 0.
#[inline(always)]
fn is(number: u32, other: u32) -> u8 {
    below(number ^ other, 1)
}

/// One byte of a status line that a read's end cut: `token` takes the first eight, `left` the others.
#[inline(always)]
pub(super) fn status_byte(stream: &mut Stream, byte: u8) -> Event {
    if stream.phase == Phase::Start {
        stream.enter(Phase::StatusLine);
        stream.token = 0;
        stream.left = 0;
    }
    let place = 8 * (stream.progress & 7);
    if u32::from(stream.progress) < word::BYTES {
        stream.token |= u64::from(byte) << place;
    } else {
        stream.left |= u64::from(byte) << place;
    }
    stream.progress += 1;
    if u32::from(stream.progress) < STATUS_BYTES {
        return Event::NONE;
    }
    let over = (stream.left >> 32) as u8 == b'\n';
    let event = status_line(stream, stream.token, stream.left);
    if over && stream.phase == Phase::FieldRest {
        stream.enter(Phase::FieldStart);
    }
    event
}

//! The end of a line, whatever line it is. PURE.

use crate::event::Event;
use crate::failure::Failure;
use crate::stream::{Stream, fail};
use crate::window::Window;
use crate::word;

/// Bytes that one step scans at most; the next step goes on. A window has as many bytes behind
/// its end, of any value.
pub(super) const BLOCK_BYTES: u32 = 4 * word::BYTES;
/// What a request's lines may have that go on and on: as much as Go's server takes of a whole head, and no other does by default.
const LONGEST: u64 = 1 << 20;
pub(super) const CR_LF: u16 = u16::from_le_bytes(*b"\r\n");

/// Looks for a LF within a block from `at` on; returns the place behind it, or behind what was
/// looked at.
#[inline(always)]
pub(super) fn line_feed<W: Window + ?Sized>(window: &W, at: u32, end: u32) -> (u32, bool) {
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

/// Notes that a step ended within a line, `length` bytes later: what never ends costs its receiver more than it is worth.
/// `token` has no other use there.
#[inline(always)]
pub(super) fn goes_on(stream: &mut Stream, length: u32, cause: Failure) -> Event {
    stream.token += u64::from(length);
    if stream.token > LONGEST { fail(stream, cause) } else { Event::NONE }
}

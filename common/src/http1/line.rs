//! The end of a line, whatever line it is. PURE.

use crate::window::Window;
use crate::word;

/// Bytes that one step scans at most; the next step goes on. A window has as many bytes behind
/// its end, of any value.
pub(super) const BLOCK_BYTES: u32 = 4 * word::BYTES;
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

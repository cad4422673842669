//! The field lines of a head: passes over those that decide nothing. PURE.

use crate::window::Window;
use crate::word;

/// Pairs of words of a head that one step looks at; the next step goes on.
const HEAD_PAIRS: u32 = 40;
pub(super) const CONTENT_: u64 = word::literal(b"content-");
pub(super) const TRANSFER: u64 = word::literal(b"transfer");
/// What `Content-Length` begins with behind its first letter: most heads have other fields of contents.
const ONTENT_L: u64 = word::literal(b"ontent-l");
const UPGRADE_COLON: u64 = word::literal(b"upgrade:");

/// The line at `at` (below `end`) may decide about the message's length, ends the head, or continues the line
/// before; or too little of it is there to tell. Most lines are told by their first letter.
#[inline(always)]
pub(super) fn decides<W: Window + ?Sized>(window: &W, at: u64, end: u64) -> bool {
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
    let behind = word::lower_case(window.word(at + 1));
    // A product instead of three comparisons, of which the verifier would follow every outcome. One that is 0 without
    // a factor that is would do no harm: a line that decides nothing is found out.
    let difference = (behind ^ ONTENT_L).wrapping_mul(lower ^ TRANSFER).wrapping_mul(lower ^ UPGRADE_COLON);
    letters as u8 <= b' ' || end - at <= word::BYTES.into() || difference == 0
}

/// Passes over field lines that decide nothing, up to the start of one that may. Says whether it
/// stopped at the start of a line.
///
/// Most bytes of most heads go through this loop, so it knows nothing but the window. It goes from pair to pair
/// of words and not from line to line: a step that need not wait for the last one's result costs half.
#[inline(always)]
pub(super) fn pass_lines<W: Window + ?Sized>(window: &W, at: u32, end: u32, line_start: bool) -> (u32, bool) {
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
        if word::but_first(feeds) != 0 {
            // Lines that are shorter than a word: of these a step passes over one, so that a read's credit bounds them.
            return (line as u32, true);
        }
        at = window.somewhere(before + u64::from(word::BYTES));
    }
    (if at < end { at as u32 } else { end as u32 }, false)
}

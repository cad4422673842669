//! Machine code of arm64: where functions begin and end. PURE.
//!
//! An instruction is one word. The stack pointer at each return is that of the first instruction, and probes stand at these two alone.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::tls::elf::ranges::Functions;
use crate::tls::trouble::Why;

const WORD: usize = 4;
const MOST_RANGES: usize = 9;

/// `ret`, and those that check the address before (`retaa`, `retab`).
const RETURNS: [u32; 3] = [0xd65f_03c0, 0xd65f_0bff, 0xd65f_0fff];

/// A `hint` at a function's begin: a mark for branches, or the return address is signed.
const fn is_hint(word: u32) -> bool {
    word & 0xffff_f01f == 0xd503_201f
}

/// `br`, also those that check the address before.
const fn is_indirect(word: u32) -> bool {
    word & 0xffff_fc1f == 0xd61f_0000 || word & 0xfeff_f800 == 0xd61f_0800
}

/// The distance of a jump with a fixed target that does not come back: `b`, `b.cond`, `cbz`, `tbz`.
const fn jump(word: u32) -> Option<i64> {
    let (shifted, bits) = match word >> 24 {
        0x14..=0x17 => (word << 6, 26),
        0x54 | 0x34 | 0x35 | 0xb4 | 0xb5 => (word >> 5 << 13, 19),
        0x36 | 0x37 | 0xb6 | 0xb7 => (word >> 5 << 18, 14),
        _ => return None,
    };
    Some((shifted as i32 >> (32 - bits)) as i64 * WORD as i64)
}

fn words(code: &[u8], start: u64) -> impl Iterator<Item = (u64, u32)> {
    let words = code.as_chunks::<WORD>().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
    (start..).step_by(WORD).zip(words)
}

/// The address of the first instruction that does something.
#[must_use]
pub fn entry(code: &[u8], start: u64) -> Option<u64> {
    words(code, start).take(3).find(|(_, word)| !is_hint(*word)).map(|(address, _)| address)
}

/// The addresses of returns in this stretch of code.
#[must_use]
pub fn returns(code: &[u8], start: u64) -> Vec<u64> {
    words(code, start).filter(|(_, word)| RETURNS.contains(word)).map(|(address, _)| address).collect()
}

/// Where jumps lead that leave the stretch.
fn leaving(code: &[u8], range: &Range<u64>) -> Result<Vec<u64>, Why> {
    let mut targets = Vec::new();
    for (address, word) in words(code, range.start) {
        if is_indirect(word) {
            return Err(Why::IndirectJump(address));
        }
        let target = jump(word).map(|distance| address.wrapping_add_signed(distance));
        targets.extend(target.filter(|target| !range.contains(target)));
    }
    Ok(targets)
}

/// The addresses of all returns of the function that begins there.
pub fn ends(functions: &Functions<'_>, start: u64) -> Result<Vec<u64>, Why> {
    let (mut waiting, mut done, mut found) = (vec![start], BTreeSet::new(), Vec::new());
    while let Some(address) = waiting.pop() {
        let (range, code) = functions.code(address)?;
        if !done.insert(range.start) {
            continue;
        }
        if done.len() > MOST_RANGES {
            return Err(Why::TooDeep);
        }
        found.extend(returns(code, range.start));
        waiting.extend(leaving(code, &range)?);
    }
    if found.is_empty() { Err(Why::NoEnd) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn entries_and_returns() {
        // paciasp; stp x29, x30, [sp, #-32]!; ...; ldp; autiasp; ret
        let code = bytes(&[0xd503_233f, 0xa9be_7bfd, 0xa8c2_7bfd, 0xd503_23bf, 0xd65f_03c0, 0xd65f_0bff]);
        assert_eq!(entry(&code, 0x1000), Some(0x1004));
        assert_eq!(returns(&code, 0x1000), [0x1010, 0x1014]);
        assert_eq!(entry(&bytes(&[0xd503_245f, 0xd503_233f, 0x5280_0000]), 0x1000), Some(0x1008)); // bti c; paciasp; mov w0, 0
        assert_eq!(entry(&code[..3], 0x1000), None);
    }

    #[test]
    fn where_jumps_lead() {
        for (word, expected) in [
            (0x1400_0002, Some(8)),  // b +8
            (0x17ff_ffff, Some(-4)), // b -4
            (0x5400_0040, Some(8)),  // b.eq +8
            (0xb4ff_ffe0, Some(-4)), // cbz x0, -4
            (0x3600_0040, Some(8)),  // tbz w0, 0, +8
            (0xb7ff_ffe0, Some(-4)), // tbnz x0, 63, -4
            (0x9400_0002, None),     // bl +8
            (0xd65f_03c0, None),     // ret
        ] {
            assert_eq!(jump(word), expected, "{word:#x}");
        }
        assert_eq!(leaving(&bytes(&[0x1400_0002, 0x1400_0001]), &(0x1000..0x1008)), Ok(vec![0x1008, 0x1008]));
    }

    #[test]
    fn jumps_to_where_is_not_known() {
        // br x16, braaz x16, braa x16, x17
        for word in [0xd61f_0200, 0xd61f_0a1f, 0xd71f_0a11] {
            assert_eq!(leaving(&bytes(&[word]), &(0x1000..0x1004)), Err(Why::IndirectJump(0x1000)), "{word:#x}");
        }
        // blr x8, ret
        for word in [0xd63f_0100, 0xd65f_03c0] {
            assert_eq!(leaving(&bytes(&[word]), &(0x1000..0x1004)), Ok(vec![]), "{word:#x}");
        }
    }
}

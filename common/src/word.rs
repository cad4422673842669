//! Eight bytes at a time: arithmetic that finds a byte in a word. PURE.
//!
//! The BPF machine has no vector unit and no count-trailing-zeros, but a multiplication.

/// How many bytes a word holds.
pub const BYTES: u32 = 8;

const LOW_BITS: u64 = repeat(0x01);
const HIGH_BITS: u64 = repeat(0x80);
/// Its byte 7 - k is k, so that a multiplication by 1 << 8k brings k into the highest byte.
const INDEX_OF_BYTE: u64 = 0x0001_0203_0405_0607;

/// A word with `byte` in all its places.
#[must_use]
pub const fn repeat(byte: u8) -> u64 {
    byte as u64 * 0x0101_0101_0101_0101
}

/// The word that [`crate::window::Window::word`] returns for these bytes.
#[must_use]
pub const fn literal(bytes: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*bytes)
}

/// Marks the bytes equal to `byte`. The lowest mark is exact; marks above it may be false.
#[inline(always)]
#[must_use]
pub const fn equal_to(word: u64, byte: u8) -> u64 {
    let difference = word ^ repeat(byte);
    difference.wrapping_sub(LOW_BITS) & !difference & HIGH_BITS
}

/// Marks the bytes below `bound` (at most 128). The lowest mark is exact; marks above it may be
/// false.
#[inline(always)]
#[must_use]
pub const fn below(word: u64, bound: u8) -> u64 {
    word.wrapping_sub(repeat(bound)) & !word & HIGH_BITS
}

/// Neither word has a line end: all bytes are from 0x0e to 0x8d. Cheap; a `false` says nothing.
#[inline(always)]
#[must_use]
pub const fn are_plain(first: u64, second: u64) -> bool {
    const BOUND: u64 = repeat(b'\r' + 1);
    (first.wrapping_sub(BOUND) | second.wrapping_sub(BOUND)) & HIGH_BITS == 0
}

/// Marks, exactly, the bytes in `A..=Z`.
#[inline(always)]
#[must_use]
pub const fn upper_case(word: u64) -> u64 {
    let seven_bits = word & !HIGH_BITS;
    let at_least_a = seven_bits.wrapping_add(repeat(0x80 - b'A'));
    let above_z = seven_bits.wrapping_add(repeat(0x80 - (b'Z' + 1)));
    at_least_a & !above_z & !word & HIGH_BITS
}

/// The index of the lowest marked byte; at least one must be marked.
#[inline(always)]
#[must_use]
pub const fn first(marks: u64) -> u32 {
    let lowest = (marks & marks.wrapping_neg()) >> 7;
    (lowest.wrapping_mul(INDEX_OF_BYTE) >> 56) as u32
}

/// Takes the lowest mark away.
#[inline(always)]
#[must_use]
pub const fn but_first(marks: u64) -> u64 {
    marks & marks.wrapping_sub(1)
}

/// The byte with the lowest mark; at least one must be marked.
#[inline(always)]
#[must_use]
pub const fn lowest_marked(word: u64, marks: u64) -> u8 {
    (word >> ((8 * first(marks)) & 63)) as u8
}

/// Keeps the lowest `count` bytes (fewer than 8).
#[inline(always)]
#[must_use]
pub const fn lowest(word: u64, count: u32) -> u64 {
    word & !(u64::MAX << ((count & 7) * 8))
}

/// Letters in lower case; other bytes as they are with bit 5 set, which is enough to compare with
/// a literal in lower case.
#[inline(always)]
#[must_use]
pub const fn lower_case(word: u64) -> u64 {
    word | repeat(0x20)
}

/// The largest number of eight digits.
pub const MAX_DECIMAL: u64 = 99_999_999;

/// The number that eight digits make, the most significant in the lowest byte; something above
/// [`MAX_DECIMAL`] when one of them is no digit.
#[inline(always)]
#[must_use]
pub const fn decimal(digits: u64) -> u64 {
    let values = digits ^ repeat(b'0');
    // A byte above 9 carries into its high half, or has something there already.
    if (values | values.wrapping_add(repeat(6))) & repeat(0xf0) != 0 {
        return u64::MAX;
    }
    let pairs = (values.wrapping_mul(10).wrapping_add(values >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100).wrapping_add(pairs >> 16)) & 0x0000_ffff_0000_ffff;
    (fours.wrapping_mul(10_000).wrapping_add(fours >> 32)) & 0xffff_ffff
}

/// The largest number of eight hexadecimal digits.
pub const MAX_HEXADECIMAL: u64 = 0xffff_ffff;

/// The number that eight hexadecimal digits make, the most significant in the lowest byte; something above
/// [`MAX_HEXADECIMAL`] when one of them is no digit.
#[inline(always)]
#[must_use]
pub const fn hexadecimal(digits: u64) -> u64 {
    let letters = digits >> 6 & LOW_BITS;
    let values = (digits & repeat(0x0f)).wrapping_add(letters.wrapping_mul(9));
    let above_nine = values.wrapping_add(repeat(6)) >> 4 & LOW_BITS;
    // Written again, it must be the same but for the case of its letters.
    let again = values.wrapping_add(repeat(b'0')).wrapping_add(above_nine.wrapping_mul(39));
    if (digits | letters << 5) ^ again | values & repeat(0xf0) != 0 {
        return u64::MAX;
    }
    let pairs = (values << 4 | values >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs << 8 | pairs >> 16) & 0x0000_ffff_0000_ffff;
    (fours << 16 | fours >> 32) & 0xffff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_what_a_loop_finds(bytes: [u8; 8], needle: u8, bound in 0_u8..=128) {
            let word = literal(&bytes);
            let check = |marks: u64, index: Option<usize>| match index {
                Some(index) => marks != 0 && first(marks) as usize == index,
                None => marks == 0,
            };
            prop_assert!(check(equal_to(word, needle), bytes.iter().position(|b| *b == needle)));
            prop_assert!(check(below(word, bound), bytes.iter().position(|b| *b < bound)));
            for (index, byte) in bytes.iter().enumerate() {
                let marked = upper_case(word) >> (8 * index) & 0x80 != 0;
                prop_assert_eq!(marked, byte.is_ascii_uppercase());
            }
        }

        #[test]
        fn reads_what_the_library_reads(bytes in prop_oneof!["[0-9]{8}", "[ -~]{8}"]) {
            let word = literal(bytes.as_bytes().try_into().expect("eight bytes"));
            let expected = bytes.parse::<u32>().ok().filter(|_| bytes.bytes().all(|byte| byte.is_ascii_digit()));
            let number = decimal(word);
            prop_assert_eq!((number <= MAX_DECIMAL).then_some(number), expected.map(u64::from));
        }

        #[test]
        fn reads_hexadecimal_as_the_library_does(bytes in prop_oneof!["[0-9a-fA-F]{8}", "[0-9a-gA-G@`:/]{8}", "[ -~]{8}", any::<[u8; 8]>().prop_map(|bytes| bytes.map(|byte| char::from(byte & 0x7f)).iter().collect())]) {
            let word = literal(bytes.as_bytes().try_into().expect("eight bytes"));
            let expected = u64::from_str_radix(&bytes, 16).ok().filter(|_| !bytes.starts_with('+'));
            let number = hexadecimal(word);
            prop_assert_eq!((number <= MAX_HEXADECIMAL).then_some(number), expected);
        }

        #[test]
        fn plain_words_have_no_line_end(first: [u8; 8], second: [u8; 8]) {
            let plain = are_plain(literal(&first), literal(&second));
            prop_assert!(!plain || !first.iter().chain(&second).any(|byte| matches!(byte, b'\r' | b'\n')));
        }

        #[test]
        fn keeps_the_lowest_bytes(bytes: [u8; 8], count in 0_u32..8) {
            let kept = lowest(literal(&bytes), count).to_le_bytes();
            for (index, byte) in kept.iter().enumerate() {
                prop_assert_eq!(*byte, if (index as u32) < count { bytes[index] } else { 0 });
            }
        }
    }
}

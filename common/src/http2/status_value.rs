//! The value of `:status`: three digits, plain or in Huffman code (RFC 7541 §5.2, appendix B). PURE.

use super::statuses::UNTOLD;

/// The value that the last `length` of these bytes are; [`UNTOLD`]: none.
#[inline(always)]
pub(super) fn status_value(bytes: u32, length: u32, huffman: bool) -> u32 {
    let status = if huffman { decoded(bytes, length) } else { plain(bytes, length) };
    if (100..1000).contains(&status) { status } else { UNTOLD }
}

#[inline(always)]
fn plain(bytes: u32, length: u32) -> u32 {
    let [ones, tens, hundreds, _] = bytes.to_le_bytes();
    let digit = |byte: u8| u32::from(byte.wrapping_sub(b'0'));
    let (hundreds, tens, ones) = (digit(hundreds), digit(tens), digit(ones));
    if length == 3 && hundreds < 10 && tens < 10 && ones < 10 { 100 * hundreds + 10 * tens + ones } else { 0 }
}

/// Of digits, 0 to 2 are five bits, from 00000 on, and 3 to 9 are six, from 011001 on. What is left over is all ones.
#[inline(always)]
fn decoded(bytes: u32, length: u32) -> u32 {
    const SHORT: u32 = 3;
    const LONG: u32 = 0b01_1001;
    let mut code = match length {
        2 => bytes << 16 | 0xffff,
        3 => bytes << 8 | 0xff,
        _ => return 0,
    };
    let mut status = 0;
    let mut digits = 0;
    let mut bits = 0_u32;
    while digits < 3 {
        let (short, long) = (code >> 27, code >> 26);
        let (digit, width) = if short < SHORT { (short, 5) } else { (long.wrapping_sub(LONG).wrapping_add(SHORT), 6) };
        if digit > 9 {
            return 0;
        }
        status = 10 * status + digit;
        code = (code << width) | ((1 << width) - 1);
        bits += width;
        digits += 1;
    }
    if code == u32::MAX && bits.div_ceil(8) == length { status } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes of the digits, as appendix B has them.
    const CODES: [(u32, u32); 10] =
        [(0x0, 5), (0x1, 5), (0x2, 5), (0x19, 6), (0x1a, 6), (0x1b, 6), (0x1c, 6), (0x1d, 6), (0x1e, 6), (0x1f, 6)];

    #[test]
    fn every_status_in_both_ways() {
        for status in 100..1000 {
            let digits = [status / 100, status / 10 % 10, status % 10];
            let (mut bits, mut code) = (0, 0_u32);
            for digit in digits {
                let (value, width) = CODES[digit as usize];
                code = (code << width) | value;
                bits += width;
            }
            let length = bits.div_ceil(8);
            let padding = 8 * length - bits;
            let coded = (code << padding) | ((1 << padding) - 1);
            assert_eq!(status_value(coded, length, true), status);
            let plain = digits.iter().fold(0, |bytes, digit| bytes << 8 | (digit + u32::from(b'0')));
            assert_eq!(status_value(plain, 3, false), status);
        }
    }

    #[test]
    fn what_is_no_status_is_untold() {
        let word = |text: &[u8; 3]| u32::from_be_bytes([0, text[0], text[1], text[2]]);
        for (bytes, length, huffman) in [
            (word(b"2x0"), 3, false),
            (word(b"020"), 3, false),
            (word(b"200"), 2, false),
            (word(b"200"), 4, false),
            (0xff_ffff, 3, true),
            (0x1002, 1, true),
            (0, 2, true),
            (0, 0, true),
        ] {
            assert_eq!(status_value(bytes, length, huffman), UNTOLD, "{bytes:#x} {length} {huffman}");
        }
    }
}

//! The method of a request, where its header block says it in one byte (RFC 7541 §6.1, appendix A). PURE.

use crate::method::Method;
use crate::word;

/// `:method: GET` in the table of fields that HPACK begins with; behind it stands `:method: POST`.
const GET: u8 = 0x82;
/// A field of which more bytes follow.
const LONGER: u8 = 0xff;
const HIGH_BITS: u64 = word::repeat(0x80);

/// From the block's first eight bytes, of which so many are there. Fields of one byte may stand before it. A method that is written
/// out, or that refers to an earlier request, is not known.
#[inline(always)]
pub(super) const fn method(block: u64, available: u32) -> Method {
    let block = if available < word::BYTES { word::lowest(block, available) } else { block };
    let methods = word::equal_to(block & word::repeat(!1), GET);
    let others = (!block & HIGH_BITS) | word::equal_to(block, LONGER);
    let first = methods & methods.wrapping_neg();
    if first == 0 || others & (first - 1) != 0 {
        Method::Unknown
    } else if block & (first >> 7) == 0 {
        Method::Get
    } else {
        Method::Post
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn in_order(block: &[u8]) -> Method {
        for byte in block {
            match byte {
                0x82 => return Method::Get,
                0x83 => return Method::Post,
                0x80..=0xfe => {}
                _ => break,
            }
        }
        Method::Unknown
    }

    #[test]
    fn fields_of_one_byte_may_stand_before_it() {
        for (block, expected) in [
            (&b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2"[..], Method::Get),
            (b"\xbe\x83\x87\xc0", Method::Post),
            (b"\x41\x01a\x82\x84\x86\x86\x86", Method::Unknown),
            (b"\xff\x82\x82\x82\x82\x82\x82\x82", Method::Unknown),
            (b"\x42\x04HEAD\x84\x86", Method::Unknown),
            (b"", Method::Unknown),
        ] {
            let mut bytes = [0x82; 8];
            bytes[..block.len()].copy_from_slice(block);
            assert_eq!(method(word::literal(&bytes), block.len() as u32), expected, "{block:x?}");
        }
    }

    proptest! {
        #[test]
        fn is_what_a_loop_finds(bytes in prop::array::uniform8(prop_oneof![0x7e_u8..0x88, any::<u8>(), Just(0xff)]), available in 0_u32..12) {
            let there = &bytes[..(available as usize).min(8)];
            prop_assert_eq!(method(word::literal(&bytes), available), in_order(there));
        }
    }
}

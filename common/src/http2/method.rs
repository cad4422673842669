//! The method of a request, where its header block says it in one byte, or writes it out behind such fields (RFC 7541 §6, appendix A). PURE.

use crate::method::Method;
use crate::window::Window;
use crate::word;

/// What is looked at of a block: a word in which the method's field begins, and one more. Each method that has a name here then fits.
pub(super) const LOOKED_AT: u32 = 2 * word::BYTES;

/// `:method: GET` in the table of fields that HPACK begins with; behind it stands `:method: POST`.
const GET: u8 = 0x82;
/// A field of which more bytes follow.
const LONGER: u8 = 0xff;
const HIGH_BITS: u64 = word::repeat(0x80);
/// The name of a field is that of `:method: GET` or `:method: POST`, and its value follows: it is inserted, or not, or never.
const INSERTED: u8 = 0x42;
const NOT_INSERTED: u8 = 0x02;
const NEVER_INSERTED: u8 = 0x12;
/// Of the byte before a value: the rest is how many bytes it has. 127 says that more bytes tell.
const HUFFMAN: u8 = 0x80;

/// Values, with the byte before them.
mod plain {
    use crate::word::literal;

    pub(super) const GET: u64 = literal(b"\x03GET\0\0\0\0");
    pub(super) const HEAD: u64 = literal(b"\x04HEAD\0\0\0");
    pub(super) const POST: u64 = literal(b"\x04POST\0\0\0");
    pub(super) const PUT: u64 = literal(b"\x03PUT\0\0\0\0");
    pub(super) const DELETE: u64 = literal(b"\x06DELETE\0");
    pub(super) const CONNECT: u64 = literal(b"\x07CONNECT");
    pub(super) const OPTIONS: u64 = literal(b"\x07OPTIONS");
    pub(super) const TRACE: u64 = literal(b"\x05TRACE\0\0");
    pub(super) const PATCH: u64 = literal(b"\x05PATCH\0\0");
    pub(super) const QUERY: u64 = literal(b"\x05QUERY\0\0");
}

/// The same in Huffman code (RFC 7541 appendix B).
mod coded {
    use crate::word::literal;

    pub(super) const GET: u64 = literal(b"\x83\xc5\x83\x7f\0\0\0\0");
    pub(super) const HEAD: u64 = literal(b"\x84\xc7\x82\x1b\xff\0\0\0");
    pub(super) const POST: u64 = literal(b"\x84\xd7\xab\x76\xff\0\0\0");
    pub(super) const PUT: u64 = literal(b"\x83\xd7\xc3\x7f\0\0\0\0");
    pub(super) const DELETE: u64 = literal(b"\x86\xbf\x83\x3e\x0d\xf8\x3f\0");
    pub(super) const CONNECT: u64 = literal(b"\x87\xbd\xab\x4e\x9c\x17\xb7\xff");
    pub(super) const OPTIONS: u64 = literal(b"\x87\xd5\xaf\x7e\x4d\x5a\x77\x7f");
    pub(super) const TRACE: u64 = literal(b"\x85\xdf\xb6\x1b\xd8\x3f\0\0");
    pub(super) const PATCH: u64 = literal(b"\x85\xd7\x0e\xfb\xd8\xff\0\0");
    pub(super) const QUERY: u64 = literal(b"\x85\xd9\xc3\x06\xde\x7f\0\0");
}

/// From the block's first eight bytes, of which so many are there. Fields of one byte may stand before it.
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

/// The method of a block that does not say it in one byte, which begins at `start` with these eight bytes and of which so many are there.
/// It is known where the first longer field is it, and all of that is there: behind a byte that refers to an earlier request's method no other follows.
#[inline(always)]
pub(super) fn written_out<W: Window + ?Sized>(block: u64, window: &W, start: u32, available: u32) -> Method {
    let longer = (!block & HIGH_BITS) | word::equal_to(block, LONGER);
    if longer == 0 || !matches!(word::lowest_marked(block, longer) & !1, INSERTED | NOT_INSERTED | NEVER_INSERTED) {
        return Method::Unknown;
    }
    let before = word::first(longer) + 1;
    let value = window.word(start + before);
    let length = value as u32 & u32::from(!HUFFMAN);
    let there = if available < LOOKED_AT { available } else { LOOKED_AT };
    if length == 0 || before + 1 + length > there {
        return Method::Unknown;
    }
    of_value(if length + 1 < word::BYTES { word::lowest(value, length + 1) } else { value })
}

/// The method of a value that is not empty, with the byte before it. One that does not fit in a word is none of these.
#[inline(always)]
const fn of_value(value: u64) -> Method {
    match value {
        plain::GET | coded::GET => Method::Get,
        plain::HEAD | coded::HEAD => Method::Head,
        plain::POST | coded::POST => Method::Post,
        plain::PUT | coded::PUT => Method::Put,
        plain::DELETE | coded::DELETE => Method::Delete,
        plain::CONNECT | coded::CONNECT => Method::Connect,
        plain::OPTIONS | coded::OPTIONS => Method::Options,
        plain::TRACE | coded::TRACE => Method::Trace,
        plain::PATCH | coded::PATCH => Method::Patch,
        plain::QUERY | coded::QUERY => Method::Query,
        _ => Method::Other,
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

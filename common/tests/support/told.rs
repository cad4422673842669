//! The method that a request's header block tells, by a reading of RFC 7541 that takes one byte after another.

use common::method::Method;

/// Methods that have a name, as they are written.
pub const NAMES: [(&str, Method); 10] = [
    ("GET", Method::Get),
    ("HEAD", Method::Head),
    ("POST", Method::Post),
    ("PUT", Method::Put),
    ("DELETE", Method::Delete),
    ("CONNECT", Method::Connect),
    ("OPTIONS", Method::Options),
    ("TRACE", Method::Trace),
    ("PATCH", Method::Patch),
    ("QUERY", Method::Query),
];
/// How many bytes of a block are looked at, and in how many of them the method's field begins.
const LOOKED_AT: usize = 16;
const BEGINS: usize = 8;

/// The method of a block of which these bytes are there.
pub fn told(block: &[u8]) -> Method {
    let block = &block[..block.len().min(LOOKED_AT)];
    for (at, byte) in block.iter().enumerate().take(BEGINS) {
        match byte {
            0x82 => return Method::Get,
            0x83 => return Method::Post,
            0x80..=0xfe => {}
            0x42 | 0x43 | 0x02 | 0x03 | 0x12 | 0x13 => return of_value(&block[at + 1..]),
            _ => break,
        }
    }
    Method::Unknown
}

fn of_value(bytes: &[u8]) -> Method {
    let Some((first, rest)) = bytes.split_first() else { return Method::Unknown };
    let Some(value @ [_, ..]) = rest.get(..usize::from(first & 0x7f)) else { return Method::Unknown };
    let is_coded = first & 0x80 != 0;
    let is_value = |name: &str| if is_coded { coded(name) == value } else { name.as_bytes() == value };
    NAMES.into_iter().find(|(name, _)| is_value(name)).map_or(Method::Other, |(_, method)| method)
}

/// Capital letters in Huffman code (appendix B).
pub fn coded(name: &str) -> Vec<u8> {
    let (mut bytes, mut code, mut bits) = (Vec::new(), 0_u32, 0);
    for letter in name.bytes() {
        let (of_letter, width) = match letter {
            b'A' => (0x21, 6),
            b'B'..=b'W' => (u32::from(letter - b'B') + 0x5d, 7),
            b'X' => (0xfc, 8),
            b'Y' => (0x73, 7),
            b'Z' => (0xfd, 8),
            _ => panic!("no capital letter"),
        };
        code = code << width | of_letter;
        bits += width;
        while bits >= 8 {
            bits -= 8;
            bytes.push((code >> bits) as u8);
        }
    }
    if bits > 0 {
        bytes.push((code << (8 - bits)) as u8 | 0xff >> bits);
    }
    bytes
}

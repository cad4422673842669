//! What of `/proc/PID/maps` may be a TLS library. PURE.

use crate::tls::functions::may_be_library;

const DELETED: &[u8] = b" (deleted)";

/// A file from which a process runs code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// As the kernel says it.
    pub path: Vec<u8>,
    /// Of the file that is mapped.
    pub inode: u64,
    /// Whether that path leads there no more.
    pub is_replaced: bool,
}

/// The file of this line, if it may be a TLS library and code is run from it (proc(5): addresses, permissions, offset, device, inode,
/// path).
#[must_use]
pub fn library(line: &[u8]) -> Option<Mapped> {
    let mut rest = line.strip_suffix(b"\n").unwrap_or(line);
    let mut fields = [&b""[..]; 5];
    for field in &mut fields {
        let end = rest.iter().position(|byte| *byte == b' ')?;
        (*field, rest) = (&rest[..end], rest[end..].trim_ascii_start());
    }
    let [_, permissions, _, _, inode] = fields;
    if permissions.get(2) != Some(&b'x') || rest.first() != Some(&b'/') {
        return None;
    }
    let (path, is_replaced) = rest.strip_suffix(DELETED).map_or((rest, false), |path| (path, true));
    let name = path.rsplit(|byte| *byte == b'/').next()?;
    if !may_be_library(&String::from_utf8_lossy(name)) {
        return None;
    }
    let inode = str::from_utf8(inode).ok()?.parse().ok()?;
    Some(Mapped { path: unescaped(path), inode, is_replaced })
}

/// The kernel writes a newline as `\012` and nothing else so.
fn unescaped(path: &[u8]) -> Vec<u8> {
    const NEWLINE: &[u8] = b"\\012";
    let mut rest = path;
    let mut plain = Vec::with_capacity(path.len());
    while let Some((first, behind)) = rest.split_first() {
        if let Some(behind) = rest.strip_prefix(NEWLINE) {
            plain.push(b'\n');
            rest = behind;
        } else {
            plain.push(*first);
            rest = behind;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mapped(path: &str, inode: u64, is_replaced: bool) -> Option<Mapped> {
        Some(Mapped { path: path.into(), inode, is_replaced })
    }

    #[test]
    fn lines_of_maps() {
        for (line, expected) in [
            (
                "7f1c00000000-7f1c00100000 r-xp 0001f000 fd:01 2164268                    /usr/lib/libssl.so.3\n",
                mapped("/usr/lib/libssl.so.3", 2_164_268, false),
            ),
            (
                "7f1c0000-7f1d0000 r-xp 0001f000 00:2f 17 /usr/lib/libgnutls.so.30.34.3 (deleted)\n",
                mapped("/usr/lib/libgnutls.so.30.34.3", 17, true),
            ),
            ("1-2 r-xp 0 00:2f 17 /a b\\012c/libssl-0d1f.so.1.1", mapped("/a b\nc/libssl-0d1f.so.1.1", 17, false)),
            ("7f1c0000-7f1d0000 r--p 00000000 fd:01 21 /usr/lib/libssl.so.3\n", None),
            ("7f1c0000-7f1d0000 r-xp 00000000 fd:01 21 /usr/lib/libc.so.6\n", None),
            ("7f1c0000-7f1d0000 r-xp 00000000 fd:01 21 /usr/lib/libgnutls-dane.so.0\n", None),
            ("7f1c0000-7f1d0000 r-xp 00000000 00:00 0 [vdso]\n", None),
            ("7f1c0000-7f1d0000 r-xp 00000000 00:00 0 \n", None),
            ("7f1c0000-7f1d0000 r-xp 00000000 00:00 0\n", None),
            ("7f1c0000-7f1d0000 r-xp 0 fd:01 99999999999999999999 /libssl.so.3\n", None),
            ("", None),
        ] {
            assert_eq!(library(line.as_bytes()), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_taken(line in "[ -~]{0,80}", bytes: Vec<u8>) {
            let _ = library(line.as_bytes());
            let _ = library(&bytes);
        }
    }
}

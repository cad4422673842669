//! Parts of a file, wherever it is. PURE.

use std::ops::Range;

use object::ReadRef;

/// The longest name of a section that is looked at.
const LONGEST_NAME: u64 = 1 << 8;

/// A file of which only some parts are looked at.
pub trait Pieces {
    /// In bytes.
    fn size(&self) -> u64;

    /// These bytes, if all of them are there and there is room for them.
    fn piece(&self, offset: u64, size: u64) -> Option<&[u8]>;

    /// Whether something was not read because it would have been too much.
    fn is_exhausted(&self) -> bool {
        false
    }
}

impl Pieces for &[u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn piece(&self, offset: u64, size: u64) -> Option<&[u8]> {
        self.get(usize::try_from(offset).ok()?..usize::try_from(offset.checked_add(size)?).ok()?)
    }
}

/// As the crate `object` wants it.
#[derive(Clone, Copy)]
pub struct Data<'d>(pub &'d dyn Pieces);

impl<'d> ReadRef<'d> for Data<'d> {
    fn len(self) -> Result<u64, ()> {
        Ok(self.0.size())
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'d [u8], ()> {
        self.0.piece(offset, size).ok_or(())
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'d [u8], ()> {
        let size = range.end.checked_sub(range.start).ok_or(())?.min(LONGEST_NAME);
        until(self.read_bytes_at(range.start, size)?, delimiter).ok_or(())
    }
}

/// What stands before the first such byte.
pub fn until(bytes: &[u8], delimiter: u8) -> Option<&[u8]> {
    bytes.iter().position(|byte| *byte == delimiter).map(|end| &bytes[..end])
}

/// The number at a place, of as many bytes as its type has.
pub fn number<const BYTES: usize>(bytes: &[u8], offset: usize) -> Option<[u8; BYTES]> {
    bytes.get(offset..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_beyond_the_end() {
        let bytes = &[1, 2, 0, 3][..];
        let data = Data(&bytes);
        assert_eq!(data.read_bytes_at(1, 3), Ok(&[2, 0, 3][..]));
        assert_eq!(data.read_bytes_at(1, 4), Err(()));
        assert_eq!(data.read_bytes_at(u64::MAX, 2), Err(()));
        assert_eq!(data.read_bytes_at_until(0..4, 0), Ok(&[1, 2][..]));
        assert_eq!(data.read_bytes_at_until(3..4, 0), Err(()));
        #[expect(clippy::reversed_empty_ranges, reason = "a file may say so")]
        let reversed = 3..2;
        assert_eq!(data.read_bytes_at_until(reversed, 0), Err(()));
        assert_eq!(number(&[1, 2, 3], 1).map(u16::from_le_bytes), Some(0x302));
        assert_eq!(number(&[1, 2, 3], 2).map(u16::from_le_bytes), None);
    }
}

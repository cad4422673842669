//! Where functions begin and end. PURE.

use std::ops::Range;

use gimli::{BaseAddresses, EhFrame, EhFrameOffset, EndianSlice, LittleEndian, UnwindSection as _};

use super::file::Elf;
use crate::tls::trouble::Why;

/// In bytes; the longest that was seen had 11 000 (`gnutls_handshake`).
pub const LONGEST_FUNCTION: u64 = 1 << 16;

/// How every linker writes the table: version 1; addresses of four bytes, relative to where they stand; a number of four bytes;
/// addresses of four bytes, relative to the table's begin.
const TABLE_FORM: [u8; 4] = [1, 0x1b, 0x03, 0x3b];
const TABLE_HEADER: usize = 12;

/// What an unwinder is told of functions, also of those without a name (Linux Standard Base, "DWARF Extensions").
struct Unwinding<'d> {
    frames: EhFrame<EndianSlice<'d, LittleEndian>>,
    bases: BaseAddresses,
    frames_at: u64,
    table_at: u64,
    /// Where a function begins, and where it is described.
    table: &'d [[u8; 8]],
}

impl<'d> Unwinding<'d> {
    fn of(elf: &Elf<'d>) -> Option<Self> {
        let (header, frames) = (elf.section(".eh_frame_hdr")?, elf.section(".eh_frame")?);
        let bases = BaseAddresses::default().set_eh_frame(frames.address);
        let rows = header.bytes.strip_prefix(&TABLE_FORM).and_then(|_| header.bytes.get(TABLE_HEADER..))?;
        Some(Self {
            frames: EhFrame::new(frames.bytes, LittleEndian),
            bases,
            frames_at: frames.address,
            table_at: header.address,
            table: rows.as_chunks().0,
        })
    }

    /// The range in which this address lies: a function, or a part of one that stands apart. The table is searched here: gimli's own search
    /// panics at a number of rows that cannot be.
    fn range(&self, address: u64) -> Option<Range<u64>> {
        let at = |half: [u8; 4]| self.table_at.wrapping_add_signed(i32::from_le_bytes(half).into());
        let halves =
            |row: &[u8; 8]| row.first_chunk().zip(row.last_chunk()).map(|(start, entry)| (at(*start), at(*entry)));
        let behind = self.table.partition_point(|row| halves(row).is_some_and(|(start, _)| start <= address));
        let (_, entry) = halves(self.table.get(behind.checked_sub(1)?)?)?;
        let offset = usize::try_from(entry.checked_sub(self.frames_at)?).ok()?;
        let fde = self.frames.fde_from_offset(&self.bases, EhFrameOffset(offset), EhFrame::cie_from_offset).ok()?;
        let (start, end) = (fde.initial_address(), fde.initial_address().checked_add(fde.len())?);
        (start..end).contains(&address).then_some(start..end)
    }
}

/// The functions of a file.
pub struct Functions<'d> {
    /// The file.
    pub elf: &'d Elf<'d>,
    unwinding: Option<Unwinding<'d>>,
}

impl<'d> Functions<'d> {
    /// Of this file.
    #[must_use]
    pub fn of(elf: &'d Elf<'d>) -> Self {
        Self { elf, unwinding: Unwinding::of(elf) }
    }

    /// The range in which this address lies, as the unwinder's table says it, or else symbols.
    #[must_use]
    pub fn range(&self, address: u64) -> Option<Range<u64>> {
        self.unwinding.as_ref().and_then(|unwinding| unwinding.range(address)).or_else(|| {
            let symbol = self.elf.enclosing(address)?;
            Some(symbol.address..symbol.address.checked_add(symbol.size)?)
        })
    }

    /// The range and its bytes.
    pub fn code(&self, address: u64) -> Result<(Range<u64>, &'d [u8]), Why> {
        let range = self.range(address).ok_or(Why::NoRange)?;
        let size = range.end - range.start;
        if size > LONGEST_FUNCTION {
            return Err(Why::TooLong);
        }
        let bytes = self.elf.code(range.start, size).ok_or(Why::NoRange)?;
        Ok((range, bytes))
    }
}

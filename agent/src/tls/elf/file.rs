//! An ELF file: its segments, its sections and their bytes. PURE.

use std::cell::Cell;

use object::LittleEndian;
use object::elf::{EM_AARCH64, EM_X86_64, FileHeader64, PF_X, PT_LOAD};
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _, SectionTable};

use crate::tls::pieces::{Data, Pieces};
use crate::tls::trouble::NotUnderstood;

/// Of one file; those of a library or program are a few dozen.
const MOST_SECTIONS: usize = 1 << 10;
const MOST_SEGMENTS: usize = 1 << 7;

/// How often a table is gone through from its begin; beyond, nothing is found there. For a library it is about a dozen times.
const MOST_SEARCHES: u32 = 1 << 9;

pub(super) type Header = FileHeader64<LittleEndian>;
pub(super) const LITTLE: LittleEndian = LittleEndian;

/// What its instructions are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// x86-64.
    X86,
    /// arm64.
    Arm64,
}

/// What of a file is loaded where.
#[derive(Clone, Copy)]
struct Segment {
    address: u64,
    offset: u64,
    size: u64,
    is_code: bool,
}

/// An ELF file of 64 bits, little endian.
pub struct Elf<'d> {
    pub(super) data: Data<'d>,
    pub(super) sections: SectionTable<'d, Header, Data<'d>>,
    segments: Vec<Segment>,
    machine: Machine,
    entry: u64,
    searches: Cell<u32>,
}

/// A section that is loaded, or not.
#[derive(Clone, Copy)]
pub struct Section<'d> {
    /// Of its first byte, where it is loaded.
    pub address: u64,
    /// All of it.
    pub bytes: &'d [u8],
}

impl<'d> Elf<'d> {
    /// Reads the headers.
    pub fn parse(pieces: &'d dyn Pieces) -> Result<Self, NotUnderstood> {
        let data = Data(pieces);
        let header = Header::parse(data).map_err(|_| NotUnderstood::Format)?;
        header.endian().ok().filter(|endian| *endian == LITTLE).ok_or(NotUnderstood::Format)?;
        let machine = match header.e_machine(LITTLE) {
            EM_X86_64 => Machine::X86,
            EM_AARCH64 => Machine::Arm64,
            _ => return Err(NotUnderstood::Format),
        };
        let headers = header.program_headers(LITTLE, data).map_err(|_| NotUnderstood::Broken("program headers"))?;
        let loaded = headers.iter().filter(|segment| segment.p_type(LITTLE) == PT_LOAD);
        let segments = loaded.map(|segment| Segment {
            address: segment.p_vaddr(LITTLE),
            offset: segment.p_offset(LITTLE),
            size: segment.p_filesz(LITTLE),
            is_code: segment.p_flags(LITTLE) & PF_X != 0,
        });
        let segments = segments.take(MOST_SEGMENTS).collect();
        let sections = header.sections(LITTLE, data).map_err(|_| NotUnderstood::Broken("section headers"))?;
        if sections.len() > MOST_SECTIONS {
            return Err(NotUnderstood::Broken("section headers"));
        }
        Ok(Self { data, sections, segments, machine, entry: header.e_entry(LITTLE), searches: Cell::new(0) })
    }

    /// What it is for.
    #[must_use]
    pub const fn machine(&self) -> Machine {
        self.machine
    }

    /// Where a program begins.
    #[must_use]
    pub const fn entry(&self) -> u64 {
        self.entry
    }

    /// Where in the file the code of this address stands.
    #[must_use]
    pub fn code_offset(&self, address: u64) -> Option<u64> {
        let within = self.segments.iter().filter(|segment| segment.is_code).find_map(|segment| {
            let into = address.checked_sub(segment.address).filter(|into| *into < segment.size)?;
            segment.offset.checked_add(into)
        });
        within.filter(|offset| *offset < self.data.0.size())
    }

    /// The code of these addresses, if it stands in one segment.
    #[must_use]
    pub fn code(&self, start: u64, size: u64) -> Option<&'d [u8]> {
        let offset = self.code_offset(start)?;
        let last = self.code_offset(start.checked_add(size.checked_sub(1)?)?)?;
        if last != offset.checked_add(size - 1)? {
            return None;
        }
        self.data.0.piece(offset, size)
    }

    /// To be asked before a table is gone through.
    pub(super) fn may_search(&self) -> bool {
        self.searches.set(self.searches.get().saturating_add(1));
        self.searches.get() <= MOST_SEARCHES
    }

    /// Where the section of this name is loaded.
    #[must_use]
    pub fn section_address(&self, name: &str) -> Option<u64> {
        self.sections.section_by_name(LITTLE, name.as_bytes()).map(|(_, section)| section.sh_addr(LITTLE))
    }

    /// The section of this name.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<Section<'d>> {
        let (_, section) = self.sections.section_by_name(LITTLE, name.as_bytes())?;
        Some(Section { address: section.sh_addr(LITTLE), bytes: section.data(LITTLE, self.data).ok()? })
    }
}

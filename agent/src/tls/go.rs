//! Where the functions of a Go program are, also of a stripped one: its runtime needs a table of them. PURE.
//!
//! `internal/abi/symtab.go` and `debug/gosym/pclntab.go`, of Go 1.18 on.

use std::collections::HashMap;
use std::ops::Range;

use crate::tls::elf::file::{Elf, Section};
use crate::tls::elf::ranges::LONGEST_FUNCTION;
use crate::tls::elf::symbols::Table;
use crate::tls::pieces::number;
use crate::tls::trouble::NotUnderstood;

/// Go 1.18 and 1.19; from 1.20 on.
const MAGICS: [u32; 2] = [0xffff_fff0, 0xffff_fff1];
const MOST_FUNCTIONS: usize = 1 << 21;
const TABLE: &str = ".gopclntab";
/// Where a program that Go itself has linked begins.
const FIRST: [&str; 2] = ["_rt0_amd64_linux", "_rt0_arm64_linux"];

/// Whether it was made by Go.
#[must_use]
pub fn is_go(elf: &Elf<'_>) -> bool {
    [".go.buildinfo", ".note.go.buildid", TABLE].iter().any(|name| elf.section_address(name).is_some())
}

/// The ranges of those of these functions that are there.
pub fn functions<'n>(elf: &Elf<'_>, names: &[&'n str]) -> Result<HashMap<&'n str, Range<u64>>, NotUnderstood> {
    let symbols = elf.defined(Table::All, names);
    if !symbols.is_empty() {
        let ranges = symbols
            .into_iter()
            .map(|(name, symbol)| (name, symbol.address..symbol.address.saturating_add(symbol.size)));
        return Ok(ranges.collect());
    }
    let section = elf.section(TABLE).or_else(|| elf.section(".data.rel.ro.gopclntab"));
    Lines::read(elf, section.ok_or(NotUnderstood::Broken(TABLE))?, names).ok_or(NotUnderstood::Broken(TABLE))
}

/// The table.
struct Lines<'d> {
    names: &'d [u8],
    functions: &'d [u8],
    count: usize,
}

impl<'d> Lines<'d> {
    fn read<'n>(elf: &Elf<'d>, section: Section<'d>, wanted: &[&'n str]) -> Option<HashMap<&'n str, Range<u64>>> {
        const WORD: usize = 8;
        let bytes = section.bytes;
        let field = |index: usize| number(bytes, WORD + index * WORD).map(u64::from_le_bytes);
        let part = |index: usize| bytes.get(usize::try_from(field(index)?).ok()?..);
        if !MAGICS.contains(&u32::from_le_bytes(number(bytes, 0)?)) || *bytes.get(7)? != WORD as u8 {
            return None;
        }
        let count = usize::try_from(field(0)?).ok().filter(|count| *count <= MOST_FUNCTIONS)?;
        let table = Self { names: part(3)?, functions: part(7)?, count };
        let mut names = wanted.to_vec();
        names.extend(FIRST);
        let found = table.find(&names);
        let text = match field(2)? {
            0 => elf.relocated(section.address.checked_add(3 * WORD as u64)?).or_else(|| {
                let first = FIRST.iter().find_map(|name| found.get(name))?;
                elf.entry().checked_sub(u64::from(first.start))
            })?,
            text => text,
        };
        let absolute =
            |range: &Range<u32>| Some(text.checked_add(range.start.into())?..text.checked_add(range.end.into())?);
        let known = wanted.iter().filter_map(|name| Some((*name, absolute(found.get(name)?)?)));
        Some(known.filter(|(_, range)| range.end.saturating_sub(range.start) <= LONGEST_FUNCTION).collect())
    }

    /// Where they begin and end, counted from the text's begin.
    fn find<'n>(&self, names: &[&'n str]) -> HashMap<&'n str, Range<u32>> {
        let found = (0..self.count).filter_map(|index| {
            let (start, end) = (self.start(index)?, self.start(index + 1)?);
            let name = self.name(index)?;
            let is = |wanted: &&&str| {
                name.strip_prefix(wanted.as_bytes()).is_some_and(|rest| rest.first() == Some(&0)) && start < end
            };
            names.iter().find(is).map(|wanted| (*wanted, start..end))
        });
        found.collect()
    }

    /// Of a function; behind the last one stands where it ends.
    fn start(&self, index: usize) -> Option<u32> {
        number(self.functions, index * 8).map(u32::from_le_bytes)
    }

    /// Its name and what stands behind that.
    fn name(&self, index: usize) -> Option<&'d [u8]> {
        let description = u32::from_le_bytes(number(self.functions, index * 8 + 4)?) as usize;
        let name = i32::from_le_bytes(number(self.functions, description.checked_add(4)?)?);
        self.names.get(usize::try_from(name).ok()?..)
    }
}

//! What is called what in an ELF file. PURE.

use std::collections::HashMap;

use object::LittleEndian;
use object::elf::{SHT_DYNSYM, SHT_SYMTAB, STT_FUNC, STT_NOTYPE, Sym64};
use object::read::SectionIndex;
use object::read::elf::{SectionHeader as _, Sym as _};

use super::file::{Elf, LITTLE};
use crate::tls::pieces::until;

const LONGEST_NAME: usize = 256;
/// Of one table; what stands behind them is not found.
const MOST_SYMBOLS: usize = 1 << 20;

/// A function that the file defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Of its first instruction.
    pub address: u64,
    /// In bytes; 0 if it is not said.
    pub size: u64,
}

/// Which of a file's two tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// What others may bind to; stays in a stripped file.
    Exported,
    /// Everything that has a name.
    All,
}

/// A table and its names.
#[derive(Clone, Copy)]
pub(super) struct Symbols<'d> {
    entries: &'d [Sym64<LittleEndian>],
    strings: &'d [u8],
}

impl<'d> Symbols<'d> {
    /// The name of the entry at this index, unless it is longer than any that is asked for.
    pub(super) fn name(&self, index: usize) -> Option<&'d [u8]> {
        let name = self.strings.get(self.entries.get(index)?.st_name(LITTLE) as usize..)?;
        until(name.get(..LONGEST_NAME).unwrap_or(name), 0)
    }

    /// Without looking for the name's end, which a file may put anywhere.
    fn is(&self, entry: &Sym64<LittleEndian>, name: &str) -> bool {
        let found = self.strings.get(entry.st_name(LITTLE) as usize..);
        found.and_then(|found| found.strip_prefix(name.as_bytes())).is_some_and(|rest| rest.first() == Some(&0))
    }

    fn functions(self) -> impl Iterator<Item = (&'d Sym64<LittleEndian>, Symbol)> {
        let defined = self.entries.iter().filter(|entry| {
            entry.st_shndx(LITTLE) != 0
                && matches!(entry.st_type(), STT_FUNC | STT_NOTYPE)
                && entry.st_value(LITTLE) > 0
        });
        defined.map(|entry| (entry, Symbol { address: entry.st_value(LITTLE), size: entry.st_size(LITTLE) }))
    }
}

impl<'d> Elf<'d> {
    /// None where the table is missing or broken.
    pub(super) fn symbols(&self, table: Table) -> Option<Symbols<'d>> {
        let wanted = if table == Table::Exported { SHT_DYNSYM } else { SHT_SYMTAB };
        let section = self.sections.iter().find(|section| section.sh_type(LITTLE) == wanted)?;
        let names = self.sections.section(SectionIndex(section.sh_link(LITTLE) as usize)).ok()?;
        let entries: &[_] = section.data_as_array(LITTLE, self.data).ok()?;
        let entries = entries.get(..MOST_SYMBOLS).unwrap_or(entries);
        Some(Symbols { entries, strings: names.data(LITTLE, self.data).ok()? })
    }

    /// Those of these functions that the table defines.
    #[must_use]
    pub fn defined<'n>(&self, table: Table, names: &[&'n str]) -> HashMap<&'n str, Symbol> {
        let Some(symbols) = self.symbols(table) else { return HashMap::new() };
        let named = symbols.functions().filter_map(|(entry, symbol)| {
            names.iter().find(|name| symbols.is(entry, name)).map(|name| (*name, symbol))
        });
        named.collect()
    }

    /// The function of a symbol in which this address lies.
    pub(super) fn enclosing(&self, address: u64) -> Option<Symbol> {
        if !self.may_search() {
            return None;
        }
        let contains = |symbol: &Symbol| address.checked_sub(symbol.address).is_some_and(|into| into < symbol.size);
        let tables = [Table::Exported, Table::All].into_iter().filter_map(|table| self.symbols(table));
        tables.flat_map(Symbols::functions).map(|(_, symbol)| symbol).find(contains)
    }
}

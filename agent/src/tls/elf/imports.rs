//! What the loader writes into an ELF file's memory before it runs: addresses of functions, and the file's own. PURE.

use object::LittleEndian;
use object::elf::{Rela64, SHT_RELA};
use object::read::elf::{Rela as _, SectionHeader as _};

use super::file::{Elf, LITTLE};
use super::symbols::Table;

/// Of one file: those of calls, and all others.
const MOST_TABLES: usize = 4;
/// Of all tables; what stands behind them is not found.
const MOST_RELOCATIONS: usize = 1 << 20;

impl<'d> Elf<'d> {
    /// The name of the function whose address the loader writes there.
    #[must_use]
    pub fn import(&self, slot: u64) -> Option<&'d str> {
        let index = self.relocation(slot)?.r_sym(LITTLE, false);
        let name = self.symbols(Table::Exported)?.name(index as usize)?;
        str::from_utf8(name).ok().filter(|name| !name.is_empty())
    }

    /// What the loader writes there, counted from where the file is loaded, if it is an address of the file's own.
    #[must_use]
    pub fn relocated(&self, slot: u64) -> Option<u64> {
        let relocation = self.relocation(slot).filter(|relocation| relocation.r_sym(LITTLE, false) == 0)?;
        u64::try_from(relocation.r_addend(LITTLE)).ok()
    }

    fn relocation(&self, slot: u64) -> Option<&'d Rela64<LittleEndian>> {
        if !self.may_search() {
            return None;
        }
        let tables = self.sections.iter().filter(|section| section.sh_type(LITTLE) == SHT_RELA).take(MOST_TABLES);
        let tables =
            tables.filter_map(|section| section.data_as_array::<Rela64<LittleEndian>, _>(LITTLE, self.data).ok());
        tables.flatten().take(MOST_RELOCATIONS).find(|relocation| relocation.r_offset(LITTLE) == slot)
    }
}

//! Of ELF files as much as is needed to find functions: sections, symbols, ranges, and what is bound to other files.

pub mod file;
pub mod imports;
pub mod ranges;
pub mod symbols;

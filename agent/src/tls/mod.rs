//! Where requests can be read in what ends TLS: finds a process's TLS library, and in its file the places for probes.

mod arm64;
mod elf;
pub mod find;
mod functions;
mod go;
pub mod library;
mod maps;
mod open;
pub mod pieces;
pub mod place;
pub mod places;
mod read;
pub mod reason;
pub mod trouble;
mod x86;

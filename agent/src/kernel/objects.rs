//! What the probe is in the kernel, as descriptors: who holds one of each holds the probe. EDGE.
//!
//! Nothing is pinned. When the last agent that holds them ends, the kernel takes the probe away.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use aya::Ebpf;
use aya::maps::{Map, MapData, MapError};
use common::maps::names;
use common::series::names as response_names;
use serde::{Deserialize, Serialize};

use super::sys::MappedArray;

/// The maps that the agent looks into, those that the programs in TLS libraries share, and the one that the kernel empties when no descriptor is left. Of all others the programs are the
/// only readers, and hold them.
pub(super) const MAPS: [&str; 16] = [
    names::CONNECTIONS,
    names::SLOTS,
    names::PROCESSES,
    names::COUNTS,
    names::MARKS,
    names::FREE_SLOTS,
    names::EVENTS,
    names::TOLD,
    response_names::DISPLACED,
    response_names::SERIES,
    response_names::VALUES,
    response_names::SERIES_MARKS,
    response_names::FREE_SERIES,
    response_names::OUTCOMES,
    response_names::UNTOLD,
    response_names::READERS,
];

/// What a descriptor is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Piece {
    Map(String),
    Program(String),
    /// A program is attached for as long as somebody has its link.
    Link,
}

/// The descriptors.
pub(super) struct Objects {
    pieces: Vec<(Piece, OwnedFd)>,
}

impl Objects {
    /// These maps of what is loaded.
    pub(super) fn of(ebpf: &Ebpf, maps: &[&str]) -> io::Result<Self> {
        let mut pieces = Vec::new();
        for (name, map) in ebpf.maps().filter(|(name, _)| maps.contains(name)) {
            let descriptor =
                descriptor(map).ok_or_else(|| io::Error::other(format!("{name} is another kind of map")))?;
            pieces.push((Piece::Map(name.to_owned()), descriptor.try_clone_to_owned()?));
        }
        Ok(Self { pieces })
    }

    /// Keeps programs attached.
    pub(super) fn keep_links(&mut self, links: Vec<OwnedFd>) {
        self.pieces.extend(links.into_iter().map(|link| (Piece::Link, link)));
    }

    /// Keeps what the kernel notes of the programs that are loaded by now.
    pub(super) fn keep_programs(&mut self, ebpf: &Ebpf) -> io::Result<()> {
        for (name, program) in ebpf.programs() {
            if let Ok(program) = program.fd() {
                let program = program.as_fd().try_clone_to_owned()?;
                self.pieces.push((Piece::Program(name.to_owned()), program));
            }
        }
        Ok(())
    }

    /// Keeps a program that is loaded.
    pub(super) fn keep_program(&mut self, name: &str, program: OwnedFd) {
        self.pieces.push((Piece::Program(name.to_owned()), program));
    }

    /// What another agent has handed over; the names in the order of the descriptors.
    pub(super) fn received(names: Vec<Piece>, descriptors: Vec<OwnedFd>) -> io::Result<Self> {
        if names.len() != descriptors.len() {
            let text = format!("{} descriptors where {} are named", descriptors.len(), names.len());
            return Err(io::Error::other(text));
        }
        Ok(Self { pieces: names.into_iter().zip(descriptors).collect() })
    }

    /// What each descriptor is of.
    pub(super) fn names(&self) -> Vec<Piece> {
        self.pieces.iter().map(|(piece, _)| piece.clone()).collect()
    }

    /// Each, in the same order.
    pub(super) fn borrowed(&self) -> Vec<BorrowedFd<'_>> {
        self.pieces.iter().map(|(_, descriptor)| descriptor.as_fd()).collect()
    }

    /// Another descriptor of each.
    pub(super) fn descriptors(&self) -> io::Result<Vec<OwnedFd>> {
        self.pieces.iter().map(|(_, descriptor)| descriptor.try_clone()).collect()
    }

    /// A map.
    pub(super) fn map(&self, name: &str) -> Result<Map, MapError> {
        let missing = || MapError::InvalidName { name: name.to_owned() };
        let descriptor = self.map_descriptor(name).ok_or_else(missing)?;
        let descriptor = descriptor.try_clone_to_owned().map_err(MapError::IoError)?;
        Map::from_map_data(MapData::from_fd(descriptor)?)
    }

    /// An array map of `u64` that may be mapped, the first `length` of its values.
    pub(super) fn mapped(&self, name: &str, length: usize) -> Result<MappedArray, MapError> {
        match self.map(name)? {
            Map::Array(map) => MappedArray::map(map, length).map_err(MapError::IoError),
            _ => Err(MapError::IoError(io::Error::other(format!("{name} is no array")))),
        }
    }

    /// The descriptor of a map.
    pub(super) fn map_descriptor(&self, name: &str) -> Option<BorrowedFd<'_>> {
        self.find(|piece| matches!(piece, Piece::Map(of) if of == name))
    }

    /// A program that was loaded.
    pub(super) fn program(&self, name: &str) -> Option<BorrowedFd<'_>> {
        self.find(|piece| matches!(piece, Piece::Program(of) if of == name))
    }

    fn find(&self, is_meant: impl Fn(&Piece) -> bool) -> Option<BorrowedFd<'_>> {
        self.pieces.iter().find(|(piece, _)| is_meant(piece)).map(|(_, descriptor)| descriptor.as_fd())
    }
}

/// Of a kind of map that there is.
pub(super) fn descriptor(map: &Map) -> Option<BorrowedFd<'_>> {
    match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::Stack(data)
        | Map::SkStorage(data)
        | Map::ProgramArray(data) => Some(data.fd().as_fd()),
        _ => None,
    }
}

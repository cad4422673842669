//! What the agent tells the probe while it runs: which sockets are young, and how much memory there is. EDGE.

use std::fs::File;
use std::io;
use std::sync::atomic::Ordering;

use aya::maps::MapError;
use common::maps::{names, told};
use rustix::fs::fstat;
use rustix::net::{AddressFamily, SocketType, socket};

use super::memory;
use super::objects::Objects;
use super::sys::MappedArray;

/// The kernel hands a CPU so many inode numbers at a time (`LAST_INO_BATCH`, fs/inode.c).
const BATCH: u32 = 1024;
/// Sockets that are opened, one after another, to see a batch begin.
const MOST_SOCKETS: u32 = 16 * BATCH;

/// The numbers, in memory that is shared with the probe.
pub(super) struct Told(MappedArray);

impl Told {
    /// Takes the map over, and says how much room there is: before the probe is attached.
    pub(super) fn take(objects: &Objects) -> Result<Self, MapError> {
        let told = Self(objects.mapped(names::TOLD, told::COUNT as usize)?);
        told.room();
        Ok(told)
    }

    /// Once the probe is attached.
    pub(super) fn first_inode(&self) {
        match first_inode() {
            Ok(number) => self.set(told::FIRST_INODE, number.into()),
            Err(error) => tracing::warn!(%error, "connections that are no HTTP cost memory, as old ones do"),
        }
    }

    /// Once the programs that look at responses over Unix sockets are loaded.
    pub(super) fn unix_answers(&self) {
        self.set(told::UNIX_ANSWERS, 1);
    }

    /// The same, of the one that sees them close.
    pub(super) fn unix_closes(&self) {
        self.set(told::UNIX_CLOSES, 1);
    }

    pub(super) fn sees_unix_closes(&self) -> bool {
        self.0.values().get(told::UNIX_CLOSES as usize).is_some_and(|told| told.load(Ordering::Relaxed) != 0)
    }

    /// Once a tick.
    pub(super) fn room(&self) {
        self.set(told::ROOM, memory::room_for_connections().cast_unsigned());
    }

    fn set(&self, index: u32, value: u64) {
        if let Some(told) = self.0.values().get(index as usize) {
            told.store(value, Ordering::Relaxed);
        }
    }
}

/// The number of a socket that is opened now, at the beginning of a batch: no CPU has been given a higher one before.
fn first_inode() -> io::Result<u32> {
    for _ in 0..MOST_SOCKETS {
        let socket = File::from(socket(AddressFamily::UNIX, SocketType::DGRAM, None)?);
        let number = fstat(&socket)?.st_ino as u32;
        if number % BATCH == 1 {
            return Ok(number);
        }
    }
    Err(io::Error::other("this kernel does not count inodes as others do"))
}

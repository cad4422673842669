//! A file in which TLS ends, opened, and the words for why there is none. EDGE.

use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

use crate::tls::place::Places;

/// A file, whatever it is called and whoever maps it. On overlayfs without its device: containers that share a layer
/// share the file, and see it on different devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileId {
    /// 0 on overlayfs.
    pub device: u64,
    /// Its number on the device.
    pub inode: u64,
    /// When it was last changed, in seconds and nanoseconds.
    pub changed: (i64, u32),
    /// In bytes.
    pub size: u64,
}

impl FileId {
    /// The same of a file that is held, as by the probes in it: its number is given to no other one, and whoever gives it another name, owner
    /// or mode changes only when it was last changed. Not on overlayfs, where a file that was copied up keeps its number.
    #[must_use]
    pub const fn held(self) -> Self {
        if self.device == 0 { self } else { Self { changed: (0, 0), size: 0, ..self } }
    }
}

/// A file that was understood.
#[derive(Debug)]
pub struct Library {
    /// What `places` was read from: to be attached to as `/proc/self/fd/N`.
    pub file: OwnedFd,
    /// The same for all processes that map it.
    pub id: FileId,
    /// Where the probes stand.
    pub places: Places,
    /// Its path as the process sees it, printable.
    pub name: String,
}

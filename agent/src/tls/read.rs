//! Parts of a file that others made, read and kept while it is looked at; never mapped, since who truncates it would end the agent. EDGE.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fs::File;

use object::{ReadCache, ReadRef as _};

use super::pieces::Pieces;

/// Of one file. Node's tables are 12 MiB, those of a large Go program 26.
const MOST_BYTES: u64 = 64 << 20;

/// A file and what was read of it.
pub(super) struct FilePieces {
    cache: ReadCache<File>,
    size: u64,
    read: RefCell<HashSet<(u64, u64)>>,
    left: Cell<u64>,
    is_exhausted: Cell<bool>,
}

impl FilePieces {
    pub(super) fn new(file: File, size: u64) -> Self {
        let (read, left) = (RefCell::default(), Cell::new(MOST_BYTES));
        Self { cache: ReadCache::new(file), size, read, left, is_exhausted: Cell::new(false) }
    }
}

impl Pieces for FilePieces {
    fn size(&self) -> u64 {
        self.size
    }

    fn piece(&self, offset: u64, size: u64) -> Option<&[u8]> {
        if offset.checked_add(size)? > self.size {
            return None;
        }
        if self.read.borrow_mut().insert((offset, size)) {
            let Some(left) = self.left.get().checked_sub(size) else {
                self.is_exhausted.set(true);
                return None;
            };
            self.left.set(left);
        }
        (&self.cache).read_bytes_at(offset, size).ok()
    }

    fn is_exhausted(&self) -> bool {
        self.is_exhausted.get()
    }
}

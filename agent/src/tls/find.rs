//! Finds what ends TLS in a process, and where to probe it: each file once. EDGE.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use super::library::{FileId, Library};
use super::open::{Opened, Process};
use super::place::Wanted;
use super::places::places;
use super::read::FilePieces;
use super::reason::Reason;
use crate::printable::printable;

/// Files whose result is kept.
const MOST_FILES: usize = 4096;
/// Of a path, in bytes.
const LONGEST_NAME: usize = 256;

/// What a file of a process is.
#[derive(Debug)]
pub enum Found {
    /// To be attached to.
    New(Library),
    /// Found before, perhaps in another process.
    Known(FileId),
}

/// What was found in one process.
#[derive(Debug, Default)]
pub struct Looked {
    /// Each file in which its TLS can be read.
    pub found: Vec<Found>,
    /// What else it has, or that it has nothing.
    pub reasons: Vec<Reason>,
}

/// Remembers files, also those that were not understood.
#[derive(Debug)]
pub struct Finder {
    wanted: Wanted,
    known: HashMap<FileId, Option<Reason>>,
}

impl Finder {
    /// For these places.
    #[must_use]
    pub fn new(wanted: Wanted) -> Self {
        Self { wanted, known: HashMap::new() }
    }

    /// Takes these files for found before.
    #[must_use]
    pub fn knowing(mut self, files: impl IntoIterator<Item = FileId>) -> Self {
        self.known.extend(files.into_iter().map(|id| (id, None)));
        self
    }

    /// Looks at a process's files. It may wait for the file system that they are on, as everybody does who opens a file there: to be
    /// called where nobody waits for it.
    pub fn look(&mut self, pid: u32) -> Looked {
        let mut looked = Looked::default();
        if let Err(reason) = self.look_at(pid, &mut looked) {
            looked.reasons.push(reason);
        }
        // An executable without TLS is one as all others.
        if !looked.found.is_empty() || looked.reasons.len() > 1 {
            looked.reasons.retain(|reason| *reason != Reason::NoLibrary);
        }
        looked
    }

    fn look_at(&mut self, pid: u32, looked: &mut Looked) -> Result<(), Reason> {
        let process = Process::open(pid)?;
        for mapped in process.libraries()? {
            let name = name(&String::from_utf8_lossy(&mapped.path));
            let file = if mapped.is_replaced { Err(Reason::Replaced) } else { process.library(&mapped) };
            self.take(file, name, looked);
        }
        self.take(process.executable(), name(&process.executable_path().to_string_lossy()), looked);
        Ok(())
    }

    fn take(&mut self, file: Result<Opened, Reason>, name: String, looked: &mut Looked) {
        match file.and_then(|file| self.file(file, name)) {
            Ok(found) => looked.found.push(found),
            Err(reason) if looked.reasons.contains(&reason) => {}
            Err(reason) => looked.reasons.push(reason),
        }
    }

    fn file(&mut self, Opened { file, id }: Opened, name: String) -> Result<Found, Reason> {
        if let Some(known) = self.known.get(&id) {
            return known.clone().map_or(Ok(Found::Known(id)), Err);
        }
        if self.known.len() >= MOST_FILES {
            return Err(Reason::TooMany);
        }
        let again = file.try_clone().map_err(|error| Reason::Unreadable(error.to_string()))?;
        let result = places(&FilePieces::new(again, id.size), self.wanted).map_err(Reason::from);
        self.known.insert(id, result.as_ref().err().cloned());
        Ok(Found::New(Library { file: OwnedFd::from(file), id, places: result?, name }))
    }
}

fn name(path: &str) -> String {
    let end = path.floor_char_boundary(LONGEST_NAME);
    printable(&path[..end])
}

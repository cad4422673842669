//! Reads requests in TLS: what ends it in a process is found, probed once for all that map it, and remembered. EDGE.

use std::collections::HashMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::choice::TlsChoice;
use super::objects::{Objects, Piece};
use super::uprobes::{Link, Stands, Uprobes, detach};
use super::{Kernel, LoadError, has_host_pids};
use crate::counting::plaintext::{Look, Plaintext, Receiver};
use crate::counting::tick::Part;
use crate::tls::find::{Finder, Found, Looked};
use crate::tls::library::{FileId, Library};
use crate::tls::place::Wanted;

/// Files, and the program in them.
pub(super) struct Libraries {
    uprobes: Uprobes,
    finder: Finder,
    /// By what is known of each where it is held: files that are probed; or why they cannot be.
    files: HashMap<FileId, Result<Probed, String>>,
    /// Another agent goes on with all of it, or may: nothing in the kernel is changed when this ends.
    is_others: bool,
}

/// A file that is probed.
struct Probed {
    link: Link,
    /// As it was found.
    id: FileId,
    name: String,
}

/// What one agent tells the next.
#[derive(Serialize, Deserialize)]
struct State {
    /// In the order of the descriptors.
    pieces: Vec<Piece>,
    /// Likewise: of each file's links two, or three where responses are counted.
    files: Vec<File>,
}

/// Of a file that is probed.
#[derive(Serialize, Deserialize)]
struct File {
    id: FileId,
    name: String,
    stands: Stands,
}

impl Kernel {
    /// Reads requests in TLS for the processes that this probe knows; `None` where it was not asked for.
    pub(super) fn read_tls(&self) -> Option<Result<Box<dyn Plaintext>, LoadError>> {
        let TlsChoice::Auto { go, .. } = self.tls else { return None };
        let libraries = self.uprobes().map(|uprobes| Libraries::new(uprobes, go, (Vec::new(), false)));
        Some(libraries.map(|libraries| Box::new(libraries) as Box<dyn Plaintext>))
    }

    /// Opens what another agent hands over, which read the same; until [`Libraries::taken`] it is still its own.
    pub(super) fn adopt_tls(&self, handed: Part) -> Result<Libraries, LoadError> {
        let malformed = |error: &str| LoadError::Other(format!("what was handed over of TLS cannot be read: {error}"));
        let State { pieces, files } =
            serde_json::from_value(handed.state).map_err(|error| malformed(&error.to_string()))?;
        let mut descriptors = handed.descriptors.into_iter();
        let own = descriptors.by_ref().take(pieces.len()).collect();
        let own = Objects::received(pieces, own);
        let uprobes = self.uprobes_of(own.map_err(LoadError::descriptors)?)?;
        let probed = files.into_iter().map(|File { id, name, stands }| {
            Some(Probed { link: Link::received(stands, &mut descriptors)?, id, name })
        });
        let probed: Option<Vec<_>> = probed.collect();
        let probed = probed.filter(|_| descriptors.next().is_none());
        let probed = probed.ok_or_else(|| malformed("its descriptors are not as many as it names"))?;
        let is_go = matches!(self.tls, TlsChoice::Auto { go: true, .. });
        Ok(Libraries::new(uprobes, is_go, (probed, true)))
    }
}

impl Libraries {
    /// With files that are probed, perhaps by others.
    fn new(uprobes: Uprobes, go: bool, (probed, is_others): (Vec<Probed>, bool)) -> Self {
        let wanted = Wanted { writes: uprobes.sees_writes(), go };
        let finder = Finder::new(wanted).knowing(probed.iter().map(|file| file.id));
        let files = probed.into_iter().map(|file| (file.id.held(), Ok(file))).collect();
        Self { uprobes, finder, files, is_others }
    }

    /// The other agent reads no more.
    pub(super) fn taken(&mut self) {
        tracing::info!(files = self.files.len(), "goes on with what the agent before this one reads in TLS");
        self.is_others = false;
    }

    /// The name of a file that is probed by now, or why it is not.
    fn probe(&mut self, found: Found) -> Result<String, String> {
        let held = match found {
            Found::Known(id) => id.held(),
            Found::New(library) => {
                self.probe_new(&library);
                library.id.held()
            }
        };
        match self.files.get(&held) {
            Some(Ok(probed)) => Ok(probed.name.clone()),
            Some(Err(cause)) => Err(cause.clone()),
            None => Err("it was not probed".to_owned()),
        }
    }

    /// Probes a file, unless it is probed: only what is known of it may be new.
    fn probe_new(&mut self, library: &Library) {
        let held = library.id.held();
        if let Some(Ok(probed)) = self.files.get(&held)
            && *probed.link.stands() == self.uprobes.stands(library)
        {
            return;
        }
        // It was written over: what stood in it is taken out before, or all would count twice.
        self.files.remove(&held);
        let link = self.uprobes.attach(library).map_err(|error| error.to_string());
        self.files.insert(held, link.map(|link| Probed { link, id: library.id, name: name_of(library) }));
    }

    /// Files that are probed, each time in the same order.
    fn probed(&self) -> impl Iterator<Item = &Probed> {
        self.files.values().filter_map(|file| file.as_ref().ok())
    }
}

/// With what is not counted in it, if that was wanted.
fn name_of(library: &Library) -> String {
    match library.places.unanswered() {
        Some(cause) => format!("{} (without responses: {cause})", library.name),
        None => library.name.clone(),
    }
}

impl Plaintext for Libraries {
    fn look_at(&mut self, process: &Receiver) -> Look {
        let Some(pid) = process.pid else {
            let detail = "the agent does not see its PID: set hostPID: true in Kubernetes, --pid=host for a container";
            return Look::Unread { reason: "not_visible", detail: detail.to_owned() };
        };
        let Looked { found, reasons } = self.finder.look(pid);
        let probed: Vec<_> = found.into_iter().map(|found| self.probe(found)).collect();
        let names: Vec<_> = probed.iter().filter_map(|probed| probed.as_deref().ok()).collect();
        if !names.is_empty() {
            return Look::Read(names.join(", "));
        }
        if let Some(cause) = probed.into_iter().find_map(Result::err) {
            return Look::Unread { reason: "not_probed", detail: cause };
        }
        let reason = reasons.first().map_or("no_known_library", |reason| reason.word());
        let said: Vec<_> = reasons.iter().map(ToString::to_string).collect();
        Look::Unread { reason, detail: said.join("; ") }
    }

    fn sweep(&mut self) -> io::Result<()> {
        // Sessions are known by PIDs of the machine; in a namespace of its own the agent sees others.
        if !has_host_pids() {
            return Ok(());
        }
        let swept = self.uprobes.sweep(|tgid| Path::new("/proc").join(tgid.to_string()).exists())?;
        tracing::debug!(?swept, "TLS sessions of ended processes");
        Ok(())
    }

    fn hand_over(&self) -> io::Result<(serde_json::Value, Vec<BorrowedFd<'_>>)> {
        let file =
            |Probed { link, id, name }: &Probed| File { id: *id, name: name.clone(), stands: link.stands().clone() };
        let state = State { pieces: self.uprobes.own.names(), files: self.probed().map(file).collect() };
        let links = self.probed().flat_map(|probed| probed.link.borrowed());
        let descriptors = self.uprobes.own.borrowed().into_iter().chain(links).collect();
        Ok((serde_json::to_value(state).map_err(io::Error::other)?, descriptors))
    }

    fn given(mut self: Box<Self>) {
        self.is_others = true;
    }
}

impl Drop for Libraries {
    fn drop(&mut self) {
        detach(self.files.drain().filter_map(|(_, file)| Some(file.ok()?.link)).collect());
        if !self.is_others
            && let Err(error) = self.uprobes.give_up_answers()
        {
            tracing::warn!(%error, "requests in TLS may count as in flight that are not");
        }
    }
}

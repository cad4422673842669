//! Reads requests in TLS: what ends it in a process is found, probed once for all that map it, and remembered. EDGE.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use super::choice::TlsChoice;
use super::uprobes::{Link, Uprobes, detach};
use super::{Kernel, LoadError, has_host_pids};
use crate::counting::plaintext::{Look, Plaintext, Receiver};
use crate::tls::find::{Finder, Found, Looked};
use crate::tls::library::{FileId, Library};
use crate::tls::place::Wanted;

/// Files, and the program in them.
struct Libraries {
    uprobes: Uprobes,
    finder: Finder,
    /// Files that are probed, and their names; or why they cannot be.
    files: HashMap<FileId, Result<(Link, String), String>>,
}

impl Kernel {
    /// Reads requests in TLS for the processes that this probe knows; `None` where it was not asked for.
    pub(super) fn read_tls(&self) -> Option<Result<Box<dyn Plaintext>, LoadError>> {
        let TlsChoice::Auto { go, .. } = self.tls else { return None };
        let libraries = self.uprobes().map(|uprobes| {
            let finder = Finder::new(Wanted { writes: uprobes.sees_writes(), go });
            Libraries { uprobes, finder, files: HashMap::new() }
        });
        Some(libraries.map(|libraries| Box::new(libraries) as Box<dyn Plaintext>))
    }
}

impl Libraries {
    /// The name of a file that is probed by now, or why it is not.
    fn probe(&mut self, found: Found) -> Result<String, String> {
        let id = match found {
            Found::Known(id) => id,
            Found::New(library) => {
                let link = self.uprobes.attach(&library).map_err(|error| error.to_string());
                self.files.insert(library.id, link.map(|link| (link, name_of(&library))));
                library.id
            }
        };
        match self.files.get(&id) {
            Some(Ok((_, name))) => Ok(name.clone()),
            Some(Err(cause)) => Err(cause.clone()),
            None => Err("it was not probed".to_owned()),
        }
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
}

impl Drop for Libraries {
    fn drop(&mut self) {
        detach(self.files.drain().filter_map(|(_, file)| file.ok().map(|(link, _)| link)).collect());
        if let Err(error) = self.uprobes.give_up_answers() {
            tracing::warn!(%error, "requests in TLS may count as in flight that are not");
        }
    }
}

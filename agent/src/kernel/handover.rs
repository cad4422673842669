//! The probe, as one agent hands it to the next: descriptors, and the little that is not in the kernel. EDGE.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;

use serde::{Deserialize, Serialize};

use super::LoadError;
use super::choice::{ProbeConfig, TlsChoice};
use super::counters::{Counters, Pending};
use super::hook::{Hook, Preemption};
use super::namespace::pid_namespace;
use super::objects::{Objects, Piece};
use super::probe::{Kernel, PROBE};
use super::responses::{ResponseCounters, SendHook, Sends};
use super::told::Told;
use super::uprobes::TLS;
use crate::counting::tick::{Handed, Part};
use crate::tls::place;

/// What goes with the descriptors.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    /// In the order of the descriptors.
    pieces: Vec<Piece>,
    pending: Pending,
    leaving: Vec<u32>,
    hook: Hook,
    preemption: Preemption,
    reads_directly: bool,
    sends: How,
}

/// How responses are counted.
#[derive(Debug, Serialize, Deserialize)]
enum How {
    Counted(SendHook),
    Off,
    Refused(String),
}

impl Kernel {
    /// What must be the same for an agent with this configuration to go on with a probe: the object, to the last byte, which
    /// decides what is in the maps; how large they are; and in whose PIDs it tells processes.
    #[must_use]
    pub fn layout_of(config: ProbeConfig) -> String {
        // Its keys are fixed: the same in each process.
        let mut hash = DefaultHasher::new();
        PROBE.hash(&mut hash);
        let ProbeConfig { hook, max_processes, responses, tls: _, without_loop: _ } = config;
        format!("{:016x}-{max_processes}-{hook:?}-{responses:?}-{}", hash.finish(), pid_namespace()).to_lowercase()
    }

    /// What must be the same, beside all that, for an agent with this configuration to read on in TLS: the programs, to the last byte; where
    /// they are put; and what is read. `None` where nothing is.
    #[must_use]
    pub fn tls_layout_of(config: ProbeConfig) -> Option<String> {
        let TlsChoice::Auto { go, responses } = config.tls else { return None };
        let mut hash = DefaultHasher::new();
        TLS.hash(&mut hash);
        let read = (if go { "-go" } else { "" }, if responses { "-responses" } else { "" });
        Some(format!("{:016x}-{}{}{}", hash.finish(), place::VERSION, read.0, read.1))
    }

    /// Goes on with the probe of another agent, which has the same layout and reads no more; likewise in TLS. Until this is returned nothing
    /// has been changed.
    ///
    /// # Errors
    ///
    /// One line with the cause.
    pub fn adopt(config: ProbeConfig, handed: Handed) -> Result<Self, LoadError> {
        let malformed = |error| LoadError::Other(format!("what was handed over cannot be read: {error}"));
        let State { pieces, pending, leaving, hook, preemption, reads_directly, sends } =
            serde_json::from_value(handed.probe.state).map_err(malformed)?;
        let objects = Objects::received(pieces, handed.probe.descriptors).map_err(LoadError::descriptors)?;
        let counters = Counters::adopted(&objects, config.max_processes, pending).map_err(LoadError::from_map)?;
        let (sends, responses) = match sends {
            How::Counted(hook) => {
                let responses = ResponseCounters::adopted(&objects, config.max_processes, leaving);
                (Sends::Counted(hook), Some(responses.map_err(LoadError::from_map)?))
            }
            How::Off => (Sends::Off, None),
            How::Refused(cause) => (Sends::Refused(LoadError::Other(cause)), None),
        };
        let told = Told::take(&objects).map_err(LoadError::from_map)?;
        let layout = Self::layout_of(config);
        let mut adopted = Self {
            objects,
            counters,
            sends,
            responses,
            told,
            hook,
            preemption,
            reads_directly,
            layout,
            tls: config.tls,
            handed_tls: None,
        };
        adopted.program_statistics().map_err(LoadError::descriptors)?;
        match (config.tls, handed.tls) {
            (TlsChoice::Off, _) => {}
            (TlsChoice::Auto { .. }, None) => tracing::info!(
                "the agent before this one does not hand over what it reads in TLS: files are looked for anew, and open sessions are joined"
            ),
            (TlsChoice::Auto { .. }, Some(part)) => adopted.handed_tls = Some(adopted.adopt_tls(part)?),
        }
        Ok(adopted)
    }

    pub(super) fn handed(&self) -> io::Result<Part> {
        let state = State {
            pieces: self.objects.names(),
            pending: self.counters.pending(),
            leaving: self.responses.as_ref().map(ResponseCounters::leaving).unwrap_or_default(),
            hook: self.hook,
            preemption: self.preemption,
            reads_directly: self.reads_directly,
            sends: match &self.sends {
                Sends::Counted(hook) => How::Counted(*hook),
                Sends::Off => How::Off,
                Sends::Refused(cause) => How::Refused(cause.to_string()),
            },
        };
        let state = serde_json::to_value(state).map_err(io::Error::other)?;
        Ok(Part { state, descriptors: self.objects.descriptors()? })
    }
}

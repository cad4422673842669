//! Loads the probe, attaches it, and reads what it counted. EDGE.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use aya::maps::{MapError, SkStorage};
use aya::{Ebpf, EbpfLoader};
use common::connection::Connection;
use common::layout::{Buffers, CONSTANTS, KernelFunction};
use common::maps::{ProcessKey, names};

use super::btf::{Btf, FUNCTION};
use super::choice::{HookChoice, ProbeConfig};
use super::constants::{LOOP_HELPER, constants, describe, hooks, link_functions};
use super::counters::Counters;
use super::hook::{Hook, Preemption, mark_open_connections};
use super::statistics::{ErrorKindMissing, ProgramStatistics, program_statistics};
use super::sys::Plain;
use super::told::Told;
use super::{LoadError, pages, sys};
use crate::counting::counts::{ProgramRuns, Reading};
use crate::counting::tick::Probe;

static PROBE: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/probe"));

/// The loaded and attached probe.
pub struct Kernel {
    // Dropping it detaches the probe.
    ebpf: Ebpf,
    counters: Counters,
    told: Told,
    hook: Hook,
    preemption: Preemption,
    /// At the tracepoint: buffers are read where they are.
    reads_directly: bool,
}

/// A loader of programs. aya makes each with all of the kernel's types parsed, which takes more memory than all else, and the
/// programs need none of it: so loaders are made one by one, before anything else is kept.
pub fn loader<'a>() -> EbpfLoader<'a> {
    let mut loader = EbpfLoader::new();
    loader.btf(None);
    sys::return_freed_memory();
    loader
}

impl Kernel {
    /// Loads the probe into the running kernel and attaches it, where it is told to or else where it can.
    ///
    /// # Errors
    ///
    /// One line with the cause and the cure.
    pub fn load(config: ProbeConfig) -> Result<Self, LoadError> {
        let looks_for_pages = matches!(config.hook, HookChoice::Auto | HookChoice::Tracepoint);
        let for_pages = looks_for_pages.then(|| [loader(), loader()]);
        let mut loader = loader();
        let blob = describe()?;
        let types = Btf::parse(&blob)?;
        if types.id_of(FUNCTION, LOOP_HELPER.0)?.is_none() {
            return Err(LoadError::NoFunction { name: LOOP_HELPER.0, since: LOOP_HELPER.1 });
        }
        let btf = hooks(&types)?;
        let mut code = PROBE.to_vec();
        let linked = link_functions(&mut code, &types)?;
        let mut constants = Plain(constants(&types, &linked)?);
        if let Some(loaders) = for_pages {
            match pages::find(loaders, (&types, &btf), &constants.0) {
                Ok(buffers) => constants.0.buffers = buffers,
                Err(cause) => tracing::debug!(%cause, "buffers cannot be read where they are"),
            }
        }
        let reads_directly = constants.0.buffers != Buffers::UNKNOWN;
        drop(types);
        drop(blob);
        sys::return_freed_memory();
        loader.override_global(CONSTANTS, &constants, true);
        for map in [names::SLOTS, names::PROCESSES, names::COUNTS, names::MARKS, names::FREE_SLOTS] {
            loader.map_max_entries(map, config.max_processes);
        }
        let mut ebpf = loader.load(&code).map_err(LoadError::from_ebpf)?;
        let counters =
            Counters::take(&mut ebpf, config.max_processes).map_err(|error| LoadError::from_ebpf(error.into()))?;
        let told = Told::take(&mut ebpf).map_err(|error| LoadError::from_ebpf(error.into()))?;
        let mut attach = |hook: Hook| -> Result<Hook, LoadError> {
            if hook == Hook::Tracepoint && !linked.reads_buffers {
                return Err(LoadError::no_function(KernelFunction::DynptrFromSkb));
            }
            hook.attach_all(&mut ebpf, &btf, linked.preemption(hook))?;
            Ok(hook)
        };
        let hook = match config.hook {
            HookChoice::Tracepoint | HookChoice::Dynptr => attach(Hook::Tracepoint)?,
            HookChoice::Fexit => attach(Hook::Fexit)?,
            HookChoice::Auto => match attach(Hook::Tracepoint) {
                Err(cause) if cause.is_about_hook() => {
                    tracing::info!(%cause, "not at the tracepoint, trying {}", Hook::Fexit.name());
                    attach(Hook::Fexit)?
                }
                attached => attached?,
            },
        };
        told.first_inode();
        if let Err(error) = mark_open_connections(&mut ebpf, &btf) {
            tracing::warn!(%error, "Unix connections older than the agent cannot be told from new ones");
        }
        drop((btf, code));
        sys::return_freed_memory();
        Ok(Self { ebpf, counters, told, hook, preemption: linked.preemption(hook), reads_directly })
    }

    /// Reads, and gives every process that holds a slot, also those that have counted nothing since the reading before.
    ///
    /// # Errors
    ///
    /// As [`Probe::read`].
    pub fn read_all(&mut self, at: Duration) -> io::Result<Reading> {
        let reading = self.read(at, &[])?;
        Ok(Reading { processes: self.counters.holders().cloned().collect(), ..reading })
    }

    /// Whether the probe keeps state of this socket's connection.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    pub fn has_state(&self, socket: &impl AsRawFd) -> io::Result<bool> {
        let map = self.ebpf.map(names::CONNECTIONS).ok_or_else(|| io::Error::other("no map of connections"))?;
        let states = SkStorage::<_, [u8; size_of::<Connection>()]>::try_from(map).map_err(io::Error::other)?;
        match states.get(socket, 0) {
            Ok(_) => Ok(true),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// What the kernel notes of the probe itself.
    ///
    /// # Errors
    ///
    /// What reading /proc said.
    pub fn program_statistics(&self) -> io::Result<ProgramStatistics> {
        let statistics = |name| program_statistics(self.ebpf.program(name).ok_or(ErrorKindMissing)?);
        let [first, second] = self.hook.programs();
        let mut sum = statistics(first)?;
        if self.preemption == Preemption::Held {
            let second = statistics(second)?;
            // What one skipped the other has seen, so that no more are lost than the lesser number.
            sum.skipped_calls = sum.skipped_calls.min(second.skipped_calls);
            sum.run_time_ns += second.run_time_ns;
            sum.verified_instructions = sum.verified_instructions.max(second.verified_instructions);
        }
        Ok(sum)
    }
}

impl Probe for Kernel {
    fn read(&mut self, at: Duration, ended: &[ProcessKey]) -> io::Result<Reading> {
        self.told.room();
        let ProgramStatistics { skipped_calls, runs, run_time_ns, .. } = self.program_statistics()?;
        let program = ProgramRuns { calls: runs, time: Duration::from_nanos(run_time_ns) };
        Ok(Reading { program, ..self.counters.read(at, skipped_calls, ended)? })
    }

    fn release(&mut self, ended: &[ProcessKey]) -> io::Result<()> {
        self.counters.release(ended)
    }

    fn given_up(&mut self) -> Vec<ProcessKey> {
        self.counters.given_up()
    }

    fn description(&self) -> String {
        let preemption = match self.preemption {
            Preemption::Off => "preemption off",
            Preemption::Held => "preemption held off",
            Preemption::On => "preemption not held off",
        };
        let reader = match self.hook {
            Hook::Tracepoint if self.reads_directly => "direct reader",
            Hook::Tracepoint => "dynptr reader",
            Hook::Fexit => "user-memory reader",
        };
        format!("{}, {reader}, {preemption}", self.hook.name())
    }
}

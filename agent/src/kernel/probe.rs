//! Loads the probe, attaches it, and reads what it counted. EDGE.

use std::cell::OnceCell;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use aya::EbpfLoader;
use aya::maps::{MapError, SkStorage};
use common::connection::Connection;
use common::layout::{Buffers, CONSTANTS, Constants, KernelFunction};
use common::maps::{ProcessKey, names};

use super::btf::{Btf, FUNCTION};
use super::choice::{HookChoice, ProbeConfig, TlsChoice};
use super::constants::{YOUNGEST_HELPER, constants, describe, hooks, link_functions};
use super::counters::Counters;
use super::hook::{Hook, Preemption, UNIX_CLOSES, attach_unix_closes, mark_open_connections};
use super::objects::{MAPS, Objects};
use super::plaintext::Libraries;
use super::responses::{self, ResponseCounters, Sends};
use super::statistics::{ErrorKindMissing, ProgramStatistics, statistics_of};
use super::sys::Plain;
use super::told::Told;
use super::{LoadError, pages, patch, sys};
use crate::counting::counts::{ProgramRuns, Reading};
use crate::counting::plaintext::Plaintext;
use crate::counting::responses::{Counted, Responses};
use crate::counting::tick::{Part, Probe};

pub(super) static PROBE: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/probe"));

/// Rounds of a loop where there is no `bpf_loop`: more than a read of 64 KiB is granted. Of a longer one that needs more, the rest is lost
/// by name.
const MAX_ROUNDS: u32 = 16_384;

/// The loaded and attached probe.
pub struct Kernel {
    /// Dropping it detaches the probe, unless another agent has the same descriptors.
    pub(super) objects: Objects,
    pub(super) counters: Counters,
    /// How responses are counted.
    pub(super) sends: Sends,
    /// Where they are.
    pub(super) responses: Option<ResponseCounters>,
    pub(super) told: Told,
    pub(super) hook: Hook,
    pub(super) preemption: Preemption,
    /// At the tracepoint: buffers are read where they are.
    pub(super) reads_directly: bool,
    /// What it was loaded from and for.
    pub(super) layout: String,
    /// Whether requests in TLS are counted.
    pub(super) tls: TlsChoice,
    /// What reads them, where another agent has handed it over and it is not used yet.
    pub(super) handed_tls: Option<Libraries>,
}

/// A loader of programs. aya makes each with all of the kernel's types parsed, which takes a tenth of a second, and more memory than all
/// else; the programs need none of it. So there is one, made before anything else is kept, for all objects.
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
        let (trial, told) = (pages::Trial::default(), [const { OnceCell::new() }; 2]);
        let mut loader = loader();
        let blob = describe()?;
        let types = Btf::parse(&blob)?;
        if types.id_of(FUNCTION, YOUNGEST_HELPER.0).is_none() {
            return Err(LoadError::NoFunction { name: YOUNGEST_HELPER.0, since: YOUNGEST_HELPER.1 });
        }
        let btf = hooks(&types)?;
        let mut code = PROBE.to_vec();
        let linked = link_functions(&mut code, &types)?;
        let mut constants = Plain(constants(&types, &linked)?);
        if config.without_loop {
            constants.0.has_loop = 0;
        }
        if matches!(config.hook, HookChoice::Auto | HookChoice::Tracepoint) {
            match pages::find(&mut loader, (&types, &btf), &constants.0, &trial) {
                Ok(buffers) => constants.0.buffers = buffers,
                Err(cause) => tracing::debug!(%cause, "buffers cannot be read where they are"),
            }
        }
        let preemption =
            linked.preemption(if config.hook == HookChoice::Fexit { Hook::Fexit } else { Hook::Tracepoint });
        constants.0.second_at_sends = (preemption == Preemption::Held).into();
        let reads_directly = constants.0.buffers != Buffers::UNKNOWN;
        drop(types);
        drop(blob);
        sys::return_freed_memory();
        let object = |shards: u32| {
            let with_shards = || Plain(Constants { response_shards: shards, ..constants.0 });
            loader.override_global(CONSTANTS, told[usize::from(shards > 0)].get_or_init(with_shards), true);
            for map in [names::SLOTS, names::PROCESSES, names::COUNTS, names::MARKS, names::FREE_SLOTS] {
                loader.map_max_entries(map, config.max_processes);
            }
            if constants.0.has_loop == 0 {
                loader.map_max_entries(names::ROUNDS, MAX_ROUNDS);
            }
            for (map, entries) in responses::map_sizes(shards, config.max_processes) {
                loader.map_max_entries(map, entries);
            }
            let mut code = code.clone();
            if shards > 0 {
                patch::link_tail_calls(&mut code).map_err(|error| LoadError::Other(error.to_string()))?;
            }
            loader.load(&code).map_err(LoadError::from_ebpf)
        };
        let (mut ebpf, sends, links) = responses::load(config, (&btf, preemption), object)?;
        let mut objects = Objects::of(&ebpf, &MAPS).map_err(LoadError::descriptors)?;
        objects.keep_links(links);
        let counters = Counters::fresh(&objects, config.max_processes).map_err(LoadError::from_map)?;
        // Ready before a request is counted: its response may want a series at once.
        let responses = match sends {
            Sends::Counted(_) => {
                Some(ResponseCounters::fresh(&objects, config.max_processes).map_err(LoadError::from_map)?)
            }
            Sends::Off | Sends::Refused(_) => None,
        };
        let told = Told::take(&objects).map_err(LoadError::from_map)?;
        let mut attach = |hook: Hook| -> Result<(Hook, Vec<OwnedFd>), LoadError> {
            if hook == Hook::Tracepoint && !linked.reads_buffers {
                return Err(LoadError::no_function(KernelFunction::DynptrFromSkb));
            }
            Ok((hook, hook.attach_all(&mut ebpf, &btf, linked.preemption(hook))?))
        };
        let (hook, links) = match config.hook {
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
        objects.keep_links(links);
        if responses.is_some() {
            match attach_unix_closes(&mut ebpf, &btf) {
                Ok(link) => {
                    objects.keep_links(vec![link]);
                    told.unix_closes();
                }
                Err(cause) => tracing::debug!(%cause, "the ends of Unix connections are not seen"),
            }
            match hook.attach_answers(&mut ebpf, &btf) {
                Ok(()) => told.unix_answers(),
                Err(error) => tracing::warn!(%error, "responses over Unix sockets are not counted"),
            }
        }
        told.first_inode();
        if let Err(error) = mark_open_connections(&mut ebpf, &btf) {
            tracing::warn!(%error, "Unix connections older than the agent cannot be told from new ones");
        }
        objects.keep_programs(&ebpf).map_err(LoadError::descriptors)?;
        drop((ebpf, btf, code));
        sys::return_freed_memory();
        let (preemption, layout) = (linked.preemption(hook), Self::layout_of(config));
        Ok(Self {
            objects,
            counters,
            told,
            sends,
            responses,
            hook,
            preemption,
            reads_directly,
            layout,
            tls: config.tls,
            handed_tls: None,
        })
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
        let map = self.objects.map(names::CONNECTIONS).map_err(io::Error::other)?;
        let states = SkStorage::<_, [u8; size_of::<Connection>()]>::try_from(map).map_err(io::Error::other)?;
        match states.get(socket, 0) {
            Ok(_) => Ok(true),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Responses of all processes that hold a slot; `None` where they are not counted. After [`Kernel::read_all`], which learns who holds
    /// them.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    pub fn read_responses(&self) -> io::Result<Option<Responses>> {
        let Some(counters) = &self.responses else { return Ok(None) };
        let mut responses = counters.read_all(|slot| self.counters.holder_of(slot))?;
        for (slot, key) in self.counters.slots() {
            responses.outcomes.push((key, counters.outcome(slot)));
        }
        Ok(Some(responses))
    }

    /// Whether the ends of Unix connections are seen.
    #[must_use]
    pub fn sees_unix_closes(&self) -> bool {
        self.told.sees_unix_closes()
    }

    /// Whether responses are counted, and how.
    #[must_use]
    pub const fn sends(&self) -> &Sends {
        &self.sends
    }

    /// What the kernel notes of the program that sees sends; `None` where responses are not counted.
    ///
    /// # Errors
    ///
    /// What reading /proc said.
    pub fn send_statistics(&self) -> io::Result<Option<ProgramStatistics>> {
        let Sends::Counted(hook) = self.sends else { return Ok(None) };
        let [sends, _] = responses::programs(hook);
        self.statistics_of(sends).map(Some)
    }

    /// How many instructions the verifier looked at in each program that responses need.
    #[must_use]
    pub fn verified_for_responses(&self) -> Vec<(&'static str, u32)> {
        let Sends::Counted(hook) = self.sends else { return Vec::new() };
        let [sends, ends] = responses::programs(hook);
        // What takes over is the same program again, and was loaded where that is needed.
        [sends, ends]
            .into_iter()
            .flatten()
            .chain(&[self.hook.answers(), UNIX_CLOSES])
            .filter_map(|name| Some((*name, self.statistics(name).ok()?.verified_instructions)))
            .collect()
    }

    /// What the kernel notes of the probe itself.
    ///
    /// # Errors
    ///
    /// What reading /proc said.
    pub fn program_statistics(&self) -> io::Result<ProgramStatistics> {
        self.statistics_of(self.hook.programs())
    }

    /// Of a program, and the one that takes over where the kernel may skip it.
    fn statistics_of(&self, [first, second]: &[&str; 2]) -> io::Result<ProgramStatistics> {
        let mut sum = self.statistics(first)?;
        // It is loaded where it is needed.
        if self.objects.program(second).is_some() {
            let second = self.statistics(second)?;
            // What one skipped the other has seen, so that no more are lost than the lesser number.
            sum.skipped_calls = sum.skipped_calls.min(second.skipped_calls);
            sum.run_time_ns += second.run_time_ns;
            sum.verified_instructions = sum.verified_instructions.max(second.verified_instructions);
        }
        Ok(sum)
    }

    fn statistics(&self, program: &str) -> io::Result<ProgramStatistics> {
        statistics_of(self.objects.program(program).ok_or(ErrorKindMissing)?)
    }
}

impl Probe for Kernel {
    fn read(&mut self, at: Duration, ended: &[ProcessKey]) -> io::Result<Reading> {
        self.told.room();
        let ProgramStatistics { skipped_calls, runs, run_time_ns, .. } = self.program_statistics()?;
        let program = ProgramRuns { calls: runs, time: Duration::from_nanos(run_time_ns) };
        // Before the requests: of no process are there more responses.
        let counters = &self.counters;
        let responses = self.responses.as_mut().map(|responses| responses.read(|slot| counters.holder_of(slot)));
        let mut responses = responses.transpose()?;
        let read = self.counters.read(at, skipped_calls, ended);
        if read.is_err()
            && let Some(responses) = &mut self.responses
        {
            responses.again();
        }
        let reading = read?;
        if let (Some(counters), Some(responses)) = (&self.responses, &mut responses) {
            // Those of the slots that were marked, as those are in which the probe notes an outcome.
            let slots = reading.processes.iter().filter_map(|of| Some((of.key, self.counters.slot_of(&of.key)?)));
            responses.outcomes.extend(slots.map(|(key, slot)| (key, counters.outcome(slot))));
        }
        Ok(Reading { program, responses, ..reading })
    }

    fn release(&mut self, ended: &[ProcessKey]) -> io::Result<()> {
        let Some(responses) = &mut self.responses else { return self.counters.release(ended) };
        let slots: Vec<u32> = ended.iter().filter_map(|key| self.counters.slot_of(key)).collect();
        for slot in &slots {
            self.counters.forget_process(*slot)?;
        }
        responses.release(&slots)?;
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

    fn plaintext(&mut self) -> Option<Result<Box<dyn Plaintext>, String>> {
        if let Some(mut handed) = self.handed_tls.take() {
            handed.taken();
            return Some(Ok(Box::new(handed)));
        }
        self.read_tls().map(|read| read.map_err(|error| error.to_string()))
    }

    fn layout(&self) -> Option<String> {
        Some(self.layout.clone())
    }

    fn hand_over(&self) -> io::Result<Part> {
        self.handed()
    }

    fn responses(&self) -> Counted {
        match &self.sends {
            Sends::Counted(hook) => Counted::At(hook.name()),
            Sends::Off => Counted::Off,
            Sends::Refused(cause) => Counted::Refused(cause.to_string()),
        }
    }
}

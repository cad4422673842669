//! The kernel edge: loads the probe, attaches it, and reads what it counted. EDGE.

mod btf;
mod comparison;
mod counters;
mod error;
mod pages;
mod patch;
pub mod survey;
mod sys;

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use aya::programs::{BtfTracePoint, FExit, Iter, Program};
use aya::{Btf, Ebpf, EbpfLoader};
use aya_obj::btf::BtfKind;
use common::layout::{Buffers, CONSTANTS, Constants, IovIter, KernelFunction, Layout};
use common::maps::{ProcessKey, names};

pub use comparison::{Attached, Comparison, StandIn};
pub use error::LoadError;

use crate::config::{HookChoice, ProbeConfig};
use crate::counts::{ProgramRuns, Reading};
use crate::tick::Probe;
use counters::Counters;
use sys::Plain;

static PROBE: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/probe"));
const TRACEPOINT: &str = "skb_copy_datagram_iovec";
const COPY_FUNCTION: &str = "skb_copy_datagram_iter";
/// The youngest of the helpers that the probe calls on every kernel.
const LOOP_HELPER: (&str, &str) = ("bpf_loop", "5.17");
/// The inode of the initial PID namespace (`PROC_PID_INIT_INO`).
const INITIAL_PID_NAMESPACE: u64 = 0xeffffffc;

/// The loaded and attached probe.
pub struct Kernel {
    // Dropping it detaches the probe.
    ebpf: Ebpf,
    counters: Counters,
    hook: Hook,
    preemption: Preemption,
    /// At the tracepoint: buffers are read where they are.
    reads_directly: bool,
}

/// Whether another task may come in between the probe's start and its end on a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Preemption {
    /// The kernel runs the probe with preemption off.
    Off,
    /// The probe holds it off. A tick that comes meanwhile takes effect when it releases it, still
    /// inside the program, and the kernel then skips that program: a second one takes over.
    Held,
    /// The kernel has no functions for that. Only with full preemption does it matter.
    On,
}

/// Where the probe is attached, and with that how it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hook {
    /// The tracepoint before data is copied: reads the kernel's buffers.
    Tracepoint,
    /// The end of the function that copies: reads the process's memory.
    Fexit,
}

impl Kernel {
    /// Loads the probe into the running kernel and attaches it, where it is told to or else where it can.
    ///
    /// # Errors
    ///
    /// One line with the cause and the cure.
    pub fn load(config: ProbeConfig) -> Result<Self, LoadError> {
        let blob = fs::read(error::VMLINUX_BTF).map_err(|source| LoadError::NoBtf { source })?;
        let btf = Btf::parse(&blob, aya::Endianness::default()).map_err(|error| LoadError::Other(error.to_string()))?;
        if btf.id_by_type_name_kind(LOOP_HELPER.0, BtfKind::Func).is_err() {
            return Err(LoadError::NoFunction { name: LOOP_HELPER.0, since: LOOP_HELPER.1 });
        }
        let mut code = PROBE.to_vec();
        let linked = link_functions(&mut code, &btf)?;
        let mut constants = Plain(constants(&blob, &btf, &linked)?);
        if matches!(config.hook, HookChoice::Auto | HookChoice::Tracepoint) {
            match pages::find(&blob, &btf, &constants.0) {
                Ok(buffers) => constants.0.buffers = buffers,
                Err(cause) => tracing::debug!(%cause, "buffers cannot be read where they are"),
            }
        }
        let reads_directly = constants.0.buffers != Buffers::UNKNOWN;
        drop(blob);
        let mut loader = EbpfLoader::new();
        loader.btf(Some(&btf)).override_global(CONSTANTS, &constants, true);
        for map in [names::SLOTS, names::PROCESSES, names::COUNTS, names::MARKS, names::FREE_SLOTS] {
            loader.map_max_entries(map, config.max_processes);
        }
        let mut ebpf = loader.load(&code).map_err(LoadError::from_ebpf)?;
        let counters =
            Counters::take(&mut ebpf, config.max_processes).map_err(|error| LoadError::from_ebpf(error.into()))?;
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
        if let Err(error) = mark_open_connections(&mut ebpf, &btf) {
            tracing::warn!(%error, "Unix connections older than the agent cannot be told from new ones");
        }
        drop((btf, code));
        sys::return_freed_memory();
        Ok(Self { ebpf, counters, hook, preemption: linked.preemption(hook), reads_directly })
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
        let ProgramStatistics { skipped_calls, runs, run_time_ns, .. } = self.program_statistics()?;
        let program = ProgramRuns { calls: runs, time: Duration::from_nanos(run_time_ns) };
        Ok(Reading { program, ..self.counters.read(at, skipped_calls, ended)? })
    }

    fn release(&mut self, ended: &[ProcessKey]) -> io::Result<()> {
        self.counters.release(ended)
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

/// Run statistics of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgramStatistics {
    /// Calls the kernel skipped because the program was already running on that CPU. Where a second one takes
    /// over: at most so many were skipped by both.
    pub skipped_calls: u64,
    /// Calls, counted only while `kernel.bpf_stats_enabled` is 1.
    pub runs: u64,
    /// Nanoseconds spent in them, likewise.
    pub run_time_ns: u64,
    /// Instructions that the verifier looked at.
    pub verified_instructions: u32,
}

struct ErrorKindMissing;

impl From<ErrorKindMissing> for io::Error {
    fn from(_: ErrorKindMissing) -> Self {
        Self::other("the probe's program is missing from its object")
    }
}

impl Hook {
    /// The program, and the one that takes over where the kernel may skip it.
    const fn programs(self) -> [&'static str; 2] {
        match self {
            Self::Tracepoint => ["receive", "receive_again"],
            Self::Fexit => ["receive_copied", "receive_copied_again"],
        }
    }

    fn name(self) -> String {
        match self {
            Self::Tracepoint => format!("tp_btf/{TRACEPOINT}"),
            Self::Fexit => format!("fexit/{COPY_FUNCTION}"),
        }
    }

    fn attach_all(self, ebpf: &mut Ebpf, btf: &Btf, preemption: Preemption) -> Result<(), LoadError> {
        let [first, second] = self.programs();
        if preemption != Preemption::Held {
            return self.attach(ebpf, first, btf);
        }
        // A tracepoint calls programs in the order in which they came, a trampoline in the opposite one.
        let [one, other] = if self == Self::Tracepoint { [first, second] } else { [second, first] };
        self.attach(ebpf, one, btf)?;
        self.attach(ebpf, other, btf)
    }

    fn attach(self, ebpf: &mut Ebpf, name: &str, btf: &Btf) -> Result<(), LoadError> {
        match self {
            Self::Tracepoint => attach_tracepoint(ebpf, name, btf),
            Self::Fexit => {
                let program: &mut FExit = program(ebpf, name)?.try_into().map_err(LoadError::from_program)?;
                program.load(COPY_FUNCTION, btf).map_err(LoadError::from_program)?;
                program.attach().map(drop).map_err(LoadError::from_program)
            }
        }
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Program, LoadError> {
    ebpf.program_mut(name).ok_or_else(|| LoadError::Other(format!("the object has no program {name}")))
}

fn attach_tracepoint(ebpf: &mut Ebpf, name: &str, btf: &Btf) -> Result<(), LoadError> {
    let program: &mut BtfTracePoint = program(ebpf, name)?.try_into().map_err(LoadError::from_program)?;
    program.load(TRACEPOINT, btf).map_err(LoadError::from_program)?;
    program.attach().map_err(LoadError::from_program)?;
    Ok(())
}

/// Runs the probe's iterator over all open files once. After attaching: a connection opened in
/// between is taken for an old one, never the other way round.
fn mark_open_connections(ebpf: &mut Ebpf, btf: &Btf) -> Result<(), LoadError> {
    let program: &mut Iter = program(ebpf, "mark_open")?.try_into().map_err(LoadError::from_program)?;
    program.load("task_file", btf).map_err(LoadError::from_program)?;
    let link = program.attach().and_then(|id| program.take_link(id)).map_err(LoadError::from_program)?;
    let mut files = link.into_file().map_err(|error| LoadError::Other(error.to_string()))?;
    io::copy(&mut files, &mut io::sink()).map_err(|error| LoadError::Other(error.to_string()))?;
    Ok(())
}

/// Which of the functions that a kernel may lack were found.
struct Linked {
    reads_buffers: bool,
    holds_preemption: bool,
    casts: bool,
}

impl Linked {
    fn preemption(&self, hook: Hook) -> Preemption {
        match hook {
            Hook::Tracepoint if !tracepoints_are_preemptible() => Preemption::Off,
            _ if self.holds_preemption => Preemption::Held,
            _ => Preemption::On,
        }
    }
}

/// Links the probe's calls to the kernel's functions. Calls of those that it lacks stay as they
/// are: the constants make them dead code, which the verifier drops, or their program is not loaded.
fn link_functions(code: &mut [u8], btf: &Btf) -> Result<Linked, LoadError> {
    let mut link = |function: KernelFunction| -> Result<bool, LoadError> {
        let Ok(id) = btf.id_by_type_name_kind(function.name(), BtfKind::Func) else { return Ok(false) };
        patch::patch(code, function, id).map_err(|error| LoadError::Other(error.to_string()))?;
        Ok(true)
    };
    Ok(Linked {
        reads_buffers: link(KernelFunction::DynptrFromSkb)?,
        holds_preemption: link(KernelFunction::PreemptDisable)? && link(KernelFunction::PreemptEnable)?,
        casts: link(KernelFunction::ReadOnlyCast)?,
    })
}

fn constants(blob: &[u8], btf: &Btf, linked: &Linked) -> Result<Constants, btf::Error> {
    let types = btf::Btf::parse(blob)?;
    let tcp_sock = btf.id_by_type_name_kind("tcp_sock", BtfKind::Struct).unwrap_or(0);
    Ok(Constants {
        buffers: Buffers::UNKNOWN,
        layout: Layout::resolve(|structure, member| types.offset_of(structure, member))?,
        iterator: iterator(&types)?,
        pid_namespace: pid_namespace(),
        can_hold_preemption: linked.holds_preemption.into(),
        hold_at_tracepoint: (linked.preemption(Hook::Tracepoint) == Preemption::Held).into(),
        tcp_sock: if linked.casts { tcp_sock } else { 0 },
    })
}

/// Whether all members are where the probe looks.
fn knows(blob: &[u8]) -> Result<(), btf::Error> {
    let types = btf::Btf::parse(blob)?;
    Layout::resolve(|structure, member| types.offset_of(structure, member))?;
    iterator(&types).map(drop)
}

/// Kernels differ in the names of members, in the values of kinds, and in whether there is a buffer at all.
fn iterator(types: &btf::Btf<'_>) -> Result<IovIter, btf::Error> {
    let offset_of = |member| types.offset_of("iov_iter", member);
    let kind = |name| types.value_of("iter_type", name);
    let (buffer, is_buffer) = match kind("ITER_UBUF") {
        Ok(is_buffer) => (offset_of("ubuf")?, is_buffer),
        Err(_) => (0, u32::MAX),
    };
    Ok(IovIter {
        kind: offset_of("iter_type")?,
        filled: offset_of("iov_offset")?,
        buffer,
        segments: offset_of("__iov").or_else(|_| offset_of("iov"))?,
        is_buffer,
        is_segments: kind("ITER_IOVEC")?,
    })
}

/// Until Linux 6.18 the kernel runs programs at tracepoints with preemption off. If a vendor's older kernel
/// does not, skipped calls show it.
fn tracepoints_are_preemptible() -> bool {
    const LAST_WITHOUT: (u32, u32) = (6, 18);
    let system = rustix::system::uname();
    let release = system.release().to_string_lossy();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(u32::MAX), numbers.next().unwrap_or(0)) > LAST_WITHOUT
}

/// Whether the agent sees the host's PIDs, by which Scope names processes.
#[must_use]
pub fn has_host_pids() -> bool {
    pid_namespace() == 0
}

/// Whether the agent is the first process of a PID namespace of its own, as in a container without `hostPID`. A node of
/// kind has such a namespace too, but there the agent is not the first.
#[must_use]
pub fn sees_only_itself() -> bool {
    !has_host_pids() && std::process::id() == 1
}

/// The inode of the agent's PID namespace, 0 for the initial one (or where it cannot be told).
fn pid_namespace() -> u32 {
    match fs::metadata("/proc/self/ns/pid") {
        Ok(namespace) if namespace.ino() != INITIAL_PID_NAMESPACE => namespace.ino() as u32,
        _ => 0,
    }
}

/// `recursion_misses` is shown in the program's fdinfo only.
fn program_statistics(program: &Program) -> io::Result<ProgramStatistics> {
    let fd = program.fd().map_err(io::Error::other)?;
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd()))?;
    let mut statistics = ProgramStatistics::default();
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim().parse().unwrap_or(0);
        match name {
            "recursion_misses" => statistics.skipped_calls = value,
            "run_cnt" => statistics.runs = value,
            "run_time_ns" => statistics.run_time_ns = value,
            "verified_insns" => statistics.verified_instructions = value as u32,
            _ => {}
        }
    }
    Ok(statistics)
}

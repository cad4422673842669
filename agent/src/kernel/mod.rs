//! The kernel edge: loads the probe, attaches it, and reads what it counted. EDGE.

mod btf;
mod counters;
mod error;
mod patch;
pub mod survey;
mod sys;

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use aya::programs::{BtfTracePoint, Iter};
use aya::{Btf, Ebpf, EbpfLoader};
use aya_obj::btf::BtfKind;
use common::layout::{CONSTANTS, Constants, KernelFunction, Layout};
use common::maps::ProcessKey;

pub use error::LoadError;

use crate::counts::{ProgramRuns, Reading};
use crate::tick::Probe;
use counters::Counters;
use sys::Plain;

static PROBE: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/probe"));
static BASELINE: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/baseline"));
const TRACEPOINT: &str = "skb_copy_datagram_iovec";
/// The inode of the initial PID namespace (`PROC_PID_INIT_INO`).
const INITIAL_PID_NAMESPACE: u64 = 0xeffffffc;

/// The loaded and attached probe.
pub struct Kernel {
    // Dropping it detaches the probe.
    ebpf: Ebpf,
    counters: Counters,
    holds_preemption: bool,
}

impl Kernel {
    /// Loads the probe into the running kernel and attaches it.
    ///
    /// # Errors
    ///
    /// One line with the cause and the cure.
    pub fn load() -> Result<Self, LoadError> {
        let blob = fs::read(error::VMLINUX_BTF).map_err(|source| LoadError::NoBtf { source })?;
        let btf = Btf::parse(&blob, aya::Endianness::default()).map_err(|error| LoadError::Other(error.to_string()))?;
        let mut code = PROBE.to_vec();
        let Linked { holds_preemption, casts } = link_functions(&mut code, &btf)?;
        let tcp_sock = btf.id_by_type_name_kind("tcp_sock", BtfKind::Struct).unwrap_or(0);
        let constants = Plain(Constants {
            layout: resolve(&blob)?,
            pid_namespace: pid_namespace(),
            can_hold_preemption: holds_preemption.into(),
            tcp_sock: if casts { tcp_sock } else { 0 },
        });
        drop(blob);
        let mut ebpf = EbpfLoader::new()
            .btf(Some(&btf))
            .override_global(CONSTANTS, &constants, true)
            .load(&code)
            .map_err(LoadError::from_ebpf)?;
        let counters = Counters::take(&mut ebpf).map_err(|error| LoadError::from_ebpf(error.into()))?;
        attach(&mut ebpf, "receive", &btf)?;
        if let Err(error) = mark_open_connections(&mut ebpf, &btf) {
            tracing::warn!(%error, "Unix connections older than the agent cannot be told from new ones");
        }
        drop((btf, code));
        sys::return_freed_memory();
        Ok(Self { ebpf, counters, holds_preemption })
    }

    /// What the kernel notes of the probe itself.
    ///
    /// # Errors
    ///
    /// What reading /proc said.
    pub fn program_statistics(&self) -> io::Result<ProgramStatistics> {
        let program = self.ebpf.program("receive").ok_or(ErrorKindMissing)?;
        program_statistics(program)
    }
}

impl Probe for Kernel {
    fn read(&mut self, at: Duration) -> io::Result<Reading> {
        let ProgramStatistics { skipped_calls, runs, run_time_ns, .. } = self.program_statistics()?;
        let program = ProgramRuns { calls: runs, time: Duration::from_nanos(run_time_ns) };
        Ok(Reading { program, ..self.counters.read(at, skipped_calls)? })
    }

    fn release(&mut self, ended: &[ProcessKey]) -> io::Result<()> {
        self.counters.release(ended)
    }

    fn description(&self) -> String {
        let preemption = if self.holds_preemption { "preemption held off" } else { "preemption not held off" };
        format!("tp_btf/{TRACEPOINT}, dynptr reader, {preemption}")
    }
}

/// Run statistics of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgramStatistics {
    /// Calls the kernel skipped because the program was already running on that CPU.
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

/// An empty program on the same hook: what benchmarks subtract.
pub struct Baseline(Ebpf);

impl Baseline {
    /// Loads and attaches it.
    ///
    /// # Errors
    ///
    /// One line with the cause and the cure.
    pub fn load() -> Result<Self, LoadError> {
        let btf = Btf::from_sys_fs().map_err(|error| LoadError::Other(error.to_string()))?;
        let mut ebpf = EbpfLoader::new().btf(Some(&btf)).load(BASELINE).map_err(LoadError::from_ebpf)?;
        attach(&mut ebpf, "baseline", &btf)?;
        Ok(Self(ebpf))
    }

    /// Its run statistics.
    ///
    /// # Errors
    ///
    /// What reading /proc said.
    pub fn program_statistics(&self) -> io::Result<ProgramStatistics> {
        program_statistics(self.0.program("baseline").ok_or(ErrorKindMissing)?)
    }
}

fn attach(ebpf: &mut Ebpf, name: &str, btf: &Btf) -> Result<(), LoadError> {
    let program =
        ebpf.program_mut(name).ok_or_else(|| LoadError::Other(format!("the object has no program {name}")))?;
    let program: &mut BtfTracePoint = program.try_into().map_err(LoadError::from_program)?;
    program.load(TRACEPOINT, btf).map_err(LoadError::from_program)?;
    program.attach().map_err(LoadError::from_program)?;
    Ok(())
}

/// Runs the probe's iterator over all open files once. After attaching: a connection opened in
/// between is taken for an old one, never the other way round.
fn mark_open_connections(ebpf: &mut Ebpf, btf: &Btf) -> Result<(), LoadError> {
    let program = ebpf.program_mut("mark_open").ok_or_else(|| LoadError::Other("no iterator".to_owned()))?;
    let program: &mut Iter = program.try_into().map_err(LoadError::from_program)?;
    program.load("task_file", btf).map_err(LoadError::from_program)?;
    let link = program.attach().and_then(|id| program.take_link(id)).map_err(LoadError::from_program)?;
    let mut files = link.into_file().map_err(|error| LoadError::Other(error.to_string()))?;
    io::copy(&mut files, &mut io::sink()).map_err(|error| LoadError::Other(error.to_string()))?;
    Ok(())
}

/// Which of the functions that a kernel may lack were found.
struct Linked {
    holds_preemption: bool,
    casts: bool,
}

/// Links the probe's calls to the kernel's functions. Calls of those that it lacks stay as they
/// are: the constants make them dead code, which the verifier drops.
fn link_functions(code: &mut [u8], btf: &Btf) -> Result<Linked, LoadError> {
    let mut link = |function: KernelFunction| -> Result<bool, LoadError> {
        let Ok(id) = btf.id_by_type_name_kind(function.name(), BtfKind::Func) else { return Ok(false) };
        patch::patch(code, function, id).map_err(|error| LoadError::Other(error.to_string()))?;
        Ok(true)
    };
    if !link(KernelFunction::DynptrFromSkb)? {
        return Err(LoadError::NoFunction(KernelFunction::DynptrFromSkb.name()));
    }
    Ok(Linked {
        holds_preemption: link(KernelFunction::PreemptDisable)? && link(KernelFunction::PreemptEnable)?,
        casts: link(KernelFunction::ReadOnlyCast)?,
    })
}

fn resolve(blob: &[u8]) -> Result<Layout, btf::Error> {
    let types = btf::Btf::parse(blob)?;
    Layout::resolve(|structure, member| types.offset_of(structure, member))
}

/// Whether the agent sees the host's PIDs, by which Scope names processes.
#[must_use]
pub fn has_host_pids() -> bool {
    pid_namespace() == 0
}

/// The inode of the agent's PID namespace, 0 for the initial one (or where it cannot be told).
fn pid_namespace() -> u32 {
    match fs::metadata("/proc/self/ns/pid") {
        Ok(namespace) if namespace.ino() != INITIAL_PID_NAMESPACE => namespace.ino() as u32,
        _ => 0,
    }
}

/// `recursion_misses` is shown in the program's fdinfo only.
fn program_statistics(program: &aya::programs::Program) -> io::Result<ProgramStatistics> {
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

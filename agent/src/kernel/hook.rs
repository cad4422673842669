//! Where the probe is attached, and how. EDGE.

use std::io;

use aya::programs::{BtfTracePoint, FExit, Iter, Program};
use aya::{Btf, Ebpf};

use super::LoadError;

pub const TRACEPOINT: &str = "skb_copy_datagram_iovec";
/// Where programs stand in the probe's place in benchmarks: at the end of every receive that is no peek, since Linux 6.3.
pub const END_TRACEPOINT: &str = "sock_recv_length";
pub const TRACEPOINTS: [&str; 2] = [TRACEPOINT, END_TRACEPOINT];
/// Walks open files, for connections that are older than the agent.
const FILES: &str = "task_file";
/// Walks slabs, for where the kernel maps its pages.
pub const SLABS: &str = "kmem_cache";
pub const ITERATORS: [&str; 2] = [FILES, SLABS];
pub const COPY_FUNCTION: &str = "skb_copy_datagram_iter";

/// Whether another task may come in between the probe's start and its end on a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preemption {
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
pub enum Hook {
    /// The tracepoint before data is copied: reads the kernel's buffers.
    Tracepoint,
    /// The end of the function that copies: reads the process's memory.
    Fexit,
}

impl Hook {
    /// The program, and the one that takes over where the kernel may skip it.
    pub const fn programs(self) -> [&'static str; 2] {
        match self {
            Self::Tracepoint => ["receive", "receive_again"],
            Self::Fexit => ["receive_copied", "receive_copied_again"],
        }
    }

    pub fn name(self) -> String {
        match self {
            Self::Tracepoint => format!("tp_btf/{TRACEPOINT}"),
            Self::Fexit => format!("fexit/{COPY_FUNCTION}"),
        }
    }

    pub fn attach_all(self, ebpf: &mut Ebpf, btf: &Btf, preemption: Preemption) -> Result<(), LoadError> {
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
                let loaded = program.load(COPY_FUNCTION, btf).map_err(LoadError::from_program);
                loaded.map_err(LoadError::at_fexit)?;
                program.attach().map(drop).map_err(LoadError::from_program).map_err(LoadError::at_fexit)
            }
        }
    }
}

pub fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Program, LoadError> {
    ebpf.program_mut(name).ok_or_else(|| LoadError::Other(format!("the object has no program {name}")))
}

pub fn attach_tracepoint(ebpf: &mut Ebpf, name: &str, btf: &Btf) -> Result<(), LoadError> {
    let program: &mut BtfTracePoint = program(ebpf, name)?.try_into().map_err(LoadError::from_program)?;
    program.load(TRACEPOINT, btf).map_err(LoadError::from_program)?;
    program.attach().map_err(LoadError::from_program)?;
    Ok(())
}

/// Runs the probe's iterator over all open files once. After attaching: a connection opened in
/// between is taken for an old one, never the other way round.
pub fn mark_open_connections(ebpf: &mut Ebpf, btf: &Btf) -> Result<(), LoadError> {
    let program: &mut Iter = program(ebpf, "mark_open")?.try_into().map_err(LoadError::from_program)?;
    program.load(FILES, btf).map_err(LoadError::from_program)?;
    let link = program.attach().and_then(|id| program.take_link(id)).map_err(LoadError::from_program)?;
    let mut files = link.into_file().map_err(|error| LoadError::Other(error.to_string()))?;
    io::copy(&mut files, &mut io::sink()).map_err(|error| LoadError::Other(error.to_string()))?;
    Ok(())
}

/// Until Linux 6.18 the kernel runs programs at tracepoints with preemption off. If a vendor's older kernel
/// does not, skipped calls show it.
pub fn tracepoints_are_preemptible() -> bool {
    const LAST_WITHOUT: (u32, u32) = (6, 18);
    let system = rustix::system::uname();
    let release = system.release().to_string_lossy();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(u32::MAX), numbers.next().unwrap_or(0)) > LAST_WITHOUT
}

//! Where the probe is attached, and how. EDGE.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use aya::maps::ProgramArray;
use aya::programs::{BtfTracePoint, FEntry, FExit, Iter, Program, ProgramError, ProgramFd};
use aya::sys::SyscallError;
use aya::{Btf, Ebpf};
use common::series::names::READERS;
use serde::{Deserialize, Serialize};

use super::{LoadError, sys};

pub const TRACEPOINT: &str = "skb_copy_datagram_iovec";
/// Where programs stand in the probe's place in benchmarks: at the end of every receive that is no peek, since Linux 6.3.
pub const END_TRACEPOINT: &str = "sock_recv_length";
/// A tracepoint before a piece of a message is taken from the process, since Linux 6.16; and the function that takes them all.
pub const SEND_FUNCTION: &str = "tcp_sendmsg_locked";
/// The function that takes pages, up to Linux 6.4.
pub const SEND_PAGES_FUNCTION: &str = "do_tcp_sendpages";
/// The program that sees Unix sockets close.
pub const UNIX_CLOSES: &str = "unix_closes";
/// The function that closes one.
pub const UNIX_CLOSE_FUNCTION: &str = "unix_release";
/// Where a connection enters another state.
pub const STATE_TRACEPOINT: &str = "inet_sock_set_state";
pub const TRACEPOINTS: [&str; 4] = [TRACEPOINT, END_TRACEPOINT, SEND_FUNCTION, STATE_TRACEPOINT];
/// Walks open files, for connections that are older than the agent.
const FILES: &str = "task_file";
/// Walks slabs, for where the kernel maps its pages.
pub const SLABS: &str = "kmem_cache";
pub const ITERATORS: [&str; 2] = [FILES, SLABS];
pub const COPY_FUNCTION: &str = "skb_copy_datagram_iter";
pub const FUNCTIONS: [&str; 4] = [COPY_FUNCTION, SEND_FUNCTION, SEND_PAGES_FUNCTION, UNIX_CLOSE_FUNCTION];

/// Whether another task may come in between the probe's start and its end on a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hook {
    /// The tracepoint before data is copied: reads the kernel's buffers.
    Tracepoint,
    /// The end of the function that copies: reads the process's memory.
    Fexit,
}

impl Hook {
    /// The program, and the one that takes over where the kernel may skip it.
    pub const fn programs(self) -> &'static [&'static str; 2] {
        match self {
            Self::Tracepoint => &["receive", "receive_again"],
            Self::Fexit => &["receive_copied", "receive_copied_again"],
        }
    }

    /// The program behind both that looks at responses over Unix sockets.
    pub const fn answers(self) -> &'static str {
        match self {
            Self::Tracepoint => "receive_answers",
            Self::Fexit => "receive_copied_answers",
        }
    }

    /// Loads that program, and has the others call it.
    pub fn attach_answers(self, ebpf: &mut Ebpf, btf: &Btf) -> Result<(), LoadError> {
        let program = program(ebpf, self.answers())?;
        let fd = match self {
            Self::Tracepoint => {
                let program: &mut BtfTracePoint = program.try_into().map_err(LoadError::from_program)?;
                program.load(TRACEPOINT, btf).and_then(|()| program.fd()?.try_clone().map_err(Into::into))
            }
            Self::Fexit => {
                let program: &mut FExit = program.try_into().map_err(LoadError::from_program)?;
                program.load(COPY_FUNCTION, btf).and_then(|()| program.fd()?.try_clone().map_err(Into::into))
            }
        };
        let fd = fd.map_err(LoadError::from_program)?;
        let map = ebpf.map_mut(READERS).ok_or_else(|| LoadError::Other(format!("the object has no map {READERS}")))?;
        ProgramArray::try_from(map).and_then(|mut map| map.set(0, &fd, 0)).map_err(LoadError::from_map)
    }

    pub fn name(self) -> String {
        match self {
            Self::Tracepoint => format!("tp_btf/{TRACEPOINT}"),
            Self::Fexit => format!("fexit/{COPY_FUNCTION}"),
        }
    }

    /// What keeps it attached.
    pub fn attach_all(self, ebpf: &mut Ebpf, btf: &Btf, preemption: Preemption) -> Result<Vec<OwnedFd>, LoadError> {
        let programs = in_use(self.programs(), preemption);
        match self {
            Self::Tracepoint => attach_tracepoints(ebpf, programs, TRACEPOINT, btf),
            Self::Fexit => attach_fexits(ebpf, programs, COPY_FUNCTION, btf),
        }
    }
}

/// Of a program and the one that takes over, those that this kernel needs.
pub const fn in_use(programs: &'static [&'static str; 2], preemption: Preemption) -> &'static [&'static str] {
    let (first, _) = programs.split_at(1);
    if matches!(preemption, Preemption::Held) { programs } else { first }
}

pub fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Program, LoadError> {
    ebpf.program_mut(name).ok_or_else(|| LoadError::Other(format!("the object has no program {name}")))
}

/// A tracepoint calls programs in the order in which they came.
pub fn attach_tracepoints(
    ebpf: &mut Ebpf,
    names: &[&str],
    tracepoint: &str,
    btf: &Btf,
) -> Result<Vec<OwnedFd>, LoadError> {
    names.iter().map(|name| attach_tracepoint(ebpf, name, tracepoint, btf)).collect()
}

/// A trampoline calls them in the opposite order.
pub fn attach_fexits(ebpf: &mut Ebpf, names: &[&str], function: &str, btf: &Btf) -> Result<Vec<OwnedFd>, LoadError> {
    names.iter().rev().map(|name| attach_fexit(ebpf, name, function, btf)).collect()
}

/// Whoever holds what is returned holds the program where it is.
pub fn attach_tracepoint(ebpf: &mut Ebpf, name: &str, tracepoint: &str, btf: &Btf) -> Result<OwnedFd, LoadError> {
    let program: &mut BtfTracePoint = program(ebpf, name)?.try_into().map_err(LoadError::from_program)?;
    program.load(tracepoint, btf).map_err(LoadError::from_program)?;
    attach(program.fd()).map_err(LoadError::from_program)
}

/// At the end of a function; likewise.
pub fn attach_fexit(ebpf: &mut Ebpf, name: &str, function: &str, btf: &Btf) -> Result<OwnedFd, LoadError> {
    let program: &mut FExit = program(ebpf, name)?.try_into().map_err(LoadError::from_program)?;
    program.load(function, btf).map_err(LoadError::from_program).map_err(LoadError::at_fexit)?;
    attach(program.fd()).map_err(LoadError::from_program).map_err(LoadError::at_fexit)
}

fn attach(program: Result<&ProgramFd, ProgramError>) -> Result<OwnedFd, ProgramError> {
    let call = "bpf_raw_tracepoint_open";
    sys::attach(program?.as_fd()).map_err(|io_error| SyscallError { call, io_error }.into())
}

/// Where Unix sockets are closed; likewise.
pub fn attach_unix_closes(ebpf: &mut Ebpf, btf: &Btf) -> Result<OwnedFd, LoadError> {
    let program: &mut FEntry = program(ebpf, UNIX_CLOSES)?.try_into().map_err(LoadError::from_program)?;
    program.load(UNIX_CLOSE_FUNCTION, btf).map_err(LoadError::from_program)?;
    attach(program.fd()).map_err(LoadError::from_program)
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

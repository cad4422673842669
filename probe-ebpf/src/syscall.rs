//! What the current task asked the kernel for, from the registers of its system call.

use aya_ebpf::helpers::{bpf_get_current_task_btf, bpf_task_pt_regs};

use crate::kernel::member;

const MSG_OOB: u32 = 1;
const MSG_PEEK: u32 = 2;

/// Numbers of system calls, and offsets in `struct pt_regs`: both are part of the kernel's ABI.
#[cfg(not(bpf_target_arch = "aarch64"))]
mod abi {
    pub(super) const NUMBER: u32 = 120; // orig_ax
    pub(super) const THIRD: u32 = 96; // dx
    pub(super) const FOURTH: u32 = 56; // r10
    pub(super) const RECVFROM: u64 = 45;
    pub(super) const RECVMSG: u64 = 47;
    pub(super) const RECVMMSG: u64 = 299;
}

/// Numbers of system calls, and offsets in `struct pt_regs`: both are part of the kernel's ABI.
#[cfg(bpf_target_arch = "aarch64")]
mod abi {
    pub(super) const NUMBER: u32 = 8 * 8; // x8
    pub(super) const THIRD: u32 = 2 * 8;
    pub(super) const FOURTH: u32 = 3 * 8;
    pub(super) const RECVFROM: u64 = 207;
    pub(super) const RECVMSG: u64 = 212;
    pub(super) const RECVMMSG: u64 = 243;
}

/// The task reads without consuming, or out of band. (`io_uring` keeps its flags elsewhere: not seen.)
#[inline(always)]
pub(crate) fn is_beside_the_stream() -> bool {
    // SAFETY: the task that `bpf_get_current_task_btf` returns has registers.
    let registers = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as *const u8;
    let flags: u64 = match member(registers, abi::NUMBER) {
        abi::RECVFROM | abi::RECVMMSG => member(registers, abi::FOURTH),
        abi::RECVMSG => member(registers, abi::THIRD),
        _ => 0,
    };
    flags as u32 & (MSG_PEEK | MSG_OOB) != 0
}

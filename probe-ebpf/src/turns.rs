//! Two programs on one hook, where the kernel may skip one.
//!
//! The kernel skips a program that is already running on the same CPU. Where a task can be preempted in the
//! probe, that happens when the probe releases preemption: a tick that came while it was held takes
//! effect there, inside the program, and until the task runs again every other task's call on this CPU is skipped. So a
//! second program stands behind the first and takes over. What the first has done it must not do again: of TCP the position
//! says so, of `AF_UNIX` a mark in the connection, and mostly the note here, which costs least.

use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::helpers::bpf_get_current_task_btf;
use aya_ebpf::macros::btf_map;

/// The program that is called first.
pub(crate) const FIRST: u32 = 1;
/// The one that takes over.
pub(crate) const SECOND: u32 = 2;

/// The last receive of the first program on a CPU that the second has not seen.
#[repr(C)]
struct Seen {
    task: u64,
    skb: u64,
}

/// What the first of two programs saw.
#[btf_map]
static SEEN: PerCpuArray<Seen, 1> = PerCpuArray::new();

impl Seen {
    #[inline(always)]
    fn now(skb: *const u8) -> Self {
        // SAFETY: no arguments.
        Self { task: unsafe { bpf_get_current_task_btf() } as u64, skb: skb as u64 }
    }
}

/// The first program is at this receive.
#[inline(always)]
pub(crate) fn note_first(skb: *const u8) {
    if let Some(seen) = seen() {
        *seen = Seen::now(skb);
    }
}

/// Whether the first program was at this receive. It answers so once.
#[inline(always)]
pub(crate) fn was_first(skb: *const u8) -> bool {
    let Some(seen) = seen() else { return false };
    let now = Seen::now(skb);
    let was_first = seen.task == now.task && seen.skb == now.skb;
    if was_first {
        seen.task = 0;
    }
    was_first
}

#[inline(always)]
fn seen<'a>() -> Option<&'a mut Seen> {
    // SAFETY: per CPU, and plain numbers: where a task is preempted between them, the position of the
    // stream and the connection's mark decide.
    unsafe { SEEN.get_ptr_mut(0)?.as_mut() }
}

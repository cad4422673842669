//! Two programs on one hook, where the kernel may skip one.
//!
//! The kernel skips a program that is already running on the same CPU. Where a task can be preempted in the
//! probe, that happens when the probe releases preemption: a tick that came while it was held takes
//! effect there, inside the program, and until the task runs again every other task's call on this CPU is skipped. So a
//! second program stands behind the first and takes over. What the first has done it must not do again: of TCP the position
//! says so, of `AF_UNIX` a mark in the connection, and mostly the note here, which costs least. The end of a connection can
//! be told twice.

use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::helpers::bpf_get_current_task_btf;
use aya_ebpf::macros::btf_map;

/// The program that is called first.
pub(crate) const FIRST: u32 = 1;
/// The one that takes over.
pub(crate) const SECOND: u32 = 2;

/// The last call of the first program on a CPU that the second has not seen.
#[repr(C)]
struct Seen {
    task: u64,
    /// The buffer that is read, or the socket that is sent on.
    at: u64,
    /// Of a send: where in the stream.
    position: u64,
}

/// A call, as both programs see it.
#[derive(Clone, Copy)]
pub(crate) enum Call {
    /// Of this buffer.
    Receive(*const u8),
    /// On this socket, at this position.
    Send(*const u8, u32),
}

/// What the first of two programs saw: of receives, and of sends.
#[btf_map]
static SEEN: PerCpuArray<Seen, 2> = PerCpuArray::new();

impl Seen {
    #[inline(always)]
    fn now(call: Call) -> Self {
        // SAFETY: no arguments.
        let task = unsafe { bpf_get_current_task_btf() } as u64;
        match call {
            Call::Receive(skb) => Self { task, at: skb as u64, position: 0 },
            Call::Send(socket, position) => Self { task, at: socket as u64, position: position.into() },
        }
    }
}

/// The first program is at this call.
#[inline(always)]
pub(crate) fn note_first(call: Call) {
    if let Some(seen) = seen(call) {
        *seen = Seen::now(call);
    }
}

/// Whether the first program was at this call. It answers so once.
#[inline(always)]
pub(crate) fn was_first(call: Call) -> bool {
    let Some(seen) = seen(call) else { return false };
    let now = Seen::now(call);
    let was_first = seen.task == now.task && seen.at == now.at && seen.position == now.position;
    if was_first {
        seen.task = 0;
    }
    was_first
}

#[inline(always)]
fn seen<'a>(call: Call) -> Option<&'a mut Seen> {
    let side = u32::from(matches!(call, Call::Send(..)));
    // SAFETY: per CPU, and plain numbers: where a task is preempted between them, the position of the
    // stream and the connection's mark decide.
    unsafe { SEEN.get_ptr_mut(side)?.as_mut() }
}

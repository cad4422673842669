//! The maps that kernel and agent share, and the ways into them.

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_SK_STORAGE_GET_F_CREATE};
use aya_ebpf::btf_maps::{Array, HashMap, PerCpuArray, SkStorage, Stack};
use aya_ebpf::helpers::{bpf_get_socket_cookie, bpf_sk_storage_delete, bpf_sk_storage_get};
use aya_ebpf::macros::btf_map;
use common::connection::Connection;
use common::failure::Failure;
use common::maps::{Counts, Events, MARKED, MAX_PROCESSES, Process, ProcessKey, told};
use core::arch::asm;
use core::ffi::c_void;
use core::ptr::{from_mut, from_ref, null_mut};

use crate::kernel::bounded;
use crate::shared::increase;

/// Connection state: it lives and dies with its socket.
#[btf_map]
static CONNECTIONS: SkStorage<Connection> = SkStorage::new();

/// The slot of every process that has counted a request and has not ended.
#[btf_map]
pub(crate) static SLOTS: HashMap<ProcessKey, u32, { MAX_PROCESSES as usize }> = HashMap::new();

/// Who holds a slot.
#[btf_map]
pub(crate) static PROCESSES: Array<Process, { MAX_PROCESSES as usize }> = Array::new();

/// What the holder of a slot has received.
#[btf_map]
pub(crate) static COUNTS: PerCpuArray<Counts, { MAX_PROCESSES as usize }> = PerCpuArray::new();

/// In which slots something was counted since the agent last looked: it maps them into its memory.
#[btf_map]
static MARKS: Array<u64, { MAX_PROCESSES as usize }, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Slots that no process holds: the agent puts all in at the start, and those of ended processes
/// back.
#[btf_map]
pub(crate) static FREE_SLOTS: Stack<u32, { MAX_PROCESSES as usize }> = Stack::new();

/// What happened that is no request.
#[btf_map]
static EVENTS: PerCpuArray<Events, 1> = PerCpuArray::new();

/// What the agent tells: it maps it into its memory.
#[btf_map]
static TOLD: Array<u64, { told::COUNT as usize }, { BPF_F_MMAPABLE as usize }> = Array::new();

/// The state of the connection whose storage is at `socket`, if it has any.
#[inline(always)]
pub(crate) fn connection<'a>(socket: *const u8) -> Option<&'a mut Connection> {
    storage(socket, 0)
}

/// Makes room for a connection's state. What that lacks is counted as a loss.
#[inline(always)]
pub(crate) fn new_connection<'a>(socket: *const u8) -> Option<&'a mut Connection> {
    if takes_room(1)
        && let Some(connection) = storage(socket, BPF_SK_STORAGE_GET_F_CREATE.into())
    {
        return Some(connection);
    }
    count_failure(Failure::StorageFull as u32);
    None
}

/// Makes room for the state of a connection that has none, at once with what is in it. What that lacks is no loss yet.
#[inline(always)]
pub(crate) fn note_connection(socket: *const u8, connection: &mut Connection) {
    if takes_room(1) {
        let flags = BPF_SK_STORAGE_GET_F_CREATE.into();
        // SAFETY: the verifier admits only a socket here, and what is copied is a connection's state.
        unsafe { bpf_sk_storage_get(connections(), socket.cast_mut().cast(), from_mut(connection).cast(), flags) };
    }
}

/// Gives a connection's state back. Nothing may be done with it any more.
#[inline(always)]
pub(crate) fn drop_connection(socket: *const u8) {
    // SAFETY: the verifier admits only a socket here.
    unsafe { bpf_sk_storage_delete(connections(), socket.cast_mut().cast()) };
}

#[inline(always)]
fn storage<'a>(socket: *const u8, flags: u64) -> Option<&'a mut Connection> {
    // SAFETY: the verifier admits only a socket here. The storage lives as long as the socket, and
    // the socket's lock, which the reader holds, makes this the only reference.
    unsafe {
        let address = bpf_sk_storage_get(connections(), socket.cast_mut().cast(), null_mut(), flags);
        address.cast::<Connection>().as_mut()
    }
}

#[inline(always)]
fn connections() -> *mut c_void {
    from_ref(&CONNECTIONS).cast_mut().cast()
}

/// Has the kernel give the socket a number, if it has none: a mark that takes no memory. Others who ask for that
/// number, as `ss` does, leave the same mark.
#[inline(always)]
pub(crate) fn note_seen(socket: *const u8) {
    // SAFETY: the verifier admits only a socket here.
    unsafe { bpf_get_socket_cookie(socket.cast_mut().cast()) };
}

/// Something that the agent tells.
#[inline(always)]
pub(crate) fn told(index: u32) -> u64 {
    // SAFETY: an element of the map, which is aligned and never goes; words are written whole.
    TOLD.get_ptr_mut(index).map_or(0, |told| unsafe { told.read_volatile() })
}

/// Takes the room that so many connections need.
#[inline(always)]
pub(crate) fn takes_room(connections: i64) -> bool {
    let Some(room) = TOLD.get_ptr_mut(told::ROOM) else { return false };
    // SAFETY: an element of the map, which is aligned and never goes; other CPUs and the agent change it as this
    // does, whole.
    unsafe {
        if room.cast::<i64>().read_volatile() <= 0 {
            return false;
        }
        asm!("lock *(u64 *)({room} + 0) += {less}", room = in(reg) room, less = in(reg) -connections, options(nostack));
    }
    true
}

/// Tells the agent that something was counted in this slot. *After* it was counted; what the agent owes to that is
/// said where it reads (`agent/src/kernel/counters.rs`). Only a mark that is not set is written: a line that nobody
/// writes is in every CPU's cache.
#[inline(always)]
pub(crate) fn mark(slot: u32) {
    if let Some(mark) = MARKS.get_ptr_mut(slot) {
        set_mark(mark);
    }
}

#[inline(always)]
pub(crate) fn set_mark(mark: *mut u64) {
    // SAFETY: an element of the map, which is aligned and never goes. It is shared with other CPUs and the agent; a word
    // is read and written whole, and volatile is what there is of that for BPF.
    unsafe {
        if mark.read_volatile() != MARKED {
            mark.write_volatile(MARKED);
        }
    }
}

#[inline(always)]
pub(crate) fn events<'a>() -> Option<&'a mut Events> {
    // SAFETY: per CPU, and one program at a time runs on a CPU.
    unsafe { EVENTS.get_ptr_mut(0)?.as_mut() }
}

#[inline(always)]
pub(crate) fn count_failure(cause: u32) {
    count_failures(cause, 1);
}

/// A connection became certain again.
#[inline(always)]
pub(crate) fn count_resynced() {
    if let Some(events) = events() {
        increase(&mut events.resynced, 1);
    }
}

/// `cause` is a number here because it may come out of a map; one that no cause has is not counted.
#[inline(always)]
pub(crate) fn count_failures(cause: u32, count: u64) {
    const MASK: i32 = Failure::COUNT.next_power_of_two() as i32 - 1;
    let cause = bounded!(cause, MASK);
    if let Some(counter) = events().and_then(|events| events.failures.get_mut(cause as usize)) {
        increase(counter, count);
    }
}

/// Names a loss and goes away.
#[inline(always)]
pub(crate) fn lose<T>(cause: Failure) -> Option<T> {
    count_failure(cause as u32);
    None
}

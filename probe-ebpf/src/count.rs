//! Counts for the process that reads.

use aya_ebpf::helpers::bpf_get_current_task_btf;
use common::connection::Connection;
use common::failure::Failure;
use common::maps::{Counts, ProcessKey, Version};

use crate::cgroups;
use crate::kernel::{constant, member, offset, read_kernel};
use crate::maps::{COUNTS, FREE_SLOTS, PROCESSES, SLOTS, count_failure, count_failures, count_resynced, mark};
use crate::reader::Job;
use crate::shared::increase;

/// PID namespaces nest at most this deep (`MAX_PID_NS_LEVEL`).
const MAX_LEVEL: u32 = 32;
/// `struct upid { int nr; struct pid_namespace *ns; }`.
const UPID_BYTES: u32 = 16;

/// Counts what one read held.
#[inline(always)]
pub(crate) fn found(connection: &mut Connection, job: &Job) -> Option<()> {
    let [http10, http11, http2] = job.requests;
    if http10 | http11 | http2 != 0 {
        let Some(counts) = current(connection) else {
            let lost = u64::from(http10) + u64::from(http11) + u64::from(http2);
            count_failures(Failure::ProcessTableFull as u32, lost);
            return None;
        };
        increase(&mut counts.requests[Version::Http10 as usize], http10.into());
        increase(&mut counts.requests[Version::Http11 as usize], http11.into());
        increase(&mut counts.requests[Version::Http2 as usize], http2.into());
        mark(connection.slot);
    }
    if job.client_hello != 0 {
        tls(connection);
    }
    if job.resynced != 0 {
        count_resynced();
    }
    if let Some(cause) = job.failure() {
        failure(connection, cause);
    }
    Some(())
}

/// Counts a connection that began with a ClientHello of TLS. A function of its own: it is called once a connection.
#[inline(never)]
fn tls(connection: &mut Connection) {
    if let Some(counts) = current(connection) {
        increase(&mut counts.tls_connections, 1);
        mark(connection.slot);
    } else {
        count_failure(Failure::ProcessTableFull as u32);
    }
}

/// Counts a loss, also for the current process if it has counted a request on this connection.
#[inline(always)]
pub(crate) fn failure(connection: &mut Connection, cause: u32) {
    count_failure(cause);
    let (key, _) = current_process();
    if connection.process == key {
        note_unsynced(connection.slot, &key);
    }
}

/// Counts a loss where there is no connection to be kept: for the current process if it has counted a request on another.
#[inline(never)]
pub(crate) fn failure_of_process(cause: u32) {
    count_failure(cause);
    let (key, _) = current_process();
    if let Some(slot) = lookup(&key) {
        note_unsynced(slot, &key);
    }
}

#[inline(always)]
fn note_unsynced(slot: u32, key: &ProcessKey) {
    if holds(slot, key)
        && let Some(counts) = counts(slot)
    {
        increase(&mut counts.unsynced, 1);
        mark(slot);
    }
}

/// The current process, and its first task.
#[inline(always)]
fn current_process() -> (ProcessKey, *const u8) {
    // SAFETY: no arguments.
    let task: *const u8 = unsafe { bpf_get_current_task_btf() }.cast_const().cast();
    let leader: *const u8 = member(task, offset!(task_group_leader));
    let start_ns = member(leader, offset!(task_start_boottime));
    (ProcessKey { start_ns, tgid: member(task, offset!(task_tgid)), reserved: 0 }, leader)
}

/// The counts of the current process. Its slot is kept with the connection: the table is asked
/// once for a connection and a process, unless the agent has given the slot up.
#[inline(always)]
pub(crate) fn current<'a>(connection: &mut Connection) -> Option<&'a mut Counts> {
    let (key, leader) = current_process();
    if connection.process != key || !holds(connection.slot, &key) {
        let slot = find_slot(&key, leader)?;
        if !holds(slot, &key) {
            return None;
        }
        connection.slot = slot;
        connection.process = key;
    }
    counts(connection.slot)
}

/// Whether the slot is this process's. The agent takes the name off one that it gives up, a second before others may
/// have it.
#[inline(always)]
fn holds(slot: u32, key: &ProcessKey) -> bool {
    // SAFETY: an element of the map, which never goes. Its key changes only while nobody counts in it.
    let holder = PROCESSES.get_ptr(slot).map(|process| unsafe { &(*process).key });
    holder.is_some_and(|holder| holder.start_ns == key.start_ns && holder.tgid == key.tgid)
}

#[inline(always)]
fn counts<'a>(slot: u32) -> Option<&'a mut Counts> {
    // SAFETY: per CPU, and one program at a time runs on a CPU.
    unsafe { COUNTS.get_ptr_mut(slot)?.as_mut() }
}

#[inline(always)]
fn find_slot(key: &ProcessKey, leader: *const u8) -> Option<u32> {
    if let Some(slot) = lookup(key) {
        return Some(slot);
    }
    let slot = FREE_SLOTS.pop().ok()??;
    // SAFETY: nobody else has this slot.
    let process = unsafe { PROCESSES.get_ptr_mut(slot)?.as_mut()? };
    process.key = *key;
    cgroups::note(process);
    process.command = member(leader, offset!(task_comm));
    process.pid = visible_pid(key, leader);
    const NO_EXIST: u64 = 1;
    if SLOTS.insert(key, slot, NO_EXIST).is_ok() {
        return Some(slot);
    }
    // Another thread of this process was first.
    let _ = FREE_SLOTS.push(slot, 0);
    lookup(key)
}

#[inline(always)]
fn lookup(key: &ProcessKey) -> Option<u32> {
    // SAFETY: entries are removed only after their process has ended.
    unsafe { SLOTS.get(key) }.copied()
}

/// The process's PID in the agent's PID namespace; 0 where that namespace is not above it.
#[inline(always)]
fn visible_pid(key: &ProcessKey, leader: *const u8) -> u32 {
    let wanted = constant!(pid_namespace);
    if wanted == 0 {
        return key.tgid;
    }
    let pid: *const u8 = member(leader, offset!(task_thread_pid));
    let deepest: u32 = read_kernel(pid, offset!(pid_level));
    for level in 0..MAX_LEVEL {
        if level > deepest {
            break;
        }
        let number = offset!(pid_numbers) + level * UPID_BYTES;
        let namespace: *const u8 = read_kernel::<u64>(pid, number + offset!(upid_ns)) as *const u8;
        let inode: u32 = read_kernel(namespace, offset!(pid_namespace_ns) + offset!(ns_inum));
        if inode == wanted {
            return read_kernel(pid, number + offset!(upid_nr));
        }
    }
    0
}

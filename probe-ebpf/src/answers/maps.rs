//! The maps of responses, and the ways into them.

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_SK_STORAGE_GET_F_CREATE};
use aya_ebpf::btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, SkStorage, Stack};
use aya_ebpf::helpers::{bpf_sk_storage_delete, bpf_sk_storage_get};
use aya_ebpf::macros::btf_map;
use common::exchange::{Displaced, Exchange, Inbox, Streams, Untold};
use common::maps::MAX_PROCESSES;
use common::series::{MAX_SERIES, MAX_SHARDS, Outcome, Series, StreamKey};
use core::ptr::{from_ref, null_mut};

use crate::kernel::bounded;
use crate::reader::Job;

/// HTTP/2 streams, of all connections, that had to make room in theirs. Of the one that was used least recently the duration is not known.
const MAX_DISPLACED: usize = 16_384;

/// The answering direction of connections that carried a request: it lives and dies with the socket.
#[btf_map]
static EXCHANGES: SkStorage<Exchange> = SkStorage::new();

/// The same of HTTP/2.
#[btf_map]
static STREAMS: SkStorage<Streams> = SkStorage::new();

/// What is noted of requests over a Unix socket, at the socket that answers.
#[btf_map]
static INBOXES: SkStorage<Inbox> = SkStorage::new();

#[btf_map]
pub(super) static DISPLACED: LruHashMap<StreamKey, Displaced, MAX_DISPLACED> = LruHashMap::new();

/// The series of a key.
#[btf_map]
pub(super) static SERIES: HashMap<u64, u32, { MAX_SERIES as usize }> = HashMap::new();

/// What was counted in a series, in each shard.
#[btf_map]
pub(super) static VALUES: Array<Series, { (MAX_SERIES * MAX_SHARDS) as usize }, { BPF_F_MMAPABLE as usize }> =
    Array::new();

/// In which series something was counted since the agent last looked.
#[btf_map]
static SERIES_MARKS: Array<u64, { MAX_SERIES as usize }, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Series that nobody has.
#[btf_map]
pub(super) static FREE_SERIES: Stack<u32, { MAX_SERIES as usize }> = Stack::new();

/// What became of the requests of a slot's holder otherwise.
#[btf_map]
pub(super) static OUTCOMES: Array<Outcome, { MAX_PROCESSES as usize }, { BPF_F_MMAPABLE as usize }> = Array::new();

/// What is not known, by cause.
#[btf_map]
static UNTOLD: PerCpuArray<[u64; Untold::COUNT], 1> = PerCpuArray::new();

/// The send being processed.
#[btf_map]
static SEND_JOBS: PerCpuArray<Job, 1> = PerCpuArray::new();

macro_rules! storage {
    ($map:expr, $state:ty, $socket:expr, $flags:expr) => {{
        let map = from_ref(&$map).cast_mut().cast();
        // SAFETY: the verifier admits only a socket here. The storage lives as long as the socket, and the socket's lock, which
        // whoever sends, receives or changes its state holds, makes this the only reference.
        unsafe { bpf_sk_storage_get(map, $socket.cast_mut().cast(), null_mut(), $flags).cast::<$state>().as_mut() }
    }};
}

/// The answering direction of a socket's connection, if it has carried a request.
#[inline(always)]
pub(super) fn exchange<'a>(socket: *const u8) -> Option<&'a mut Exchange> {
    storage!(EXCHANGES, Exchange, socket, 0)
}

/// The same, made if need be.
#[inline(always)]
pub(super) fn exchange_made<'a>(socket: *const u8) -> Option<&'a mut Exchange> {
    storage!(EXCHANGES, Exchange, socket, BPF_SK_STORAGE_GET_F_CREATE.into())
}

/// HTTP/2's part of it, made if need be.
#[inline(always)]
pub(super) fn streams_made<'a>(socket: *const u8) -> Option<&'a mut Streams> {
    storage!(STREAMS, Streams, socket, BPF_SK_STORAGE_GET_F_CREATE.into())
}

/// HTTP/2's part of it.
#[inline(always)]
pub(super) fn streams<'a>(socket: *const u8) -> Option<&'a mut Streams> {
    storage!(STREAMS, Streams, socket, 0)
}

/// Gives it back.
#[inline(always)]
pub(super) fn drop_streams(socket: *const u8) {
    // SAFETY: the verifier admits only a socket here.
    unsafe { bpf_sk_storage_delete(from_ref(&STREAMS).cast_mut().cast(), socket.cast_mut().cast()) };
}

/// What is noted of the requests to this socket, if any was.
#[inline(always)]
pub(super) fn inbox<'a>(socket: *const u8) -> Option<&'a mut Inbox> {
    storage!(INBOXES, Inbox, socket, 0)
}

/// The same, made if need be.
#[inline(always)]
pub(super) fn inbox_made<'a>(socket: *const u8) -> Option<&'a mut Inbox> {
    storage!(INBOXES, Inbox, socket, BPF_SK_STORAGE_GET_F_CREATE.into())
}

#[inline(always)]
pub(super) fn send_job<'a>() -> Option<&'a mut Job> {
    // SAFETY: per CPU, and one program at a time runs on a CPU.
    unsafe { SEND_JOBS.get_ptr_mut(0)?.as_mut() }
}

/// Tells the agent that something was counted in this series; see [`crate::maps::mark`].
#[inline(always)]
pub(super) fn mark_series(series: u32) {
    if let Some(mark) = SERIES_MARKS.get_ptr_mut(series) {
        crate::maps::set_mark(mark);
    }
}

#[inline(always)]
pub(super) fn count_untold(cause: Untold, count: u64) {
    const MASK: i32 = Untold::COUNT.next_power_of_two() as i32 - 1;
    let cause = bounded!(cause as u32, MASK);
    // SAFETY: per CPU, and one program at a time runs on a CPU.
    let counters = unsafe { UNTOLD.get_ptr_mut(0).and_then(|counters| counters.as_mut()) };
    if let Some(counter) = counters.and_then(|counters| counters.get_mut(cause as usize)) {
        *counter += count;
    }
}

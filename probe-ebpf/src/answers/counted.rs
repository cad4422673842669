//! The maps in which responses are counted, and the ways into them.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, Stack};
use aya_ebpf::macros::btf_map;
use common::exchange::{Displaced, Untold};
use common::maps::MAX_PROCESSES;
use common::series::{MAX_SERIES, MAX_SHARDS, Outcome, Series, StreamKey};

use crate::kernel::bounded;
use crate::shared::increase;

/// HTTP/2 streams, of all connections, that had to make room in theirs. Of the one that was used least recently the duration is not known.
const MAX_DISPLACED: usize = 16_384;

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
    // SAFETY: per CPU; who may come in between adds atomically.
    let counters = unsafe { UNTOLD.get_ptr_mut(0).and_then(|counters| counters.as_mut()) };
    if let Some(counter) = counters.and_then(|counters| counters.get_mut(cause as usize)) {
        increase(counter, count);
    }
}

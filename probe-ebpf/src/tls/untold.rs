//! Responses to requests in TLS are not looked at: such a request is one whose response will not be known.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::{Array, PerCpuArray};
use aya_ebpf::macros::btf_map;
use common::connection::Connection;
use common::exchange::Untold;
use common::maps::MAX_PROCESSES;
use common::series::Outcome;

use crate::kernel::add;

/// Those of the probe; one entry where responses are not counted.
#[btf_map]
static OUTCOMES: Array<Outcome, { MAX_PROCESSES as usize }, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Likewise.
#[btf_map]
static UNTOLD: PerCpuArray<[u64; Untold::COUNT], 1> = PerCpuArray::new();

/// So many requests were counted on this connection.
#[inline(always)]
pub(crate) fn note(connection: &Connection, requests: u32) {
    if requests == 0 {
        return;
    }
    // SAFETY: elements of maps, which never go; others add to them as this does.
    unsafe {
        if let Some(outcome) = OUTCOMES.get_ptr_mut(connection.slot) {
            add(&mut (*outcome).lost, requests.into());
        }
        if let Some(untold) = UNTOLD.get_ptr_mut(0) {
            add(&mut (*untold)[Untold::Tls as usize], requests.into());
        }
    }
}

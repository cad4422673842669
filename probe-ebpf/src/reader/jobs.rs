//! Where the job of a CPU is kept.

use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::btf_map;

use super::job::Job;

/// One program at a time runs on a CPU, so one a CPU is enough.
#[btf_map]
static JOBS: PerCpuArray<Job, 1> = PerCpuArray::new();

#[inline(always)]
pub(crate) fn job<'a>() -> Option<&'a mut Job> {
    // SAFETY: per CPU, and one program at a time runs on a CPU.
    unsafe { JOBS.get_ptr_mut(0)?.as_mut() }
}

//! The only unsafe code of the agent: what aya does not offer of the bpf system call. EDGE.
#![expect(unsafe_code, reason = "plain-data markers for aya, and one system call that it does not wrap")]

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use aya::Pod;
use aya::maps::MapData;
use aya_obj::generated::{bpf_attr, bpf_cmd};
use common::layout::Constants;
use common::maps::{Counts, Events, Process, ProcessKey};
use common::pages::{Compared, SlabOffsets};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A type of `common` as a map's key or value.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct Plain<T>(pub(super) T);

// SAFETY: these are repr(C) without padding, and every bit pattern is valid.
unsafe impl Pod for Plain<Constants> {}
// SAFETY: as above.
unsafe impl Pod for Plain<Compared> {}
// SAFETY: as above.
unsafe impl Pod for Plain<SlabOffsets> {}
// SAFETY: as above.
unsafe impl Pod for Plain<Counts> {}
// SAFETY: as above.
unsafe impl Pod for Plain<Events> {}
// SAFETY: as above.
unsafe impl Pod for Plain<Process> {}
// SAFETY: as above.
unsafe impl Pod for Plain<ProcessKey> {}

/// Gives memory that was freed back to the system: describing the kernel's types takes tens of
/// megabytes for a moment, and the allocator would keep most of it.
pub(super) fn return_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no arguments that could be wrong; only free memory is touched.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The values of an array map of `u64` that may be mapped (`BPF_F_MMAPABLE`), shared with the kernel.
pub(super) struct MappedArray {
    /// Programs that are loaded later ask for it.
    _map: MapData,
    values: NonNull<AtomicU64>,
    length: usize,
}

// SAFETY: it owns its mapping, in which there is nothing but atomics.
unsafe impl Send for MappedArray {}

impl MappedArray {
    /// Maps the first `length` values of the map.
    pub(super) fn map(map: MapData, length: usize) -> io::Result<Self> {
        let (bytes, access) = (length * size_of::<AtomicU64>(), ProtFlags::READ | ProtFlags::WRITE);
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let address = unsafe { mmap(std::ptr::null_mut(), bytes, access, MapFlags::SHARED, map.fd(), 0) }?;
        let values = NonNull::new(address.cast()).ok_or_else(|| io::Error::other("mapped at 0"))?;
        Ok(Self { _map: map, values, length })
    }

    pub(super) fn values(&self) -> &[AtomicU64] {
        // SAFETY: mapped at a page's begin for as long as `self` lives, zeroed by the kernel; who else writes there
        // writes whole values, as atomics may be written.
        unsafe { std::slice::from_raw_parts(self.values.as_ptr(), self.length) }
    }
}

impl Drop for MappedArray {
    fn drop(&mut self) {
        // SAFETY: mapped in `map`, with this length; no reference outlives `self`.
        let unmapped = unsafe { munmap(self.values.as_ptr().cast(), self.length * size_of::<AtomicU64>()) };
        debug_assert!(unmapped.is_ok(), "it was mapped");
    }
}

/// One call of `BPF_MAP_LOOKUP_BATCH` on a per-CPU array of [`Counts`] (Linux 5.13): as many entries from `first` on
/// as there are `keys`, or as many as there are. `values` receives a value for each entry and each possible CPU.
/// Returns the number of entries.
pub(super) fn lookup_batch(
    map: BorrowedFd<'_>,
    first: u32,
    keys: &mut [u32],
    values: &mut [Counts],
    cpus: usize,
) -> io::Result<usize> {
    assert!(values.len() >= keys.len() * cpus, "the kernel writes a value for each key and CPU");
    // The kernel asks for the entry before the first.
    let previous = first.wrapping_sub(1);
    let mut next = 0_u32;
    // SAFETY: every field of this union is plain data, for which zeros are valid.
    let mut attributes: bpf_attr = unsafe { std::mem::zeroed() };
    // SAFETY: plain data.
    let batch = unsafe { &mut attributes.batch };
    batch.in_batch = if first > 0 { (&raw const previous).addr() as u64 } else { 0 };
    batch.out_batch = (&raw mut next).addr() as u64;
    batch.keys = keys.as_mut_ptr().addr() as u64;
    batch.values = values.as_mut_ptr().addr() as u64;
    batch.count = keys.len() as u32;
    batch.map_fd = map.as_raw_fd() as u32;
    // SAFETY: the kernel writes at most `count` keys, `count` values for each CPU, and one key to
    // `out_batch`; all three live until the call returns, and their addresses were just taken.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, bpf_cmd::BPF_MAP_LOOKUP_BATCH, &raw mut attributes, size_of::<bpf_attr>())
    };
    if result < 0 {
        let error = io::Error::last_os_error();
        // The end of the array: what there was has been written.
        if error.raw_os_error() != Some(libc::ENOENT) {
            return Err(error);
        }
    }
    // SAFETY: plain data.
    Ok(unsafe { attributes.batch.count } as usize)
}

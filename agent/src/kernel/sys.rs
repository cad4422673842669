//! The only unsafe code of the agent: what aya does not offer of the bpf system call. EDGE.
#![expect(unsafe_code, reason = "plain-data markers for aya, and one system call that it does not wrap")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use aya::Pod;
use aya::maps::MapData;
use aya_obj::Function;
use aya_obj::generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_prog_type};
use common::exchange::{Streams, Untold};
use common::layout::Constants;
use common::maps::{Counts, Events, Process, ProcessKey};
use common::pages::{Compared, SlabOffsets};
use common::series::{Outcome, Series};
use common::tls::session::{Answering, Key};
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
// SAFETY: as above.
unsafe impl Pod for Plain<Key> {}
// SAFETY: as above.
unsafe impl Pod for Plain<Series> {}
// SAFETY: as above.
unsafe impl Pod for Plain<Outcome> {}
// SAFETY: as above.
unsafe impl Pod for Plain<[u64; Untold::COUNT]> {}
// SAFETY: as above; of its phases the program writes none that there is not.
unsafe impl Pod for Plain<Answering> {}
// SAFETY: as above.
unsafe impl Pod for Plain<Streams> {}

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

/// Attaches a program that says itself where it belongs (`BPF_RAW_TRACEPOINT_OPEN`), for as long as somebody holds what is
/// returned. aya attaches, too, but hands out no descriptor that could be passed on.
pub(super) fn attach(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attributes = no_attributes();
    attributes.raw_tracepoint.prog_fd = program.as_raw_fd() as u32;
    // SAFETY: the attributes are complete, and the command gives a descriptor.
    unsafe { descriptor(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attributes) }
}

/// Hands the types of a program to the kernel (`BPF_BTF_LOAD`).
pub(super) fn load_types(types: &[u8]) -> io::Result<OwnedFd> {
    let mut attributes = no_attributes();
    attributes.__bindgen_anon_7.btf = types.as_ptr().addr() as u64;
    attributes.__bindgen_anon_7.btf_size = types.len() as u32;
    // SAFETY: the kernel only reads `types`, which live until the call returns; the command gives a descriptor.
    unsafe { descriptor(bpf_cmd::BPF_BTF_LOAD, &mut attributes) }
}

/// Loads a program for `uprobe_multi` links (`BPF_PROG_LOAD`), which aya cannot be told to. What the verifier says goes into `log`,
/// unless that is empty.
pub(super) fn load_for_uprobes(
    (license, function): (&CStr, &Function),
    types: BorrowedFd<'_>,
    log: &mut [u8],
) -> io::Result<OwnedFd> {
    let functions = function.func_info.func_info_bytes();
    let mut attributes = no_attributes();
    // SAFETY: plain data.
    let program = unsafe { &mut attributes.__bindgen_anon_3 };
    program.prog_type = bpf_prog_type::BPF_PROG_TYPE_KPROBE as u32;
    program.expected_attach_type = bpf_attach_type::BPF_TRACE_UPROBE_MULTI as u32;
    program.insns = function.instructions.as_ptr().addr() as u64;
    program.insn_cnt = function.instructions.len() as u32;
    program.license = license.as_ptr().addr() as u64;
    program.prog_btf_fd = types.as_raw_fd() as u32;
    program.func_info = functions.as_ptr().addr() as u64;
    program.func_info_cnt = function.func_info.len() as u32;
    program.func_info_rec_size = function.func_info_rec_size as u32;
    if !log.is_empty() {
        program.log_level = 1;
        program.log_buf = log.as_mut_ptr().addr() as u64;
        program.log_size = log.len() as u32;
    }
    // SAFETY: the kernel writes into `log` alone, at most its length; all it reads lives until the call returns; the command gives a
    // descriptor.
    unsafe { descriptor(bpf_cmd::BPF_PROG_LOAD, &mut attributes) }
}

/// Puts a program at many places of a file (`BPF_LINK_CREATE`, `uprobe_multi`), in their order, for as long as somebody holds
/// what is returned: for all processes, or for one only.
pub(super) fn link_uprobes(
    program: BorrowedFd<'_>,
    file: &CStr,
    (offsets, cookies): (&[u64], &[u64]),
    only_pid: Option<u32>,
) -> io::Result<OwnedFd> {
    assert_eq!(offsets.len(), cookies.len(), "the kernel reads a cookie for each offset");
    let mut attributes = no_attributes();
    // SAFETY: plain data.
    let link = unsafe { &mut attributes.link_create };
    link.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
    link.attach_type = bpf_attach_type::BPF_TRACE_UPROBE_MULTI as u32;
    // SAFETY: plain data.
    let places = unsafe { &mut link.__bindgen_anon_3.uprobe_multi };
    places.path = file.as_ptr().addr() as u64;
    places.offsets = offsets.as_ptr().addr() as u64;
    places.cookies = cookies.as_ptr().addr() as u64;
    places.cnt = offsets.len() as u32;
    places.pid = only_pid.unwrap_or_default();
    // SAFETY: the kernel only reads what is pointed to, which lives until the call returns; the command gives a descriptor.
    unsafe { descriptor(bpf_cmd::BPF_LINK_CREATE, &mut attributes) }
}

/// What a command is given, still empty.
const fn no_attributes() -> bpf_attr {
    // SAFETY: every field of this union is plain data, for which zeros are valid.
    unsafe { std::mem::zeroed() }
}

/// # Safety
///
/// What the attributes point to must be there, and the command's result a descriptor.
unsafe fn descriptor(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<OwnedFd> {
    // SAFETY: the caller's.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<bpf_attr>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor, which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(result as i32) })
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
    let mut attributes = no_attributes();
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

//! The read being processed: how far it is, and what was found in it.

use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::btf_map;
use common::machine::Read;
use common::maps::Version;
use common::window::SLACK;
use common::word;

/// Bytes of a read that are copied at a time; an ordinary head fits.
pub(super) const COPIED: u32 = 1024;
const _: () = assert!(COPIED.is_power_of_two() && COPIED >= SLACK);

/// The highest address that a masked one can be. The window is that large, and more: one operation
/// shows the verifier that an address is within it.
pub(super) const fn highest(capacity: u32) -> i32 {
    2 * capacity as i32 - 1
}

/// One read to process, and what was found in it so far. It is kept in a map: of what is on the
/// stack the verifier follows every value, of this none.
#[repr(C)]
pub(crate) struct Job {
    /// A copy of the stretch of the read that is being looked at, and bytes of any value.
    pub(super) window: [u8; (2 * COPIED + 2 * word::BYTES) as usize],
    pub(super) read: Read,
    /// Requests by version.
    pub(crate) requests: [u32; Version::ALL.len()],
    /// The loss that ended it, and one more; 0 for none.
    pub(super) failure: u32,
    /// The connection is not certain: 1 while no request was found, else 0.
    pub(super) trial: u32,
    /// A connection became certain again: 1, else 0.
    pub(crate) resynced: u32,
    /// [`Direct`](super::Direct), [`ThroughDynptr`](super::ThroughDynptr): where the read begins in the buffer.
    pub(super) skb_offset: u32,
    /// [`User`](super::User): where the window was last filled from.
    pub(super) cursor: Cursor,
    /// [`Direct`](super::Direct): the same.
    pub(super) spot: Spot,
}

impl Job {
    /// One store after the other: the compiler would call a function that clears them byte by byte.
    #[inline(always)]
    pub(super) fn begin(&mut self, read: Read, trial: bool) {
        macro_rules! set {
            ($($member:ident).+, $value:expr) => {
                // SAFETY: a member of this.
                unsafe { (&raw mut self.$($member).+).write_volatile($value) }
            };
        }
        set!(read.offset, read.offset);
        set!(read.end, read.end);
        set!(read.window_start, read.window_start);
        set!(read.window_end, read.window_end);
        for requests in &mut self.requests {
            // SAFETY: a member of this.
            unsafe { core::ptr::from_mut(requests).write_volatile(0) };
        }
        set!(failure, 0);
        set!(trial, trial.into());
        set!(resynced, 0);
    }

    /// The loss that ended the read.
    #[inline(always)]
    pub(crate) fn failure(&self) -> Option<u32> {
        self.failure.checked_sub(1)
    }
}

/// The segment of the process's memory that is being looked at.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Cursor {
    /// Its `struct iovec`; 0 if there is but one segment.
    pub(super) segment: u64,
    /// The address of its first byte that belongs to the read.
    pub(super) address: u64,
    /// The offset in the read of that byte.
    pub(super) start: u32,
    /// The offset in the read behind the segment's last byte.
    pub(super) end: u32,
    /// Steps taken so far.
    pub(super) steps: u32,
    pub(super) reserved: u32,
}

/// The stretch of the buffer that is being looked at.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Spot {
    /// Where the window is.
    pub(super) window: u64,
    /// The buffer, or the one of its fragment list, that the piece is in.
    pub(super) buffer: u64,
    /// The piece: 0 is the linear part, others are fragments.
    pub(super) piece: u32,
    /// The offset in the whole of the piece's first byte.
    pub(super) start: u32,
}

/// One program at a time runs on a CPU, so one a CPU is enough.
#[btf_map]
static JOBS: PerCpuArray<Job, 1> = PerCpuArray::new();

#[inline(always)]
pub(super) fn job<'a>() -> Option<&'a mut Job> {
    // SAFETY: per CPU, and one program at a time runs on a CPU.
    unsafe { JOBS.get_ptr_mut(0)?.as_mut() }
}

//! The process's memory: segments, and the window over them.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use core::ffi::c_void;

use super::job::{COPIED, Cursor, Job, highest};
use super::window::Fill;
use crate::kernel::{bounded, read_kernel};

/// `struct iovec { void *iov_base; size_t iov_len; }`.
const IOVEC_BYTES: u64 = 16;
/// Steps from segment to segment that one read may take: there are at most 1024 (`UIO_MAXIOV`), and each is
/// stepped over once on the way back and once on the way forth.
const MAX_STEPS: u32 = 2 * 1024 + 2;

impl Cursor {
    #[inline(always)]
    pub(crate) fn new(segment: u64, address: u64, (start, end): (u32, u32)) -> Self {
        Self { segment, address, start, end, steps: 0, reserved: 0 }
    }

    /// Goes to the segment before this one, or to the one behind it.
    #[inline(always)]
    fn step(&mut self, back: bool, end: u32) -> Option<()> {
        if self.segment == 0 || self.steps == MAX_STEPS {
            return None;
        }
        self.steps += 1;
        self.segment = if back { self.segment - IOVEC_BYTES } else { self.segment + IOVEC_BYTES };
        let [base, length]: [u64; 2] = read_kernel(self.segment as *const u8, 0);
        let room = if back { self.start } else { end - self.end };
        let taken = if length < room.into() { length as u32 } else { room };
        if back {
            self.end = self.start;
            self.start -= taken;
            self.address = base.wrapping_add(length - u64::from(taken));
        } else {
            self.start = self.end;
            self.end += taken;
            self.address = base;
        }
        Some(())
    }
}

/// Reads where the cursor of the job stands.
pub(crate) struct UserFill;

impl Fill for UserFill {
    #[inline(always)]
    fn fill(&self, job: *mut Job, offset: u32, length: u64) -> Option<u32> {
        // SAFETY: the caller's job; its window is not part of this.
        let (cursor, end) = unsafe { (&mut (*job).cursor, (*job).read.end) };
        if offset < cursor.start || offset >= cursor.end {
            cursor.step(offset < cursor.start, end)?;
            return Some(0);
        }
        let here = u64::from(cursor.end - offset);
        let length = bounded!(if here < length { here as u32 } else { length as u32 }, highest(COPIED));
        let from = cursor.address.wrapping_add(u64::from(offset - cursor.start));
        // SAFETY: the window holds `length` bytes; the helper checks the source.
        let result =
            unsafe { bpf_probe_read_user((&raw mut (*job).window).cast(), length as u32, from as *const c_void) };
        (result == 0).then_some(length as u32)
    }
}

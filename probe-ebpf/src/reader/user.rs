//! Reads the process's own memory, after bytes were copied to it: for kernels that do not let a
//! tracing program read their buffers.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use common::connection::Connection;
use core::ffi::c_void;

use super::Reader;
use super::job::{COPIED, Cursor, Job, highest};
use super::window::{Fill, Work, take_turns};
use crate::kernel::{bounded, constant, member, read_kernel};

/// `struct iovec { void *iov_base; size_t iov_len; }`.
const IOVEC_BYTES: u64 = 16;
/// Steps from segment to segment that one read may take: there are at most 1024 (`UIO_MAXIOV`), and each is
/// stepped over once on the way back and once on the way forth.
const MAX_STEPS: u32 = 2 * 1024 + 2;

/// Where a read was copied to.
pub(crate) struct User {
    /// `struct iov_iter *`, which the copy has moved on.
    pub(crate) iterator: *const u8,
    /// The offset in the buffer of the first byte copied.
    pub(crate) skb_offset: u32,
    /// How many bytes were copied.
    pub(crate) length: u32,
}

impl Reader for User {
    /// A peek behind bytes that were peeked before copies others than those the stream expects.
    #[inline(always)]
    fn suits(&self, skb_offset: u32) -> bool {
        skb_offset == self.skb_offset
    }

    #[inline(always)]
    fn take_turns(&self, _skb_offset: u32, job: &mut Job, connection: &mut Connection) -> bool {
        let Some(cursor) = self.last_segment() else { return false };
        job.cursor = cursor;
        take_turns(Work { job, connection, fill: UserFill });
        true
    }
}

impl User {
    /// The segment in which the copy ended.
    #[inline(always)]
    fn last_segment(&self) -> Option<Cursor> {
        let kind: u8 = member(self.iterator, constant!(iterator.kind));
        let filled: u64 = member(self.iterator, constant!(iterator.filled));
        let end = self.length;
        if u32::from(kind) == constant!(iterator.is_buffer) {
            let base: u64 = read_kernel(self.iterator, constant!(iterator.buffer));
            let address = base.wrapping_add(filled).wrapping_sub(end.into());
            return Some(Cursor { segment: 0, address, start: 0, end, steps: 0, reserved: 0 });
        }
        if u32::from(kind) != constant!(iterator.is_segments) {
            return None;
        }
        let segment: u64 = read_kernel(self.iterator, constant!(iterator.segments));
        let last = if filled < end.into() { filled as u32 } else { end };
        let base: u64 = if last == 0 {
            // Nothing is in it: it may lie behind the last one.
            0
        } else {
            read_kernel(segment as *const u8, 0)
        };
        let address = base.wrapping_add(filled - u64::from(last));
        Some(Cursor { segment, address, start: end - last, end, steps: 0, reserved: 0 })
    }
}

impl Cursor {
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
struct UserFill;

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

//! Reads the process's own memory, after bytes were copied to it: for kernels that do not let a
//! tracing program read their buffers.

use common::connection::Connection;
use common::exchange::UnixWaiting;

use super::Reader;
use super::cursor::UserFill;
use super::job::{Cursor, Job};
use super::jobs::job;
use super::window::{Work, take_turns};
use crate::answers::{Bytes, Parts, turns};
use crate::kernel::{constant, member, read_kernel};

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

impl Bytes for User {
    type Waiting = UnixWaiting;

    #[inline(always)]
    fn job<'a>(&self) -> Option<&'a mut Job> {
        job()
    }

    #[inline(always)]
    fn open(&self, job: &mut Job, _length: u32) -> bool {
        let Some(cursor) = self.last_segment() else { return false };
        job.cursor = cursor;
        true
    }

    #[inline(always)]
    fn take<const FRAMES: bool>(&self, parts: &Parts<Self::Waiting>) -> bool {
        turns::<UserFill, _, FRAMES>(parts, UserFill);
        true
    }
}

impl User {
    /// The segment in which the copy ended.
    #[inline(always)]
    pub(crate) fn last_segment(&self) -> Option<Cursor> {
        let kind: u8 = member(self.iterator, constant!(iterator.kind));
        let filled: u64 = member(self.iterator, constant!(iterator.filled));
        let end = self.length;
        if u32::from(kind) == constant!(iterator.is_buffer) {
            let base: u64 = read_kernel(self.iterator, constant!(iterator.buffer));
            let address = base.wrapping_add(filled).wrapping_sub(end.into());
            return Some(Cursor::new(0, address, (0, end)));
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
        Some(Cursor::new(segment, address, (end - last, end)))
    }
}

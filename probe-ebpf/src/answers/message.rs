//! Where the bytes are that a process hands to the kernel.

use common::exchange::Waiting;

use crate::kernel::{constant, member, offset, read_kernel};
use crate::reader::{Cursor, Job, User, UserFill};

use super::first::first_turn;
use super::follow::{Bytes, Parts, turns};
use super::maps;

/// What is sent.
pub(super) trait Message {
    /// Where its next bytes are, of which up to `length` matter; `None`: not in the process's memory.
    fn cursor(&self, length: u32) -> Option<Cursor>;
}

impl<M: Message> Bytes for M {
    type Waiting = Waiting;

    #[inline(always)]
    fn job<'a>(&self) -> Option<&'a mut Job> {
        maps::send_job()
    }

    #[inline(always)]
    fn open(&self, job: &mut Job, length: u32) -> bool {
        let Some(cursor) = self.cursor(length) else { return false };
        job.cursor = cursor;
        true
    }

    #[inline(always)]
    fn take<const FRAMES: bool>(&self, parts: &Parts<Self::Waiting>) -> bool {
        if FRAMES || first_turn(parts, UserFill) {
            turns::<UserFill, _, FRAMES>(parts, UserFill);
        }
        true
    }
}

/// A `struct msghdr` of which nothing was taken yet this time.
pub(super) struct Ahead(pub(super) *const u8);

impl Message for Ahead {
    #[inline(always)]
    fn cursor(&self, length: u32) -> Option<Cursor> {
        let iterator = offset!(msg_iterator);
        let kind: u8 = member(self.0, iterator + constant!(iterator.kind));
        let filled: u64 = member(self.0, iterator + constant!(iterator.filled));
        if u32::from(kind) == constant!(iterator.is_buffer) {
            let base: u64 = member(self.0, iterator + constant!(iterator.buffer));
            return Some(Cursor::new(0, base.wrapping_add(filled), (0, length)));
        }
        if u32::from(kind) != constant!(iterator.is_segments) {
            return None;
        }
        let segment: u64 = member(self.0, iterator + constant!(iterator.segments));
        let [base, size]: [u64; 2] = read_kernel(segment as *const u8, 0);
        let size = size.saturating_sub(filled);
        let end = if size < u64::from(length) { size as u32 } else { length };
        Some(Cursor::new(segment, base.wrapping_add(filled), (0, end)))
    }
}

/// A `struct msghdr` of which these bytes were taken.
pub(super) struct Behind(pub(super) *const u8);

impl Message for Behind {
    #[inline(always)]
    fn cursor(&self, length: u32) -> Option<Cursor> {
        let place = offset!(msg_iterator) as usize;
        // SAFETY: a member of the message.
        let iterator = unsafe { self.0.add(place) };
        User { iterator, skb_offset: 0, length }.last_segment()
    }
}

/// Pages of a file.
pub(super) struct Pages;

impl Message for Pages {
    #[inline(always)]
    fn cursor(&self, _length: u32) -> Option<Cursor> {
        None
    }
}

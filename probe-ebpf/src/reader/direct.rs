//! Reads the kernel's buffer where it is, before its bytes are copied to the process: nothing is called, and nothing
//! is copied. Needs loads of any address, which the verifier lets pass since Linux 6.17; the kernel turns a fault into zeros.

use common::connection::Connection;
use common::exchange::UnixWaiting;

use super::Reader;
use super::job::{Job, Spot};
use super::jobs::job;
use super::window::{Fill, Work, first_turn_once, take_turns};
use crate::answers::{Bytes, Parts, turns};
use crate::kernel::untyped;
use crate::skb;
use crate::socket::unix_offset;

/// A buffer: linear part, fragments, fragment list.
pub(crate) struct Direct(pub(crate) *const u8);

impl Reader for Direct {
    #[inline(always)]
    fn take_turns(&self, skb_offset: u32, job: &mut Job, connection: &mut Connection) -> bool {
        job.skb_offset = skb_offset;
        job.spot = Spot { window: 0, buffer: self.0 as u64, piece: 0, start: 0 };
        self.first_window(job);
        let mut work = Work { job, connection, fill: DirectFill { head: self.0 as u64 } };
        // An ordinary request is one turn: no call for it.
        if first_turn_once(&mut work) {
            take_turns(work);
        }
        true
    }
}

impl Direct {
    /// Opens the window where reads mostly begin: in the linear part, or in the first fragment where that is empty. The
    /// verifier knows the type of this buffer, so most of these are plain loads.
    #[inline(always)]
    fn first_window(&self, job: &mut Job) {
        let read = &mut job.read;
        let at = job.skb_offset.wrapping_add(read.offset);
        let linear = skb::linear_part(self.0);
        let piece = if linear.length == 0 { skb::fragment(skb::shared_info(self.0), 0) } else { linear };
        if at >= piece.length || piece.address == 0 {
            return;
        }
        let (there, rest) = (piece.length - at, read.end - read.offset);
        let length = if there < rest { there } else { rest };
        let length = if length < DirectFill::CAPACITY { length } else { DirectFill::CAPACITY };
        read.window_start = read.offset;
        read.window_end = read.offset + length;
        job.spot.window = piece.address.wrapping_add(at.into());
    }
}

impl Bytes for Direct {
    type Waiting = UnixWaiting;

    #[inline(always)]
    fn job<'a>(&self) -> Option<&'a mut Job> {
        job()
    }

    #[inline(always)]
    fn open(&self, job: &mut Job, _length: u32) -> bool {
        job.skb_offset = unix_offset(self.0);
        job.spot = Spot { window: 0, buffer: self.0 as u64, piece: 0, start: 0 };
        true
    }

    #[inline(always)]
    fn take<const FRAMES: bool>(&self, parts: &Parts<Self::Waiting>) -> bool {
        turns::<DirectFill, _, FRAMES>(parts, DirectFill { head: self.0 as u64 });
        true
    }
}

struct DirectFill {
    /// The whole buffer.
    head: u64,
}

impl Fill for DirectFill {
    const CAPACITY: u32 = 1 << 15;

    #[inline(always)]
    fn window(&self, job: *mut Job) -> *const u8 {
        // SAFETY: the caller's job.
        untyped(unsafe { (*job).spot.window })
    }

    /// Goes on by a piece where that does not hold the byte.
    #[inline(always)]
    fn fill(&self, job: *mut Job, offset: u32, length: u64) -> Option<u32> {
        // SAFETY: the caller's job.
        let (spot, at) = unsafe { (&mut (*job).spot, (*job).skb_offset.wrapping_add(offset)) };
        let buffer = untyped(spot.buffer);
        let shared = skb::shared_info(buffer);
        let piece = if spot.piece == 0 { skb::linear_part(buffer) } else { skb::fragment(shared, spot.piece - 1) };
        let within = at.wrapping_sub(spot.start);
        if within < piece.length {
            if piece.address == 0 {
                return None;
            }
            let there = piece.length - within;
            spot.window = piece.address.wrapping_add(within.into());
            return Some(if u64::from(there) < length { there } else { length as u32 });
        }
        spot.start = spot.start.wrapping_add(piece.length);
        if spot.piece < skb::fragment_count(shared) {
            spot.piece += 1;
            return Some(0);
        }
        spot.piece = 0;
        let list = skb::first_listed(shared);
        spot.buffer = if spot.buffer == self.head {
            list
        } else if list == 0 {
            skb::next_listed(buffer)
        } else {
            // A list within a list: the kernel makes none.
            0
        };
        (spot.buffer != 0).then_some(0)
    }
}

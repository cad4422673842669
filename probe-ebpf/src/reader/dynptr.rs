//! Reads the kernel's buffer through a dynptr, before its bytes are copied to the process.

use aya_ebpf::helpers::bpf_dynptr_read;
use common::connection::Connection;
use common::exchange::UnixWaiting;

use super::Reader;
use super::job::Job;
use super::jobs::job;
use super::window::{Fill, Work, first_turn_once, take_turns};
use crate::answers::{Bytes, Parts, turns};
use crate::kernel::{Dynptr, dynptr_from_skb};
use crate::socket::unix_offset;

/// The bytes of a buffer, wherever the kernel keeps them: linear part, fragments, fragment list.
pub(crate) struct ThroughDynptr(pub(crate) *const u8);

impl Bytes for ThroughDynptr {
    type Waiting = UnixWaiting;

    #[inline(always)]
    fn job<'a>(&self) -> Option<&'a mut Job> {
        job()
    }

    #[inline(always)]
    fn open(&self, job: &mut Job, _length: u32) -> bool {
        job.skb_offset = unix_offset(self.0);
        true
    }

    #[inline(always)]
    fn take<const FRAMES: bool>(&self, parts: &Parts<Self::Waiting>) -> bool {
        turns_with_dynptr::<FRAMES>(self.0, parts)
    }
}

/// As [`with_dynptr`], of responses.
#[inline(never)]
fn turns_with_dynptr<const FRAMES: bool>(skb: *const u8, parts: &Parts<UnixWaiting>) -> bool {
    let mut dynptr = Dynptr::uninit();
    if !dynptr_from_skb(skb, &mut dynptr) {
        return false;
    }
    turns::<DynptrFill, _, FRAMES>(parts, DynptrFill { dynptr: &raw const dynptr });
    true
}

struct DynptrFill {
    dynptr: *const Dynptr,
}

impl Reader for ThroughDynptr {
    #[inline(always)]
    fn take_turns(&self, skb_offset: u32, job: &mut Job, connection: &mut Connection) -> bool {
        job.skb_offset = skb_offset;
        with_dynptr(self.0, job, connection)
    }
}

/// A function of its own, because the verifier lets nothing else use a dynptr's place on the stack
/// until its function returns, which the compiler does not know.
#[inline(never)]
fn with_dynptr(skb: *const u8, job: *mut Job, connection: *mut Connection) -> bool {
    let mut dynptr = Dynptr::uninit();
    if !dynptr_from_skb(skb, &mut dynptr) {
        return false;
    }
    let mut work = Work { job, connection, fill: DynptrFill { dynptr: &raw const dynptr } };
    // An ordinary request is one turn: no call for it.
    if first_turn_once(&mut work) {
        take_turns(work);
    }
    true
}

impl Fill for DynptrFill {
    #[inline(always)]
    fn fill(&self, job: *mut Job, offset: u32, length: u64) -> Option<u32> {
        // SAFETY: the caller's job, whose window holds `length` bytes.
        let result = unsafe {
            let (window, offset) = ((&raw mut (*job).window).cast(), (*job).skb_offset + offset);
            bpf_dynptr_read(window, length as u32, self.dynptr.cast_mut().cast(), offset, 0)
        };
        (result == 0).then_some(length as u32)
    }
}

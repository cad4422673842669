//! What requests are owed, where others follow the responses than those who read the requests, at the same time. Who reads requests writes
//! to a [`Handed`](common::exchange::Handed) and an [`Inbox`]; all else belongs to who follows responses.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use common::connection::Connection;
use common::exchange::{self, Streams, Untold};
use common::maps::Version;
use core::ptr::{from_mut, from_ref, null_mut};

use super::counted;
use super::maps::{self, Exchange, Inbox, Owner};
use super::{count, follow};
use crate::kernel::add_to_half_in_order;
use crate::noted::{self, Request};
use crate::reader::Job;
use crate::repeat::{Round, repeat};

/// Requests of one read, being noted.
///
/// `lost` stands in the second half of a word: of what begins a word on the stack the verifier follows each value, here one for each number
/// of lost requests, and then looks at more than it may.
#[repr(C)]
struct Noting {
    exchange: *mut Exchange,
    /// For those of HTTP/2. Null where there is none, or no memory for it.
    inbox: *mut Inbox,
    job: *const Job,
    now_ns: u64,
    reserved: u32,
    /// Requests whose response will not be known.
    lost: u32,
}

/// Whether there are requests of HTTP/2, for which there has to be an inbox.
#[inline(always)]
pub(super) fn is_http2(job: &Job) -> bool {
    job.requests[Version::Http2 as usize] != 0
}

/// Notes the requests of a read, and whether some were missed. `inbox` is for those of HTTP/2, and may be null.
#[inline(always)]
pub(super) fn note(exchange: &mut Exchange, inbox: *mut Inbox, connection: &Connection, job: &Job) {
    let total = job.noted.count;
    if total != 0 {
        exchange.belongs_to(connection.process, connection.slot);
    }
    // SAFETY: no arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    let kept = if total < noted::KEPT { total } else { noted::KEPT };
    let mut noting = Noting { exchange, inbox, job: from_ref(job), now_ns, reserved: 0, lost: 0 };
    repeat::<Noting>(kept, &mut noting);
    let mut lost = noting.lost;
    if total > kept {
        if !is_http2(job) {
            exchange.waiting.decides |= u8::from(job.noted.decides != 0);
            add_to_half_in_order(&mut exchange.waiting.inbox.unkept, total - kept);
        } else if inbox.is_null() {
            lost += total - kept;
        } else {
            // SAFETY: the connection's.
            add_to_half_in_order(unsafe { &mut (*inbox).unkept }, total - kept);
        }
    }
    if lost != 0 {
        counted::count_untold(Untold::StorageFull, lost.into());
        count::lost(exchange, lost);
    }
    if job.failure().is_some() {
        note_break(exchange);
    }
}

/// Which response is whose is not known any more.
#[inline(always)]
pub(super) fn note_break(exchange: &mut Exchange) {
    add_to_half_in_order(&mut exchange.waiting.breaks, 1);
}

impl Round for Noting {
    type Context = Self;

    #[inline(always)]
    fn round(index: u64, noting: &mut Self) -> bool {
        // SAFETY: `note` was given both.
        let (exchange, job) = unsafe { (&mut *noting.exchange, &*noting.job) };
        let request = job.noted.number(index as u32);
        match Request::of(request) {
            Request::Http1(asked) => {
                let waiting = &mut exchange.waiting;
                if !waiting.inbox.keeps() {
                    waiting.decides |= u8::from(asked.decides());
                }
                push(&mut waiting.inbox, asked, noting.now_ns);
            }
            Request::Http2(..) if noting.inbox.is_null() => noting.lost += 1,
            // SAFETY: the connection's.
            Request::Http2(..) => push(unsafe { &mut *noting.inbox }, request, noting.now_ns),
        }
        true
    }
}

#[inline(always)]
fn push<T: Copy + Default, const KEPT: usize>(inbox: &mut exchange::Inbox<T, KEPT>, request: T, now_ns: u64) {
    if inbox.keeps() {
        inbox.write(request, now_ns);
        add_to_half_in_order(&mut inbox.pushed, 1);
    } else {
        add_to_half_in_order(&mut inbox.unkept, 1);
    }
}

/// What takes notes of HTTP/2 over; its order as that of [`Noting`].
#[repr(C)]
struct Taking {
    inbox: *mut Inbox,
    exchange: *mut Exchange,
    streams: *mut Streams,
    reserved: u32,
    /// Requests whose response will not be known.
    lost: u32,
}

/// Takes over what was noted of requests, before what is sent from `position` on is looked at. Of HTTP/1, [`give_back`] tells those who read
/// requests what became of them. `inbox` is of HTTP/2, and may be null.
#[inline(never)]
pub(super) fn take(exchange: &mut Exchange, inbox: *mut Inbox, owner: Owner, position: u32) -> u64 {
    let waiting = &mut exchange.waiting;
    let kept = add_to_half_in_order(&mut waiting.inbox.pushed, 0).wrapping_sub(waiting.inbox.taken);
    let lost = exchange.take_over(kept, position);
    if lost > 0 {
        count::lost(exchange, lost);
    }
    if !inbox.is_null() {
        // SAFETY: the connection's.
        take_http2(exchange, unsafe { &mut *inbox }, owner, position);
    }
    let breaks = exchange.waiting.breaks;
    if breaks > 0 {
        add_to_half_in_order(&mut exchange.waiting.breaks, breaks.wrapping_neg());
        follow::lose(exchange, owner, Untold::Gap);
    }
    0
}

#[inline(always)]
fn take_http2(exchange: &mut Exchange, inbox: &mut Inbox, owner: Owner, position: u32) {
    // Unkept ones stand behind all that are kept: they are asked for first.
    let unkept = add_to_half_in_order(&mut inbox.unkept, 0);
    let kept = add_to_half_in_order(&mut inbox.pushed, 0).wrapping_sub(inbox.taken);
    if kept == 0 && unkept == 0 {
        return;
    }
    let streams = maps::streams_made(owner).map_or(null_mut(), from_mut);
    exchange.expect_frames(position);
    let mut taking = Taking { inbox, exchange, streams, reserved: 0, lost: 0 };
    let kept = if kept < Inbox::KEPT { kept } else { Inbox::KEPT };
    repeat::<Taking>(kept, &mut taking);
    let mut lost = taking.lost;
    if unkept > 0 {
        if streams.is_null() {
            lost += unkept;
        } else {
            // SAFETY: the storage that was asked for above.
            unsafe { (*streams).open_unkept(unkept) };
        }
        add_to_half_in_order(&mut inbox.unkept, unkept.wrapping_neg());
    }
    add_to_half_in_order(&mut inbox.taken, kept);
    if lost > 0 {
        counted::count_untold(Untold::StorageFull, lost.into());
        count::lost(exchange, lost);
    }
}

impl Round for Taking {
    type Context = Self;

    #[inline(always)]
    fn round(index: u64, taking: &mut Self) -> bool {
        // SAFETY: `take` was given it.
        let inbox = unsafe { &*taking.inbox };
        let (request, since_ns) = inbox.read(inbox.taken.wrapping_add(index as u32));
        if taking.streams.is_null() {
            taking.lost += 1;
        } else if let Request::Http2(id, asked) = Request::of(request) {
            // SAFETY: the connection's.
            let streams = unsafe { &mut *taking.streams };
            let displaced = streams.open(id, asked, since_ns);
            if displaced.id != 0 {
                count::displace(streams.began_ns, displaced);
            }
        }
        true
    }
}

/// What is sent was looked at.
#[inline(always)]
pub(super) fn give_back(exchange: &mut Exchange) {
    let waiting = &mut exchange.waiting;
    let (taken, unkept) = waiting.done();
    if unkept > 0 {
        add_to_half_in_order(&mut waiting.inbox.unkept, unkept.wrapping_neg());
    }
    if taken > 0 {
        add_to_half_in_order(&mut waiting.inbox.taken, taken);
    }
}

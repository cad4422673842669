//! What requests are owed, where others follow the responses than those who read the requests, at the same time. Who reads requests writes
//! an [`Inbox`]; all else belongs to who follows responses.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use common::connection::Connection;
use common::exchange::{Exchange, Streams, Untold};
use core::ptr::{from_mut, from_ref, null_mut};

use super::counted;
use super::maps::{self, Inbox, Owner};
use super::{count, follow};
use crate::kernel::add_to_half_in_order;
use crate::noted::{self, Request};
use crate::reader::Job;
use crate::repeat::{Round, repeat};

/// Requests of one read, being noted.
struct Noting {
    inbox: *mut Inbox,
    job: *const Job,
    now_ns: u64,
}

/// Notes the requests of a read, and whether some were missed.
#[inline(always)]
pub(super) fn note(inbox: &mut Inbox, connection: &Connection, job: &Job) {
    let total = job.noted.count;
    if total != 0 {
        inbox.process = connection.process;
        inbox.slot = connection.slot;
    }
    // SAFETY: no arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    let kept = if total < noted::KEPT { total } else { noted::KEPT };
    let mut noting = Noting { inbox, job: from_ref(job), now_ns };
    repeat::<Noting>(kept, &mut noting);
    if total > kept {
        inbox.decides |= u8::from(job.noted.decides != 0);
        add_to_half_in_order(&mut inbox.unkept, total - kept);
    }
    if job.failure().is_some() {
        note_break(inbox);
    }
}

/// Which response is whose is not known any more.
#[inline(always)]
pub(super) fn note_break(inbox: &mut Inbox) {
    add_to_half_in_order(&mut inbox.breaks, 1);
}

impl Round for Noting {
    type Context = Self;

    #[inline(always)]
    fn round(index: u64, noting: &mut Self) -> bool {
        // SAFETY: `note` was given both.
        let (inbox, job) = unsafe { (&mut *noting.inbox, &*noting.job) };
        push(inbox, job.noted.number(index as u32), noting.now_ns);
        true
    }
}

#[inline(always)]
fn push(inbox: &mut Inbox, request: u32, now_ns: u64) {
    if inbox.keeps() {
        inbox.write(request, now_ns);
        add_to_half_in_order(&mut inbox.pushed, 1);
    } else {
        inbox.decides |= u8::from(Request::of(request).decides());
        add_to_half_in_order(&mut inbox.unkept, 1);
    }
}

/// What was answered to the latest request, as [`Exchange::decision`].
#[inline(always)]
pub(super) fn decision(inbox: &Inbox, exchange: &Exchange) -> Option<bool> {
    if inbox.kept() != 0 || inbox.unkept != 0 {
        return None;
    }
    exchange.decision()
}

/// What takes notes over.
///
/// `lost` stands in the second half of a word: of what begins a word on the stack the verifier follows each value, here one for each number
/// of lost requests, and then looks at more than it may.
#[repr(C)]
struct Taking {
    inbox: *mut Inbox,
    exchange: *mut Exchange,
    /// Null on a connection that speaks HTTP/1.
    streams: *mut Streams,
    position: u32,
    /// Requests whose response will not be known.
    lost: u32,
}

/// Takes over what was noted of requests, before what is sent from `position` on is looked at.
#[inline(never)]
pub(super) fn take(inbox: &mut Inbox, exchange: &mut Exchange, owner: Owner, position: u32) -> u64 {
    // Unkept ones stand behind all that are kept: they are asked for first.
    let unkept = add_to_half_in_order(&mut inbox.unkept, 0);
    let kept = add_to_half_in_order(&mut inbox.pushed, 0).wrapping_sub(inbox.taken);
    let breaks = inbox.breaks;
    if kept == 0 && unkept == 0 && breaks == 0 {
        return 0;
    }
    exchange.belongs_to(inbox.process, inbox.slot);
    let mut streams = maps::streams(owner).map_or(null_mut(), from_mut);
    if streams.is_null()
        && kept > 0
        && matches!(Request::of(inbox.read(inbox.taken).0), Request::Http2(..))
        && let Some(made) = maps::streams_made(owner)
    {
        streams = made;
        exchange.expect_frames(position);
    }
    let mut taking = Taking { inbox, exchange, streams, position, lost: 0 };
    let kept = if kept < Inbox::KEPT { kept } else { Inbox::KEPT };
    repeat::<Taking>(kept, &mut taking);
    let lost = taking.lost;
    if unkept > 0 {
        if streams.is_null() {
            exchange.waiting.push_unkept(unkept, inbox.decides != 0);
        } else {
            // SAFETY: the storage that was asked for above.
            unsafe { (*streams).open_unkept(unkept) };
        }
        add_to_half_in_order(&mut inbox.unkept, unkept.wrapping_neg());
    }
    add_to_half_in_order(&mut inbox.taken, kept);
    if lost > 0 {
        count::lost(exchange, lost);
    }
    if breaks > 0 {
        add_to_half_in_order(&mut inbox.breaks, breaks.wrapping_neg());
        follow::lose(exchange, owner, Untold::Gap);
    }
    0
}

impl Round for Taking {
    type Context = Self;

    #[inline(always)]
    fn round(index: u64, taking: &mut Self) -> bool {
        // SAFETY: `take` was given both.
        let (inbox, exchange) = unsafe { (&*taking.inbox, &mut *taking.exchange) };
        let (request, since_ns) = inbox.read(inbox.taken.wrapping_add(index as u32));
        match Request::of(request) {
            Request::Http1(asked) => {
                let known = exchange.expect(asked, since_ns, taking.position);
                taking.lost += u32::from(!known);
            }
            Request::Http2(id, asked) => {
                if taking.streams.is_null() {
                    counted::count_untold(Untold::StorageFull, 1);
                    taking.lost += 1;
                } else {
                    // SAFETY: the connection's.
                    let streams = unsafe { &mut *taking.streams };
                    let displaced = streams.open(id, asked, since_ns);
                    if displaced.id != 0 {
                        count::displace(streams.began_ns, displaced);
                    }
                }
            }
        }
        true
    }
}

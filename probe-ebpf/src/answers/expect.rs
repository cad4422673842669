//! What the requests that were read are owed.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use common::connection::Connection;
use common::exchange::{Exchange, Streams, Untold};
use common::maps::Version;
use core::ptr::{from_mut, from_ref, null_mut};

use super::{count, counted, guess, maps, unix_inbox};
use crate::kernel::constant;
use crate::noted::{self, Request};
use crate::reader::Job;
use crate::repeat::{Round, repeat};
use crate::socket::is_unix_socket as is_unix;

/// What one request needs.
struct Owed {
    exchange: *mut Exchange,
    /// Null on a connection that speaks HTTP/1.
    streams: *mut Streams,
    job: *const Job,
    now_ns: u64,
    sent: u32,
    /// Requests whose response will not be known.
    lost: u32,
}

/// A read was looked at and counted, on a connection that has `sent` so many bytes (modulo 2^32).
#[inline(always)]
pub(crate) fn read(connection: &mut Connection, job: &Job, socket: *const u8, sent: u32) {
    if constant!(response_shards) != 0
        && (job.noted.count != 0 || job.failure().is_some() || connection.stream.may_await())
    {
        note_read(connection, job, socket, sent);
    }
}

/// Bytes of requests were missed: which response is whose is not known any more.
#[inline(always)]
pub(crate) fn lost(socket: *const u8) {
    if constant!(response_shards) != 0 {
        note_loss(socket);
    }
}

/// What comes next on a connection may depend on what was answered; says whether nothing of HTTP does.
#[inline(always)]
pub(crate) fn decide(connection: &mut Connection, socket: *const u8) -> bool {
    if constant!(response_shards) == 0 || !connection.stream.may_await() {
        return false;
    }
    decide_by_answer(connection, socket);
    connection.stream.is_settled()
}

#[inline(never)]
fn decide_by_answer(connection: &mut Connection, socket: *const u8) -> u64 {
    if connection.stream.is_unsure() {
        return guess::confirm(connection, socket);
    }
    if !connection.stream.awaits_answer() {
        return 0;
    }
    let decision = if is_unix(socket) {
        unix_inbox::decision(socket)
    } else {
        maps::exchange(socket).and_then(|exchange| exchange.decision())
    };
    connection.stream.decide(decision);
    0
}

/// A function of its own, which asks again what kind of socket it is: see [`crate::socket::settle`].
#[inline(never)]
fn note_read(connection: &mut Connection, job: &Job, socket: *const u8, sent: u32) -> u64 {
    if connection.stream.is_unsure() {
        return guess::expect(connection, job, socket, sent);
    }
    if is_unix(socket) {
        return unix_inbox::note(connection, job, socket);
    }
    if job.noted.count != 0 {
        expect(connection, job, socket, sent);
    }
    if job.failure().is_some() {
        lose(socket);
    }
    0
}

#[inline(never)]
fn note_loss(socket: *const u8) -> u64 {
    if is_unix(socket) {
        return unix_inbox::note_break(socket);
    }
    lose(socket);
    0
}

#[inline(always)]
fn lose(socket: *const u8) {
    if let Some(exchange) = maps::exchange(socket) {
        count::lose(exchange, Untold::Gap);
    }
}

#[inline(always)]
fn expect(connection: &Connection, job: &Job, socket: *const u8, sent: u32) {
    let total = job.noted.count;
    let Some(exchange) = maps::exchange_made(socket) else {
        counted::count_untold(Untold::StorageFull, total.into());
        count::add_outcome_of(connection.slot, connection.process, (0, total));
        return;
    };
    exchange.belongs_to(connection.process, connection.slot);
    if job.resynced != 0 {
        exchange.forgive();
    }
    let mut streams = null_mut();
    if job.requests[Version::Http2 as usize] != 0 {
        let Some(made) = maps::streams_made(socket) else {
            counted::count_untold(Untold::StorageFull, total.into());
            count::lost(exchange, total);
            return;
        };
        exchange.expect_frames(sent);
        streams = from_mut(made);
    }
    // SAFETY: no arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    let mut owed = Owed { exchange, streams, job: from_ref(job), now_ns, sent, lost: 0 };
    let kept = if total < noted::KEPT { total } else { noted::KEPT };
    repeat::<Owed>(kept, &mut owed);
    let lost = owed.lost;
    if total > kept {
        if streams.is_null() {
            exchange.waiting.push_unkept(total - kept, job.noted.decides != 0);
        } else {
            // SAFETY: the storage that was made above.
            unsafe { (*streams).open_unkept(total - kept) };
        }
    }
    if lost > 0 {
        count::lost(exchange, lost);
    }
}

impl Round for Owed {
    type Context = Self;

    #[inline(always)]
    fn round(index: u64, owed: &mut Self) -> bool {
        // SAFETY: `expect` was given both.
        let (exchange, job) = unsafe { (&mut *owed.exchange, &*owed.job) };
        match job.noted.get(index as u32) {
            Request::Http1(asked) => {
                let known = exchange.expect(asked, owed.now_ns, owed.sent);
                owed.lost += u32::from(!known);
            }
            Request::Http2(id, asked) => {
                if !owed.streams.is_null() {
                    // SAFETY: the connection's.
                    let streams = unsafe { &mut *owed.streams };
                    let displaced = streams.open(id, asked, owed.now_ns);
                    if displaced.id != 0 {
                        count::displace(streams.began_ns, displaced);
                    }
                }
            }
        }
        true
    }
}

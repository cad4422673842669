//! What requests over a Unix socket are owed.
//!
//! The socket that answers keeps it: it is whose buffers are read later, also when it is closed by then.

use common::connection::Connection;
use common::exchange::{UnixAnswering, Untold};
use common::maps::told;
use common::stream::Phase;
use core::ptr::null_mut;

use super::{count, counted, inbox, maps};
use crate::reader::Job;
use crate::socket::{begin_unix, is_unix_socket, unix_peer};

/// Notes the requests of a read. `socket` is that of who asked.
#[inline(never)]
pub(super) fn note(connection: &Connection, job: &Job, socket: *const u8) -> u64 {
    if !is_unix_socket(socket) {
        return 0;
    }
    let total = job.noted.count;
    let Some(peer) = unix_peer(socket) else {
        // Nobody will read an answer.
        count::add_outcome_of(connection.slot, connection.process, (total, 0));
        return 0;
    };
    let Some(answering) = answering_of(peer) else {
        counted::count_untold(Untold::UnixSocket, total.into());
        count::add_outcome_of(connection.slot, connection.process, (0, total));
        return 0;
    };
    let mut inbox = null_mut();
    if inbox::is_http2(job) {
        inbox = maps::inbox_made(peer);
        answering.is_http2 = 1;
    }
    inbox::note(&mut answering.exchange, inbox, connection, job);
    0
}

/// Requests were missed. `socket` is that of who asked.
#[inline(never)]
pub(super) fn note_break(socket: *const u8) -> u64 {
    if is_unix_socket(socket)
        && let Some(peer) = unix_peer(socket)
        && let Some(answering) = maps::unix_answering(peer)
    {
        inbox::note_break(&mut answering.exchange);
    }
    0
}

/// What the socket answers; `None` if what it sends cannot be followed: some of it was read before.
#[inline(always)]
fn answering_of<'a>(socket: *const u8) -> Option<&'a mut UnixAnswering> {
    if let Some(answering) = maps::unix_answering(socket) {
        return Some(answering);
    }
    if crate::maps::told(told::UNIX_ANSWERS) == 0 {
        return None;
    }
    let connection = match crate::maps::connection(socket) {
        Some(connection) => connection,
        None => begin_unix(socket)?,
    };
    if connection.stream.phase == Phase::Begin && connection.next == 0 && connection.joined == 0 {
        connection.stream.phase = Phase::Answers;
    }
    if connection.stream.phase == Phase::Answers { maps::unix_answering_made(socket) } else { None }
}

/// What was answered to the latest request, as [`Exchange::decision`]. `socket` is that of who asked.
#[inline(always)]
pub(super) fn decision(socket: *const u8) -> Option<bool> {
    maps::unix_answering(unix_peer(socket)?)?.exchange.decision()
}

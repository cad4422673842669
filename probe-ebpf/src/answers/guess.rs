//! Connections whose first bytes were missed, and that may speak HTTP/2.
//!
//! What is read says so by its frames, and is believed once what is sent answers a stream that was seen to open.

use common::connection::Connection;

use super::maps;
use crate::kernel::constant;
use crate::maps::count_resynced;
use crate::reader::Job;
use crate::socket::{is_unix_socket, was_accepted};

/// Whether what is read is to be looked at from its first byte on, as a trial.
#[inline(always)]
pub(crate) fn looks_for_frames(connection: &mut Connection, socket: *const u8) -> bool {
    constant!(response_shards) != 0 && look(connection, socket) != 0
}

#[inline(never)]
fn look(connection: &mut Connection, socket: *const u8) -> u64 {
    if is_unix_socket(socket) || connection.stream.is_settled() {
        return 0;
    }
    connection.look_for_frames();
    1
}

/// What was read may be frames that open streams, on a connection that has `sent` so many bytes (modulo 2^32).
#[inline(never)]
pub(super) fn expect(connection: &mut Connection, job: &Job, socket: *const u8, sent: u32) -> u64 {
    if is_unix_socket(socket) {
        // What is sent is looked at where it is read, under another lock.
        connection.lose_frames();
        return 0;
    }
    if !was_accepted(socket) {
        // What a client reads.
        connection.give_up_frames();
        return 0;
    }
    if job.is_trial() {
        maps::drop_streams(socket);
    }
    if let (Some(exchange), Some(streams)) = (maps::exchange_made(socket), maps::streams_made(socket)) {
        exchange.guess_frames(sent);
        streams.guess(connection.stream.last_stream);
    }
    0
}

/// Whether it is HTTP/2 may be certain by now.
#[inline(never)]
pub(super) fn confirm(connection: &mut Connection, socket: *const u8) -> u64 {
    if let (Some(exchange), Some(streams)) = (maps::exchange(socket), maps::streams(socket))
        && streams.is_confirmed()
        && !exchange.stream.phase.is_lost()
    {
        connection.confirm_frames();
        count_resynced();
    }
    0
}

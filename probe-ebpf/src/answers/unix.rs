//! Responses over a Unix socket: they are seen where a client reads them.

use aya_ebpf::btf_maps::ProgramArray;
use aya_ebpf::macros::btf_map;
use common::connection::Connection;
use common::exchange::{UnixAnswering, UnixWaiting, Untold};
use common::maps::told;
use common::stream::{Phase, flag};
use core::ptr::null_mut;

use super::follow::{Bytes, lose, process};
use super::maps::{self, Exchange};
use super::{count, inbox};
use crate::kernel::{member, offset};
use crate::socket::{is_unix_socket, unix_place};

/// The program that looks at responses which are read, behind the one that looks at requests: a program of its own, since the verifier
/// would follow both, one after the other, in one.
#[btf_map]
pub(crate) static READERS: ProgramArray<1> = ProgramArray::new();

/// What is read begins as the answers of HTTP/2 do, before any request: they are followed from here on, since their frames must be. Says
/// whether this is so; then the read is to be looked at once more.
#[inline(never)]
pub(crate) fn begins_frames(connection: &mut Connection, socket: *const u8, length: u32) -> bool {
    let begins = connection.stream.phase == Phase::NotHttp && connection.stream.flags & flag::FRAMES != 0;
    let is_first = connection.next == length.into();
    if !begins || !is_first || !is_unix_socket(socket) || crate::maps::told(told::UNIX_ANSWERS) == 0 {
        return false;
    }
    connection.stream.phase = Phase::Answers;
    connection.next = 0;
    connection.buffer_offset = 0;
    true
}

/// A process reads `length` bytes of a buffer of responses.
#[inline(always)]
pub(crate) fn received(skb: *const u8, length: u32, bytes: &impl Bytes<Waiting = UnixWaiting>) -> Option<()> {
    let socket: *const u8 = member(skb, offset!(skb_sk));
    if socket.is_null() || !is_unix_socket(socket) {
        return None;
    }
    let connection = crate::maps::connection(socket)?;
    let expected = connection.next;
    let place = unix_place(skb, length, connection)?;
    let behind = place.position.wrapping_add(length.into());
    connection.next = behind;
    let answering = answering_of(connection, socket)?;
    take(answering, socket, expected as u32);
    let exchange = &mut answering.exchange;
    if place.position.wrapping_sub(expected) > u64::from(u32::MAX) {
        lose(exchange, socket, Untold::Gap);
        exchange.next = behind as u32;
    } else if exchange.stream.phase.reads_on() && exchange.stream.phase != Phase::Begin {
        process(exchange, socket, (place.position as u32, length), bytes);
        end_untold(exchange);
    }
    inbox::give_back(exchange);
    Some(())
}

/// Takes over what was noted of requests.
#[inline(always)]
pub(super) fn take(answering: &mut UnixAnswering, socket: *const u8, position: u32) {
    let inbox = if answering.is_http2 != 0 { maps::inbox(socket) } else { null_mut() };
    inbox::take(&mut answering.exchange, inbox, socket, position);
}

#[inline(always)]
fn answering_of<'a>(connection: &Connection, socket: *const u8) -> Option<&'a mut UnixAnswering> {
    let answering = maps::unix_answering_made(socket)?;
    if connection.stream.flags & flag::FRAMES != 0 {
        answering.exchange.expect_frames(0);
    }
    Some(answering)
}

/// Of a response that lasts until its connection's end nothing more is seen, on kernels that do not tell that.
#[inline(always)]
fn end_untold(exchange: &mut Exchange) -> Option<()> {
    if exchange.stream.phase == Phase::UntilClose && crate::maps::told(told::UNIX_CLOSES) == 0 {
        let last = exchange.unfinished()?;
        count::answer(exchange, &last, 0);
    }
    Some(())
}

//! What a process sends on a connection that carried a request.

use common::exchange::Exchange;
use common::stream::Phase;

use super::follow::process;
use super::maps;
use super::message::{Ahead, Behind, Message, Pages};
use crate::kernel::{constant, member, offset, without_preemption};
use crate::socket::tcp_sock;
use crate::turns::{self, Call, FIRST, SECOND};

/// The kernel is about to take up to `goal` bytes of a message.
#[inline(always)]
pub(crate) fn sending<const PROGRAM: u32>(socket: *const u8, message: *const u8, tail: *const u8, goal: i32) {
    if !is_seen::<PROGRAM>(socket) {
        without_preemption!(constant!(hold_at_tracepoint), taking(socket, message, tail, goal));
    }
}

/// The kernel has taken `length` bytes of a message.
#[inline(always)]
pub(crate) fn sent<const PROGRAM: u32>(socket: *const u8, message: *const u8, length: i32) {
    taken::<PROGRAM>(socket, length, &Behind(message));
}

/// The kernel has taken `length` bytes of pages.
#[inline(always)]
pub(crate) fn sent_pages(socket: *const u8, length: i32) {
    taken::<FIRST>(socket, length, &Pages);
}

#[inline(always)]
fn taking(socket: *const u8, message: *const u8, tail: *const u8, goal: i32) -> Option<()> {
    let exchange = waited_for(socket)?;
    let left: u64 = member(message, offset!(msg_iterator) + offset!(iterator_count));
    if goal <= 0 || left == 0 || is_refused(socket, tail, goal) {
        return None;
    }
    // Not only what the last buffer has room for: the kernel may begin another within this round, without a call here. What it
    // does not take this time comes again.
    let length = if left < goal as u64 { left as u32 } else { goal as u32 };
    let position: u32 = member(tcp_sock(socket)?, offset!(tcp_write_seq));
    process(exchange, socket, (position, length), &Ahead(message))
}

/// Of two programs (see [`crate::turns`]), the first notes that it is at a send, and the second asks. Where that cannot tell,
/// the position does: what was seen before is seen but once.
#[inline(always)]
fn is_seen<const PROGRAM: u32>(socket: *const u8) -> bool {
    if constant!(second_at_sends) == 0 {
        return false;
    }
    let Some(tcp) = tcp_sock(socket) else { return false };
    let call = Call::Send(socket, member(tcp, offset!(tcp_write_seq)));
    if PROGRAM == SECOND {
        return turns::was_first(call);
    }
    turns::note_first(call);
    false
}

#[inline(always)]
fn taken<const PROGRAM: u32>(socket: *const u8, length: i32, message: &impl Message) {
    if !is_seen::<PROGRAM>(socket) {
        without_preemption!(constant!(can_hold_preemption), look_back(socket, length, message));
    }
}

#[inline(always)]
fn look_back(socket: *const u8, length: i32, message: &impl Message) -> Option<()> {
    if length <= 0 {
        return None;
    }
    let exchange = waited_for(socket)?;
    let behind: u32 = member(tcp_sock(socket)?, offset!(tcp_write_seq));
    process(exchange, socket, (behind.wrapping_sub(length as u32), length as u32), message)
}

/// The answering direction of a connection, if anything is to be found in it.
#[inline(always)]
fn waited_for<'a>(socket: *const u8) -> Option<&'a mut Exchange> {
    let exchange = maps::exchange(socket)?;
    let is_followed = exchange.stream.phase.reads_on() && exchange.stream.phase != Phase::Begin;
    is_followed.then_some(exchange)
}

/// The kernel takes nothing now: the socket has no room, and the bytes come again.
#[inline(always)]
fn is_refused(socket: *const u8, tail: *const u8, goal: i32) -> bool {
    if !tail.is_null() && member::<i32>(tail, offset!(skb_len)) < goal {
        return false;
    }
    let queued: i32 = member(socket, offset!(sock_queued));
    let limit: i32 = member(socket, offset!(sock_limit));
    queued >= limit
}

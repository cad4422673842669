//! The end of a connection that carried a request.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use common::exchange::UnixAnswering;

use super::finish::finish;
use super::{inbox, maps, unix};
use crate::kernel::{constant, member, offset, without_preemption};
use crate::socket::{IPPROTO_TCP, is_unix_socket, unix_peer};

/// States of a TCP socket (`include/net/tcp_states.h`) in which it sends no more.
const TCP_FIN_WAIT1: i32 = 4;
const TCP_CLOSE: i32 = 7;
const TCP_LAST_ACK: i32 = 9;

#[inline(always)]
pub(crate) fn state_changed(socket: *const u8, state: i32) {
    if !matches!(state, TCP_FIN_WAIT1 | TCP_CLOSE | TCP_LAST_ACK)
        || member::<u16>(socket, offset!(sock_protocol)) != IPPROTO_TCP
    {
        return;
    }
    without_preemption!(constant!(hold_at_tracepoint), ended(socket));
}

#[inline(always)]
fn ended(socket: *const u8) -> Option<()> {
    let exchange = maps::exchange(socket)?;
    // SAFETY: no arguments.
    finish(exchange, socket, unsafe { bpf_ktime_get_ns() });
    Some(())
}

/// A Unix socket is being closed: the one that answers, or the one that asks.
///
/// What is unread of answers can be read on when the one that answers is closed. So their end is that of the one that asks, when nobody
/// reads them any more; it is looked at by whichever is closed later where that comes first.
#[inline(always)]
pub(crate) fn unix_closed(socket: *const u8) -> Option<()> {
    if socket.is_null() || !is_unix_socket(socket) {
        return None;
    }
    // SAFETY: no arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    if let Some(answering) = maps::unix_answering(socket) {
        answering.closed_ns = now_ns;
        if answering.asker_closed != 0 {
            unix_ended(answering, socket, now_ns);
        }
    }
    let peer = unix_peer(socket)?;
    let answering = maps::unix_answering(peer)?;
    unix_ended(answering, peer, if answering.closed_ns != 0 { answering.closed_ns } else { now_ns });
    answering.asker_closed = 1;
    Some(())
}

/// A function of its own, since it is called twice.
#[inline(never)]
fn unix_ended(answering: &mut UnixAnswering, socket: *const u8, now_ns: u64) -> u64 {
    let position = answering.exchange.next;
    unix::take(answering, socket, position);
    finish(&mut answering.exchange, socket, now_ns);
    inbox::give_back(&mut answering.exchange);
    0
}

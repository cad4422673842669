//! The end of a connection that carried a request.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;

use super::finish::finish;
use super::maps::Inbox;
use super::{inbox, maps};
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
    if let Some(inbox) = maps::inbox(socket) {
        inbox.closed_ns = now_ns;
        if inbox.asker_closed != 0 {
            unix_ended(inbox, socket, now_ns);
        }
    }
    let peer = unix_peer(socket)?;
    let inbox = maps::inbox(peer)?;
    unix_ended(inbox, peer, if inbox.closed_ns != 0 { inbox.closed_ns } else { now_ns });
    inbox.asker_closed = 1;
    Some(())
}

/// A function of its own, since it is called twice.
#[inline(never)]
fn unix_ended(inbox: &mut Inbox, socket: *const u8, now_ns: u64) -> u64 {
    let Some(exchange) = maps::exchange_made(socket) else { return 0 };
    inbox::take(inbox, exchange, socket, exchange.next);
    finish(exchange, socket, now_ns);
    0
}

//! Which socket a buffer belongs to, and where in its stream the buffer stands.

use aya_ebpf::helpers::bpf_skc_to_tcp_sock;
use common::connection::Connection;
use common::failure::Failure;

use crate::kernel::{constant, member, offset, read_only_cast};
use crate::maps::lose;
use crate::syscall;

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const SOCK_STREAM: u16 = 1;
const IPPROTO_TCP: u16 = 6;
const IPPROTO_MPTCP: u16 = 262;

/// The socket in whose storage a stream's state is kept: for TCP the receiver's, for `AF_UNIX` the
/// sender's, which the receiver keeps alive.
pub(crate) enum Socket {
    Tcp(*const u8),
    Unix(*const u8),
}

/// Where a read stands.
pub(crate) struct Place {
    /// The position of its first byte in the stream.
    pub(crate) position: u64,
    /// The offset of that byte in the buffer.
    pub(crate) skb_offset: u32,
    /// How much the reader has sent on this connection, modulo 2^32.
    pub(crate) sent: u32,
}

impl Socket {
    #[inline(always)]
    pub(crate) fn of(skb: *const u8) -> Option<Self> {
        Self::from(member(skb, offset!(skb_sk)))
    }

    #[inline(always)]
    pub(crate) fn from(socket: *const u8) -> Option<Self> {
        if socket.is_null() {
            return None;
        }
        let protocol: u16 = member(socket, offset!(sock_protocol));
        let family: u16 = member(socket, offset!(sock_family));
        match (family, protocol) {
            (AF_INET | AF_INET6, IPPROTO_TCP) => Some(Self::Tcp(socket)),
            (AF_INET | AF_INET6, IPPROTO_MPTCP) => lose(Failure::UnsupportedTransport),
            (AF_UNIX, _) if member::<u16>(socket, offset!(sock_type)) == SOCK_STREAM => Some(Self::Unix(socket)),
            _ => None,
        }
    }

    #[inline(always)]
    pub(crate) fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    #[inline(always)]
    pub(crate) fn address(&self) -> *const u8 {
        match *self {
            Self::Tcp(socket) | Self::Unix(socket) => socket,
        }
    }

    /// Where a read of `length` bytes stands; `None` when the bytes will come again.
    #[inline(always)]
    pub(crate) fn place(&self, skb: *const u8, length: u32, connection: &mut Connection) -> Option<Place> {
        match *self {
            Self::Tcp(socket) => tcp_place(socket, skb),
            Self::Unix(_) => unix_place(skb, length, connection),
        }
    }
}

/// Whether a buffer belongs to an `AF_UNIX` socket.
#[inline(always)]
pub(crate) fn is_unix(skb: *const u8) -> bool {
    let socket: *const u8 = member(skb, offset!(skb_sk));
    !socket.is_null() && member::<u16>(socket, offset!(sock_family)) == AF_UNIX
}

/// `copied_seq` is the sequence number of the next byte that the reader gets. Bytes received less
/// those still unread make it a position that neither wraps nor starts anywhere but at 0.
#[inline(always)]
fn tcp_place(socket: *const u8, skb: *const u8) -> Option<Place> {
    let tcp = tcp_sock(socket)?;
    let copied: u32 = member(tcp, offset!(tcp_copied_seq));
    let expected: u32 = member(tcp, offset!(tcp_rcv_nxt));
    let received: u64 = member(tcp, offset!(tcp_bytes_received));
    let sequence: u32 = member(skb, offset!(skb_cb) + offset!(tcp_cb_seq));
    let skb_offset = copied.wrapping_sub(sequence);
    if skb_offset > i32::MAX as u32 {
        // A peek beyond the first buffer: these bytes will come again.
        return None;
    }
    Some(Place {
        position: received.wrapping_sub(u64::from(expected.wrapping_sub(copied))),
        skb_offset,
        sent: member(tcp, offset!(tcp_write_seq)),
    })
}

/// The same address as a `struct tcp_sock`. Where the verifier can be told so, nothing is called;
/// older kernels have a helper for it.
#[inline(always)]
fn tcp_sock(socket: *const u8) -> Option<*const u8> {
    let type_id = constant!(tcp_sock);
    if type_id != 0 {
        return Some(read_only_cast(socket, type_id));
    }
    // SAFETY: the helper checks that this is a TCP socket.
    let tcp: *const u8 = unsafe { bpf_skc_to_tcp_sock(socket.cast_mut().cast()) }.cast_const().cast();
    if tcp.is_null() { lose(Failure::UnsupportedTransport) } else { Some(tcp) }
}

/// `AF_UNIX` has no sequence numbers and no sign of a send, and a peek looks like a read: whether it
/// is one, the system call's arguments tell.
#[inline(always)]
fn unix_place(skb: *const u8, length: u32, connection: &mut Connection) -> Option<Place> {
    if syscall::is_peek() {
        return None;
    }
    let consumed: u32 = member(skb, offset!(skb_cb) + offset!(unix_cb_consumed));
    let buffer_length: u32 = member(skb, offset!(skb_len));
    Some(Place {
        position: connection.unix_position(consumed, length, buffer_length),
        skb_offset: consumed,
        sent: connection.sent.wrapping_add(1),
    })
}

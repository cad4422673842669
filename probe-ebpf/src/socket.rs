//! Which socket a buffer belongs to, and where in its stream the buffer stands.

use aya_ebpf::helpers::{bpf_skc_to_tcp_sock, bpf_skc_to_unix_sock};
use common::connection::{Connection, Missing};
use common::failure::Failure;
use common::maps::told;
use common::stream::Phase;

use crate::kernel::{constant, member, offset, read_only_cast};
use crate::maps::{self, lose};
use crate::{count, syscall};

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const SOCK_STREAM: u16 = 1;
/// `SOCK_URGINLINE` of `enum sock_flags`, as a bit.
const URGENT_INLINE: u64 = 1 << 2;
pub(crate) const IPPROTO_TCP: u16 = 6;
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
        let socket: *const u8 = member(skb, offset!(skb_sk));
        let of = Self::from(socket);
        if of.is_none() && !socket.is_null() && is_mptcp(socket) {
            count::failure_of_process(Failure::UnsupportedTransport as u32);
        }
        of
    }

    #[inline(always)]
    pub(crate) fn from(socket: *const u8) -> Option<Self> {
        if socket.is_null() {
            return None;
        }
        // A raw socket may have TCP's number and is none: it is shorter, too.
        if member::<u16>(socket, offset!(sock_type)) != SOCK_STREAM {
            return None;
        }
        let protocol: u16 = member(socket, offset!(sock_protocol));
        let family: u16 = member(socket, offset!(sock_family));
        match (family, protocol) {
            (AF_INET | AF_INET6, IPPROTO_TCP) => Some(Self::Tcp(socket)),
            (AF_UNIX, _) => Some(Self::Unix(socket)),
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

    /// Makes the state of a connection that has none, if it is to have any.
    ///
    /// A TCP connection has none before its first read, and once it is settled: then it is marked. A position tells
    /// the two apart, and both from one whose first bytes were missed.
    #[inline(always)]
    pub(crate) fn begin<'a>(&self) -> Option<&'a mut Connection> {
        match *self {
            Self::Tcp(socket) => begin_tcp(socket),
            Self::Unix(socket) => begin_unix(socket),
        }
    }

    /// Where a read of `length` bytes stands; `None` when the bytes will come again.
    #[inline(always)]
    pub(crate) fn place(&self, skb: *const u8, length: u32, connection: &mut Connection) -> Option<Place> {
        match *self {
            Self::Tcp(socket) => tcp_place(socket, skb, length),
            Self::Unix(_) => unix_place(skb, length, connection),
        }
    }

    /// What became of the `gap` bytes before a read, which never passed the hook.
    #[inline(always)]
    pub(crate) fn missing(&self, gap: u64) -> Missing {
        match *self {
            Self::Tcp(socket) => tcp_sock(socket).map_or(Missing::Unseen, |tcp| tcp_missing(socket, tcp, gap)),
            Self::Unix(_) => Missing::Unseen,
        }
    }
}

#[inline(always)]
fn is_mptcp(socket: *const u8) -> bool {
    member::<u16>(socket, offset!(sock_protocol)) == IPPROTO_MPTCP
        && member::<u16>(socket, offset!(sock_type)) == SOCK_STREAM
        && member::<u16>(socket, offset!(sock_family)) != AF_UNIX
}

/// The other end of a Unix connection; `None` where this one is closed.
#[inline(always)]
pub(crate) fn unix_peer(socket: *const u8) -> Option<*const u8> {
    // Over the socket's file: see `note_seen`.
    let open: *const u8 = member(member(socket, offset!(sock_socket)), offset!(socket_sk));
    // SAFETY: the helper checks that this is a Unix socket.
    let unix: *const u8 = unsafe { bpf_skc_to_unix_sock(open.cast_mut().cast()) }.cast_const().cast();
    if unix.is_null() {
        return None;
    }
    let peer: *const u8 = member(unix, offset!(unix_peer));
    if peer.is_null() { None } else { Some(peer) }
}

/// Whether a buffer belongs to an `AF_UNIX` socket.
#[inline(always)]
pub(crate) fn is_unix(skb: *const u8) -> bool {
    let socket: *const u8 = member(skb, offset!(skb_sk));
    !socket.is_null() && is_unix_socket(socket)
}

#[inline(always)]
pub(crate) fn is_unix_socket(socket: *const u8) -> bool {
    member::<u16>(socket, offset!(sock_family)) == AF_UNIX
}

/// A function of its own, like others that are seldom called: what the verifier knows in it is gone where it returns,
/// and what follows is not looked at once more.
#[inline(never)]
pub(crate) fn begin_unix<'a>(socket: *const u8) -> Option<&'a mut Connection> {
    let is_old = is_marked(socket) && !is_young(socket);
    let connection = maps::new_connection(socket)?;
    if is_old {
        *connection = Connection::noted(0, connection.sent, true);
    }
    Some(connection)
}

/// Nothing more is to be found in the stream whose state is kept at this socket. (What kind of socket it is, is asked
/// again: were it still known here, all before would be verified once for each kind.)
#[inline(never)]
pub(crate) fn settle(socket: *const u8) {
    if member::<u16>(socket, offset!(sock_family)) != AF_UNIX && is_young(socket) {
        note_seen(socket);
        maps::drop_connection(socket);
    }
}

/// The same behind a ClientHello, which is counted: one at position 0 may have been peeked, and would be counted again.
#[inline(never)]
pub(crate) fn settle_tls(socket: *const u8) {
    if !is_unix_socket(socket)
        && let Some(tcp) = tcp_sock(socket)
        && tcp_position(tcp) != 0
    {
        settle(socket);
    }
}

#[inline(never)]
fn begin_tcp<'a>(socket: *const u8) -> Option<&'a mut Connection> {
    let tcp = tcp_sock(socket)?;
    let (is_first, is_young) = (tcp_position(tcp) == 0, is_young(socket));
    if is_young && !is_first && is_marked(socket) {
        return None;
    }
    let is_client = is_first && is_client(socket, tcp);
    if is_young && is_client {
        note_seen(socket);
        return None;
    }
    let Some(connection) = maps::new_connection(socket) else {
        // Said once a connection.
        note_seen(socket);
        return None;
    };
    if is_client {
        connection.stream.phase = Phase::NotHttp;
    }
    Some(connection)
}

/// Notes where the stream stands of a connection that is older than the probe and was accepted. A read after an answer begins a
/// request: so the next one does, if all that was received was read, and something was sent later than that was received.
#[inline(never)]
pub(crate) fn note_open(socket: *const u8) {
    let Some(tcp) = tcp_sock(socket) else { return };
    let position = tcp_position(tcp);
    if position == 0 || !was_accepted(socket) || is_young(socket) {
        return;
    }
    let received_at: u32 = member(tcp, offset!(tcp_received_at));
    let sent_at: u32 = member(tcp, offset!(tcp_sent_at));
    let is_later = (sent_at.wrapping_sub(received_at) as i32) > 0;
    let is_read = member::<u32>(tcp, offset!(tcp_copied_seq)) == member::<u32>(tcp, offset!(tcp_rcv_nxt));
    let mut connection = Connection::noted(position, member(tcp, offset!(tcp_write_seq)), is_later && is_read);
    maps::note_connection(socket, &mut connection);
}

/// What was accepted has its listener's backlog.
#[inline(always)]
pub(crate) fn was_accepted(socket: *const u8) -> bool {
    member::<u32>(socket, offset!(sock_max_ack_backlog)) != 0
}

/// Who connected, and sent before it was sent anything, is no server.
#[inline(always)]
fn is_client(socket: *const u8, tcp: *const u8) -> bool {
    !was_accepted(socket) && member::<u64>(tcp, offset!(tcp_bytes_sent)) != 0
}

/// Whether the socket was opened after the probe was attached; false where that is not known.
#[inline(always)]
fn is_young(socket: *const u8) -> bool {
    /// More sockets than that after the first one, numbers may be those of old ones.
    const KNOWN: u32 = 1 << 30;
    let first = maps::told(told::FIRST_INODE) as u32;
    let file: *const u8 = member(member(socket, offset!(sock_socket)), offset!(socket_file));
    let number: u64 = member(member(file, offset!(file_inode)), offset!(inode_number));
    first != 0 && number != 0 && (number as u32).wrapping_sub(first) < KNOWN
}

/// Leaves the mark. The helper takes no socket that the verifier knows to be protected by RCU, as a buffer's is; but one
/// that was come to over the socket's file, which is the same.
#[inline(always)]
fn note_seen(socket: *const u8) {
    maps::note_seen(member(member(socket, offset!(sock_socket)), offset!(socket_sk)));
}

/// Whether the socket has a number that is its own, see [`maps::note_seen`].
#[inline(always)]
fn is_marked(socket: *const u8) -> bool {
    member::<u64>(socket, offset!(sock_cookie)) != 0
}

/// Bytes received less those still unread: a position that neither wraps nor starts anywhere but at 0.
#[inline(always)]
fn tcp_position(tcp: *const u8) -> u64 {
    let copied: u32 = member(tcp, offset!(tcp_copied_seq));
    let expected: u32 = member(tcp, offset!(tcp_rcv_nxt));
    let received: u64 = member(tcp, offset!(tcp_bytes_received));
    received.wrapping_sub(u64::from(expected.wrapping_sub(copied)))
}

/// `copied_seq` is the sequence number of the next byte that the reader gets.
#[inline(always)]
fn tcp_place(socket: *const u8, skb: *const u8, length: u32) -> Option<Place> {
    let tcp = tcp_sock(socket)?;
    let copied: u32 = member(tcp, offset!(tcp_copied_seq));
    let sequence: u32 = member(skb, offset!(skb_cb) + offset!(tcp_cb_seq));
    let skb_offset = copied.wrapping_sub(sequence);
    if skb_offset > i32::MAX as u32 {
        // A peek beyond the first buffer: these bytes will come again.
        return None;
    }
    if has_urgent_mark(tcp) && !urgent_is_inline(socket) && mark_distance(tcp, copied) < length {
        // A read ends before the urgent byte or begins behind it. So this is a peek, and will come again.
        return None;
    }
    Some(Place { position: tcp_position(tcp), skb_offset, sent: member(tcp, offset!(tcp_write_seq)) })
}

/// Urgent data is on its way, or not yet passed by. (`urg_data` has flags beside the byte.)
#[inline(always)]
fn has_urgent_mark(tcp: *const u8) -> bool {
    member::<u16>(tcp, offset!(tcp_urg_data)) != 0
}

/// `SO_OOBINLINE`: urgent bytes are a part of the stream like others.
#[inline(always)]
fn urgent_is_inline(socket: *const u8) -> bool {
    member::<u64>(socket, offset!(sock_flags)) & URGENT_INLINE != 0
}

/// How far the urgent byte is from the next one that the reader gets, modulo 2^32.
#[inline(always)]
fn mark_distance(tcp: *const u8, copied: u32) -> u32 {
    member::<u32>(tcp, offset!(tcp_urg_seq)).wrapping_sub(copied)
}

/// `tcp_recvmsg()` steps over an urgent byte, a byte at a time. The last mark is where it was, until another
/// takes its place: that one lies ahead then.
#[inline(never)]
fn tcp_missing(socket: *const u8, tcp: *const u8, gap: u64) -> Missing {
    let copied: u32 = member(tcp, offset!(tcp_copied_seq));
    let behind_mark = 0_u32.wrapping_sub(mark_distance(tcp, copied));
    let passed = behind_mark != 0 && u64::from(behind_mark) <= gap;
    if urgent_is_inline(socket) || !passed && !has_urgent_mark(tcp) {
        return Missing::Unseen;
    }
    if gap == 1 { Missing::Urgent } else { Missing::Unclear }
}

/// The same address as a `struct tcp_sock`. Where the verifier can be told so, nothing is called;
/// older kernels have a helper for it.
#[inline(always)]
pub(crate) fn tcp_sock(socket: *const u8) -> Option<*const u8> {
    let type_id = constant!(tcp_sock);
    if type_id != 0 {
        return Some(read_only_cast(socket, type_id));
    }
    // SAFETY: the helper checks that this is a TCP socket.
    let tcp: *const u8 = unsafe { bpf_skc_to_tcp_sock(socket.cast_mut().cast()) }.cast_const().cast();
    if tcp.is_null() { lose(Failure::UnsupportedTransport) } else { Some(tcp) }
}

/// How much of an `AF_UNIX` buffer was read before.
#[inline(always)]
pub(crate) fn unix_offset(skb: *const u8) -> u32 {
    member(skb, offset!(skb_cb) + offset!(unix_cb_consumed))
}

/// `AF_UNIX` has no sequence numbers and no sign of a send, and a peek looks like a read: whether it
/// is one, the system call's arguments tell; and whether it takes the urgent byte, which is a buffer of its own.
#[inline(always)]
pub(crate) fn unix_place(skb: *const u8, length: u32, connection: &mut Connection) -> Option<Place> {
    if syscall::is_beside_the_stream() {
        return None;
    }
    let consumed = unix_offset(skb);
    let buffer_length: u32 = member(skb, offset!(skb_len));
    Some(Place {
        position: connection.unix_position(consumed, length, buffer_length),
        skb_offset: consumed,
        sent: connection.sent.wrapping_add(1),
    })
}

//! The kernel side: counts HTTP requests where a socket's data is copied to its reader.
#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

mod answers;
mod cgroups;
mod count;
mod kernel;
mod maps;
mod mark;
mod noted;
mod object;
mod reader;
mod repeat;
mod shared;
mod skb;
mod socket;
mod syscall;
mod turns;

use answers::READERS;
use aya_ebpf::EbpfContext;
use aya_ebpf::macros::{btf_tracepoint, fentry, fexit};
use aya_ebpf::programs::{BtfTracePointContext, FEntryContext, FExitContext};
use common::connection::Arrival;
use common::machine::Read;
use common::stream::Phase;
use core::ptr::from_ref;
use kernel::{constant, without_preemption};
use reader::{Direct, Reader, ThroughDynptr, User};
use turns::{Call, FIRST, SECOND};

/// No other program that counts comes in between on a CPU: preemption is off, or held off where the kernel has functions for that.
const ALONE: bool = true;

/// `void trace_skb_copy_datagram_iovec(const struct sk_buff *skb, int len)`, called by
/// `skb_copy_datagram_iter()` before it copies, under the socket's lock, in the reading task.
/// The prototype is the same in 5.10, 6.1, 6.12, 6.18 and 7.x.
#[btf_tracepoint(function = "skb_copy_datagram_iovec")]
#[inline(always)]
pub fn receive(ctx: BtfTracePointContext) -> i32 {
    at_tracepoint::<FIRST>(&ctx)
}

/// Behind [`receive`], on kernels that may skip it.
#[btf_tracepoint(function = "skb_copy_datagram_iovec")]
#[inline(always)]
pub fn receive_again(ctx: BtfTracePointContext) -> i32 {
    at_tracepoint::<SECOND>(&ctx)
}

/// `int skb_copy_datagram_iter(const struct sk_buff *skb, int offset, struct iov_iter *to, int len)`: the
/// same place, when it has copied. What it could not copy completely will come again.
#[fexit(function = "skb_copy_datagram_iter")]
#[inline(always)]
pub fn receive_copied(ctx: FExitContext) -> i32 {
    at_fexit::<FIRST>(&ctx)
}

/// Beside [`receive_copied`], on kernels that may skip it.
#[fexit(function = "skb_copy_datagram_iter")]
#[inline(always)]
pub fn receive_copied_again(ctx: FExitContext) -> i32 {
    at_fexit::<SECOND>(&ctx)
}

/// `void trace_tcp_sendmsg_locked(const struct sock *sk, const struct msghdr *msg, const struct sk_buff *skb, int size_goal)`,
/// called by `tcp_sendmsg_locked()` before it takes each piece of at most `size_goal` bytes from the process, under the
/// socket's lock, in the sending task. Since Linux 6.16.
#[btf_tracepoint(function = "tcp_sendmsg_locked")]
#[inline(always)]
pub fn send(ctx: BtfTracePointContext) -> i32 {
    answers::sending::<FIRST>(ctx.arg(0), ctx.arg(1), ctx.arg(2), ctx.arg(3));
    0
}

/// Behind [`send`], on kernels that may skip it.
#[btf_tracepoint(function = "tcp_sendmsg_locked")]
#[inline(always)]
pub fn send_again(ctx: BtfTracePointContext) -> i32 {
    answers::sending::<SECOND>(ctx.arg(0), ctx.arg(1), ctx.arg(2), ctx.arg(3));
    0
}

/// `int tcp_sendmsg_locked(struct sock *sk, struct msghdr *msg, size_t size)`: the same function's end, on kernels without
/// that tracepoint. It returns how many bytes were taken.
#[fexit(function = "tcp_sendmsg_locked")]
#[inline(always)]
pub fn send_taken(ctx: FExitContext) -> i32 {
    answers::sent::<FIRST>(ctx.arg(0), ctx.arg(1), ctx.arg(3));
    0
}

/// Beside [`send_taken`], on kernels that may skip it.
#[fexit(function = "tcp_sendmsg_locked")]
#[inline(always)]
pub fn send_taken_again(ctx: FExitContext) -> i32 {
    answers::sent::<SECOND>(ctx.arg(0), ctx.arg(1), ctx.arg(3));
    0
}

/// `ssize_t do_tcp_sendpages(struct sock *sk, struct page *page, int offset, size_t size, int flags)`: `sendfile()` up to Linux 6.4.
#[fexit(function = "do_tcp_sendpages")]
#[inline(always)]
pub fn send_pages_taken(ctx: FExitContext) -> i32 {
    answers::sent_pages(ctx.arg(0), ctx.arg(5));
    0
}

/// `void trace_inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`: under the socket's lock.
#[btf_tracepoint(function = "inet_sock_set_state")]
#[inline(always)]
pub fn state(ctx: BtfTracePointContext) -> i32 {
    answers::state_changed(ctx.arg(0), ctx.arg(2));
    0
}

/// Behind [`state`], on kernels that may skip it: what has ended ends once.
#[btf_tracepoint(function = "inet_sock_set_state")]
#[inline(always)]
pub fn state_again(ctx: BtfTracePointContext) -> i32 {
    answers::state_changed(ctx.arg(0), ctx.arg(2));
    0
}

/// Behind [`receive`], in its place: responses that are read over a Unix socket.
#[btf_tracepoint(function = "skb_copy_datagram_iovec")]
#[inline(always)]
pub fn receive_answers(ctx: BtfTracePointContext) -> i32 {
    let skb: *const u8 = ctx.arg(0);
    let length: u32 = ctx.arg(1);
    let hold = constant!(hold_at_tracepoint);
    if constant!(buffers.fragments) != 0 {
        without_preemption!(hold, answers::received(skb, length, &Direct(skb)));
    } else {
        without_preemption!(hold, answers::received(skb, length, &ThroughDynptr(skb)));
    }
    0
}

/// The same, behind [`receive_copied`].
#[fexit(function = "skb_copy_datagram_iter")]
#[inline(always)]
pub fn receive_copied_answers(ctx: FExitContext) -> i32 {
    let skb: *const u8 = ctx.arg(0);
    let length: u32 = ctx.arg(3);
    let user = User { iterator: ctx.arg(2), skb_offset: ctx.arg(1), length };
    without_preemption!(constant!(can_hold_preemption), answers::received(skb, length, &user));
    0
}

#[inline(always)]
fn at_tracepoint<const PROGRAM: u32>(ctx: &BtfTracePointContext) -> i32 {
    let skb: *const u8 = ctx.arg(0);
    let length: i32 = ctx.arg(1);
    let hold = constant!(hold_at_tracepoint);
    let has_answers = if constant!(buffers.fragments) != 0 {
        received::<PROGRAM>(skb, length, hold, &Direct(skb))
    } else {
        received::<PROGRAM>(skb, length, hold, &ThroughDynptr(skb))
    };
    if has_answers {
        look_at_answers(ctx);
    }
    0
}

/// `int unix_release(struct socket *sock)`, before it does so.
#[fentry(function = "unix_release")]
#[inline(always)]
pub fn unix_closes(ctx: FEntryContext) -> i32 {
    without_preemption!(constant!(can_hold_preemption), {
        answers::unix_closed(kernel::member(ctx.arg(0), kernel::offset!(socket_sk)))
    });
    0
}

#[inline(always)]
fn look_at_answers(ctx: &impl EbpfContext) {
    if constant!(response_shards) != 0 {
        kernel::tail_call(ctx.as_ptr(), from_ref(&READERS).cast());
    }
}

#[inline(always)]
fn at_fexit<const PROGRAM: u32>(ctx: &FExitContext) -> i32 {
    let skb: *const u8 = ctx.arg(0);
    let skb_offset: u32 = ctx.arg(1);
    let iterator: *const u8 = ctx.arg(2);
    let length: i32 = ctx.arg(3);
    let result: i32 = ctx.arg(4);
    if result == 0 {
        let user = User { iterator, skb_offset, length: length as u32 };
        if received::<PROGRAM>(skb, length, constant!(can_hold_preemption), &user) {
            look_at_answers(ctx);
        }
    }
    0
}

/// A process reads `length` bytes of a buffer. `hold` (a constant) says that preemption has to be held off. Says whether it
/// holds responses, at which another program looks.
#[inline(always)]
fn received<const PROGRAM: u32>(skb: *const u8, length: i32, hold: u32, reader: &impl Reader) -> bool {
    if length <= 0 || hold != 0 && PROGRAM == SECOND && turns::was_first(Call::Receive(skb)) && !socket::is_unix(skb) {
        return false;
    }
    let has_answers = without_preemption!(hold, {
        if hold != 0 && PROGRAM == FIRST {
            turns::note_first(Call::Receive(skb));
        }
        process::<PROGRAM>(skb, length as u32, hold, reader)
    });
    has_answers.unwrap_or(false)
}

#[inline(always)]
fn process<const PROGRAM: u32>(skb: *const u8, length: u32, hold: u32, reader: &impl Reader) -> Option<bool> {
    let socket = socket::Socket::of(skb)?;
    let address = socket.address();
    let connection = match maps::connection(address) {
        Some(connection) => connection,
        None => socket.begin()?,
    };
    if hold != 0 && socket.is_unix() && !connection.takes_turn(PROGRAM == FIRST) {
        return None;
    }
    if connection.stream.is_settled() {
        if connection.stream.phase == Phase::Tls {
            socket::settle_tls(address);
        }
        return Some(connection.stream.phase == Phase::Answers);
    }
    if answers::decide(connection, address) {
        socket::settle(address);
        return None;
    }
    let place = socket.place(skb, length, connection)?;
    if !reader.suits(place.skb_offset) {
        return None;
    }
    let (offset, trial) = match connection.arrive(place.position, length, place.sent, |gap| socket.missing(gap)) {
        Arrival::Ignore => return None,
        Arrival::Process(offset) => (offset, false),
        Arrival::Try => (0, true),
        arrival @ (Arrival::Lost(_) | Arrival::Look) => {
            if let Arrival::Lost(cause) = arrival {
                count::failure(connection, cause as u32);
                answers::lost(address);
            }
            if !answers::looks_for_frames(connection, address) {
                return None;
            }
            (0, true)
        }
    };
    let mut read = Read::new(offset, length);
    read.pass_over(&mut connection.stream);
    if read.offset >= length {
        return None;
    }
    let found = reader::process(reader, place.skb_offset, read, connection, trial)?;
    count::found(connection, found)?;
    if connection.stream.phase == Phase::Asked && (constant!(response_shards) == 0 || found.read.offset < length) {
        // What was sent before the answer came is for the other end of a tunnel.
        connection.stream.phase = Phase::Tunnel;
    }
    answers::read(connection, found, address, place.sent);
    if connection.stream.phase == Phase::Tls {
        socket::settle_tls(address);
    } else if connection.stream.is_settled() {
        if constant!(response_shards) != 0 && answers::begins_frames(connection, address, length) {
            return Some(true);
        }
        socket::settle(address);
    }
    None
}

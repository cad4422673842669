//! The kernel side: counts HTTP requests where a socket's data is copied to its reader.
#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

mod cgroups;
mod count;
mod kernel;
mod maps;
mod mark;
mod object;
mod reader;
mod skb;
mod socket;
mod syscall;
mod turns;

use aya_ebpf::macros::{btf_tracepoint, fexit};
use aya_ebpf::programs::{BtfTracePointContext, FExitContext};
use common::connection::Arrival;
use common::machine::Read;
use kernel::constant;
use reader::{Direct, Reader, ThroughDynptr, User};
use turns::{FIRST, SECOND};

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

#[inline(always)]
fn at_tracepoint<const PROGRAM: u32>(ctx: &BtfTracePointContext) -> i32 {
    let skb: *const u8 = ctx.arg(0);
    let length: i32 = ctx.arg(1);
    let hold = constant!(hold_at_tracepoint);
    if constant!(buffers.fragments) != 0 {
        received::<PROGRAM>(skb, length, hold, &Direct(skb));
    } else {
        received::<PROGRAM>(skb, length, hold, &ThroughDynptr(skb));
    }
    0
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
        received::<PROGRAM>(skb, length, constant!(can_hold_preemption), &user);
    }
    0
}

/// A process reads `length` bytes of a buffer. `hold` (a constant) says that preemption has to be held off.
#[inline(always)]
fn received<const PROGRAM: u32>(skb: *const u8, length: i32, hold: u32, reader: &impl Reader) {
    if length <= 0 || hold != 0 && PROGRAM == SECOND && turns::was_first(skb) && !socket::is_unix(skb) {
        return;
    }
    if hold != 0 {
        kernel::hold_preemption();
        if PROGRAM == FIRST {
            turns::note_first(skb);
        }
    }
    process::<PROGRAM>(skb, length as u32, hold, reader);
    if hold != 0 {
        kernel::release_preemption();
    }
}

#[inline(always)]
fn process<const PROGRAM: u32>(skb: *const u8, length: u32, hold: u32, reader: &impl Reader) -> Option<()> {
    let socket = socket::Socket::of(skb)?;
    let address = socket.address();
    let connection = match maps::connection(address) {
        Some(connection) => connection,
        None => socket.begin()?,
    };
    if hold != 0 && socket.is_unix() && !connection.takes_turn(PROGRAM == FIRST) || connection.stream.is_settled() {
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
        Arrival::Lost(cause) => {
            count::failure(connection, cause as u32);
            return None;
        }
    };
    let mut read = Read::new(offset, length);
    read.pass_over(&mut connection.stream);
    if read.offset >= length {
        return None;
    }
    let found = reader::process(reader, place.skb_offset, read, connection, trial)?;
    count::found(connection, found)?;
    if connection.stream.is_settled() {
        socket::settle(address);
    }
    Some(())
}

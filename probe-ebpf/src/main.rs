//! The kernel side: counts HTTP requests where a socket's data is copied to its reader.
#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

mod count;
mod kernel;
mod maps;
mod mark;
mod object;
mod reader;
mod socket;
mod syscall;

use aya_ebpf::macros::{btf_tracepoint, fexit};
use aya_ebpf::programs::{BtfTracePointContext, FExitContext};
use common::connection::Arrival;
use common::failure::Failure;
use common::stream::Read;
use kernel::{constant, without_preemption};
use reader::{Buffer, Reader, User};

/// `void trace_skb_copy_datagram_iovec(const struct sk_buff *skb, int len)`, called by
/// `skb_copy_datagram_iter()` before it copies, under the socket's lock, in the reading task.
/// The prototype is the same in 5.10, 6.1, 6.12, 6.18 and 7.x.
#[btf_tracepoint(function = "skb_copy_datagram_iovec")]
pub fn receive(ctx: BtfTracePointContext) -> i32 {
    let skb: *const u8 = ctx.arg(0);
    let length: i32 = ctx.arg(1);
    without_preemption(constant!(hold_at_tracepoint), || received(skb, length, &Buffer(skb)));
    0
}

/// `int skb_copy_datagram_iter(const struct sk_buff *skb, int offset, struct iov_iter *to, int len)`: the
/// same place, when it has copied. What it could not copy completely will come again.
#[fexit(function = "skb_copy_datagram_iter")]
pub fn receive_copied(ctx: FExitContext) -> i32 {
    let skb: *const u8 = ctx.arg(0);
    let skb_offset: u32 = ctx.arg(1);
    let iterator: *const u8 = ctx.arg(2);
    let length: i32 = ctx.arg(3);
    let result: i32 = ctx.arg(4);
    if result == 0 {
        let user = User { iterator, skb_offset, length: length as u32 };
        without_preemption(constant!(can_hold_preemption), || received(skb, length, &user));
    }
    0
}

/// A process reads `length` bytes of a buffer.
#[inline(always)]
fn received(skb: *const u8, length: i32, reader: &impl Reader) -> Option<()> {
    if length <= 0 {
        return None;
    }
    let length = length as u32;
    let socket = socket::Socket::of(skb)?;
    let connection = maps::connection(socket.address())?;
    if connection.stream.is_settled() {
        return None;
    }
    let place = socket.place(skb, length, connection)?;
    if !reader.suits(place.skb_offset) {
        return None;
    }
    let (offset, trial) = match connection.arrive(place.position, length, place.sent) {
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
    count::found(connection, found)
}

/// Names a loss and goes away.
#[inline(always)]
fn lose<T>(cause: Failure) -> Option<T> {
    maps::count_failure(cause as u32);
    None
}

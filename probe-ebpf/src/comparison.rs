//! What stands in the probe's place in benchmarks: programs that do nothing, and small ones that count as others do.
//!
//! Those take a read for a request whose first bytes are a method: requests that share a read, and requests that begin
//! behind a read's first byte, are not seen, and a body that begins so is.
#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[expect(dead_code, unused_imports, unused_macros, reason = "the probe uses the rest")]
mod kernel;
mod object;

use aya_ebpf::btf_maps::{HashMap, RingBuf};
use aya_ebpf::helpers::{
    bpf_dynptr_read, bpf_get_current_pid_tgid, bpf_get_current_task_btf, bpf_probe_read_user, bpf_task_pt_regs,
};
use aya_ebpf::macros::{btf_map, btf_tracepoint};
use aya_ebpf::programs::BtfTracePointContext;
use common::maps::MAX_PROCESSES;
use core::arch::asm;
use kernel::{Dynptr, dynptr_from_skb, member, offset, read_kernel};

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const SOCK_STREAM: u16 = 1;
/// `GET / HTTP/1.1` and two ends of lines: nothing shorter is taken for a request.
const SHORTEST_REQUEST: i32 = 18;
/// Of 16 bytes, before their reader is late.
const EVENTS_KEPT: usize = 1 << 16;

/// `sk_buff.data` and `sk_buff.data_len`, which the probe has no use for. Written by the agent.
#[unsafe(no_mangle)]
static SKB_DATA: u32 = 0;
/// As above.
#[unsafe(no_mangle)]
static SKB_DATA_LEN: u32 = 0;

/// Requests by thread-group id.
#[btf_map]
static COUNTED: HashMap<u32, u64, { MAX_PROCESSES as usize }> = HashMap::new();

/// A request each: the thread-group id.
#[btf_map]
static REQUESTS: RingBuf<u64, { 16 * EVENTS_KEPT }> = RingBuf::new();

/// Does nothing where the probe stands.
#[btf_tracepoint(function = "skb_copy_datagram_iovec")]
pub fn empty_at_copy(_ctx: BtfTracePointContext) -> i32 {
    0
}

/// Does nothing at the end of a receive.
/// `void trace_sock_recv_length(struct sock *sk, int ret, int flags)`, since Linux 6.3.
#[btf_tracepoint(function = "sock_recv_length")]
pub fn empty_at_end(_ctx: BtfTracePointContext) -> i32 {
    0
}

/// Does nothing where sends are seen.
#[btf_tracepoint(function = "tcp_sendmsg_locked")]
pub fn empty_at_send(_ctx: BtfTracePointContext) -> i32 {
    0
}

/// As Scope's first plugin for HTTP requests did: looks at the linear part of the kernel's buffer only.
#[btf_tracepoint(function = "skb_copy_datagram_iovec")]
pub fn linear_part(ctx: BtfTracePointContext) -> i32 {
    let skb: *const u8 = ctx.arg(0);
    if is_stream(member(skb, offset!(skb_sk))) && begins_request(linear_word(skb)) {
        count();
    }
    0
}

/// A look at the process's memory after the receive: the second argument of its system call, where that is a buffer.
#[btf_tracepoint(function = "sock_recv_length")]
pub fn user_memory(ctx: BtfTracePointContext) -> i32 {
    let socket: *const u8 = ctx.arg(0);
    let length: i32 = ctx.arg(1);
    if length >= SHORTEST_REQUEST && is_stream(socket) && begins_request(user_word()) {
        count();
    }
    0
}

/// Sends an event for every request; user space counts.
#[btf_tracepoint(function = "skb_copy_datagram_iovec")]
pub fn event_per_request(ctx: BtfTracePointContext) -> i32 {
    let skb: *const u8 = ctx.arg(0);
    let length: i32 = ctx.arg(1);
    if length >= SHORTEST_REQUEST && is_stream(member(skb, offset!(skb_sk))) && begins_request(dynptr_word(skb)) {
        // Without room the event is lost, as it is with those who do this.
        let _ = REQUESTS.output(u64::from(current_process()), 0);
    }
    0
}

#[inline(always)]
fn is_stream(socket: *const u8) -> bool {
    if socket.is_null() {
        return false;
    }
    let family: u16 = member(socket, offset!(sock_family));
    matches!(family, AF_INET | AF_INET6 | AF_UNIX) && member::<u16>(socket, offset!(sock_type)) == SOCK_STREAM
}

/// The first eight bytes of the linear part; 0 where it is shorter.
#[inline(always)]
fn linear_word(skb: *const u8) -> u64 {
    // SAFETY: statics, read as the type they have.
    let (data, data_len) =
        unsafe { (core::ptr::read_volatile(&raw const SKB_DATA), core::ptr::read_volatile(&raw const SKB_DATA_LEN)) };
    let linear = member::<u32>(skb, offset!(skb_len)).wrapping_sub(member(skb, data_len));
    if linear < 8 {
        return 0;
    }
    read_kernel(member::<u64>(skb, data) as *const u8, 0)
}

/// The first eight bytes, wherever the kernel keeps them.
#[inline(never)]
fn dynptr_word(skb: *const u8) -> u64 {
    let (mut dynptr, mut word) = (Dynptr::uninit(), 0_u64);
    if dynptr_from_skb(skb, &mut dynptr) {
        // SAFETY: the word has room for eight bytes.
        unsafe { bpf_dynptr_read((&raw mut word).cast(), 8, dynptr.as_mut_ptr().cast(), 0, 0) };
    }
    word
}

/// The first eight bytes of the buffer that the current system call was given.
#[inline(always)]
fn user_word() -> u64 {
    /// Offset in `struct pt_regs`, which is part of the kernel's ABI.
    const SECOND_ARGUMENT: u32 = if cfg!(bpf_target_arch = "aarch64") { 8 } else { 104 };
    // SAFETY: the task that `bpf_get_current_task_btf` returns has registers.
    let registers = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as *const u8;
    let buffer: u64 = member(registers, SECOND_ARGUMENT);
    // SAFETY: the helper checks the source.
    unsafe { bpf_probe_read_user(buffer as *const u64) }.unwrap_or(0)
}

/// The beginning of a method and its blank, as far as eight bytes hold them.
#[inline(always)]
fn begins_request(word: u64) -> bool {
    let begins = |method: &[u8; 8], length: u32| {
        let mask = u64::MAX >> (64 - 8 * length);
        word & mask == u64::from_le_bytes(*method) & mask
    };
    begins(b"GET     ", 4)
        || begins(b"POST    ", 5)
        || begins(b"PUT     ", 4)
        || begins(b"HEAD    ", 5)
        || begins(b"DELETE  ", 7)
        || begins(b"OPTIONS ", 8)
        || begins(b"PATCH   ", 6)
        || begins(b"CONNECT ", 8)
        || begins(b"TRACE   ", 6)
}

#[inline(always)]
fn current_process() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

#[inline(always)]
fn count() {
    let process = current_process();
    match COUNTED.get_ptr_mut(process) {
        // SAFETY: an instruction on an entry, and entries are never removed.
        Some(counter) => unsafe {
            asm!("lock *(u64 *)({counter} + 0) += {one}", counter = in(reg) counter, one = in(reg) 1_u64, options(nostack));
        },
        None => {
            let _ = COUNTED.insert(process, 1, 0);
        }
    }
}

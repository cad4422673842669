//! The empty program on the same hook: the floor that benchmarks subtract.
#![no_std]
#![no_main]

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

/// Does nothing.
#[btf_tracepoint(function = "skb_copy_datagram_iovec")]
pub fn baseline(_ctx: BtfTracePointContext) -> i32 {
    0
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Helpers of the kernel may be called by programs under these licences.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

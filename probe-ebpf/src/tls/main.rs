//! Counts the requests that a TLS library or a Go program hands to its caller: the machine of the probe, over plaintext in
//! the process's memory; and the responses that it takes from them. One program stands at every place of the one, another at those of the
//! other; the place's cookie says what happens there.
//!
//! A task may be preempted within, and another one run it on the same CPU: what both would write is added atomically or claimed.
#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

mod answers;
mod calls;
#[path = "../cgroups.rs"]
mod cgroups;
#[expect(dead_code, reason = "the probe uses the rest")]
#[path = "../count.rs"]
mod count;
#[expect(dead_code, unused_imports, unused_macros, reason = "the probe uses the rest")]
#[path = "../kernel.rs"]
mod kernel;
#[expect(dead_code, reason = "the probe uses the rest")]
#[path = "../maps.rs"]
mod maps;
#[expect(dead_code, reason = "the probe uses the rest")]
#[path = "../noted.rs"]
mod noted;
#[path = "../object.rs"]
mod object;
#[expect(dead_code, reason = "the probe uses the rest")]
mod reader;
mod registers;
#[path = "../repeat.rs"]
mod repeat;
mod sessions;
#[path = "../shared.rs"]
mod shared;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_get_attach_cookie;
use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;
use common::stream::Phase;
use common::tls::action::{ANSWERED, Action, depth, number};
use common::tls::session::Key;

use answers::{IS_ALONE, IS_WIDE, MAY_CALL};
use calls::Length;

/// The kernel may let another program that counts come in between on a CPU.
const ALONE: bool = false;

/// At every place where something is read, or a session begins or ends (`uprobe_multi`).
#[uprobe]
pub fn tls(ctx: ProbeContext) -> u32 {
    // SAFETY: the context of this program.
    let cookie = unsafe { bpf_get_attach_cookie(ctx.as_ptr()) };
    let _ = at(&ctx, cookie);
    0
}

#[inline(always)]
fn at(ctx: &ProbeContext, cookie: u64) -> Option<()> {
    const READ_ENTRY: u8 = Action::ReadEntry as u8;
    const READ_END: u8 = Action::ReadEnd as u8;
    const READ_EX_ENTRY: u8 = Action::ReadExEntry as u8;
    const READ_EX_END: u8 = Action::ReadExEnd as u8;
    const EARLY_ENTRY: u8 = Action::EarlyEntry as u8;
    const EARLY_END: u8 = Action::EarlyEnd as u8;
    const BEGIN_SERVER: u8 = Action::BeginServer as u8;
    const BEGIN_CLIENT: u8 = Action::BeginClient as u8;
    const BEGIN_UNLESS_KNOWN: u8 = Action::BeginUnlessKnown as u8;
    const FREE: u8 = Action::Free as u8;
    const GO_READ_ENTRY: u8 = Action::GoReadEntry as u8;
    const GO_READ_END: u8 = Action::GoReadEnd as u8;
    const GO_SERVER: u8 = Action::GoServer as u8;
    const GO_CLIENT: u8 = Action::GoClient as u8;
    const GO_CLOSE: u8 = Action::GoClose as u8;
    const INIT_ENTRY: u8 = Action::InitEntry as u8;
    const INIT_END: u8 = Action::InitEnd as u8;
    let (call, length) = match number(cookie) {
        READ_ENTRY => return calls::begin(call(ctx, cookie), ctx.arg(0)?, ctx.arg(1)?, 0),
        READ_EX_ENTRY | EARLY_ENTRY => return calls::begin(call(ctx, cookie), ctx.arg(0)?, ctx.arg(1)?, ctx.arg(3)?),
        GO_READ_ENTRY => return calls::begin(goroutine(ctx), registers::go(ctx, 0), registers::go(ctx, 1), 0),
        BEGIN_SERVER => return sessions::begin(key(ctx.arg(0)?), Phase::Begin),
        BEGIN_CLIENT => return sessions::begin(key(ctx.arg(0)?), Phase::NotHttp),
        INIT_ENTRY => return calls::begin_init(call(ctx, cookie), ctx.arg(0)?, ctx.arg(1)?),
        INIT_END => {
            let session = calls::end_init(call(ctx, cookie), registers::result(ctx) as i32 == 0)?;
            return sessions::begin(session, Phase::NotHttp);
        }
        BEGIN_UNLESS_KNOWN => return sessions::begin_unless_known(key(ctx.arg(0)?)),
        FREE => return sessions::end(key(ctx.arg(0)?)),
        GO_SERVER => return sessions::begin(key(registers::go(ctx, 0)), Phase::Begin),
        GO_CLIENT => return sessions::begin(key(registers::go(ctx, 0)), Phase::NotHttp),
        GO_CLOSE => return sessions::end(key(registers::go(ctx, 0))),
        // What a C function returns has 32 bits.
        READ_END => (call(ctx, cookie), Length::Known(i64::from(registers::result(ctx) as i32))),
        READ_EX_END => (call(ctx, cookie), Length::stored(registers::result(ctx) as i32 == 1)),
        EARLY_END => (call(ctx, cookie), Length::stored(matches!(registers::result(ctx) as i32, 1 | 2))),
        GO_READ_END => (goroutine(ctx), Length::Known(registers::go(ctx, 0) as i64)),
        _ => return None,
    };
    let (session, bytes) = calls::end(call, length, cookie & ANSWERED != 0)?;
    sessions::read(session, bytes)
}

/// At every place where something is written, or a session begins or ends. A program of its own: the verifier follows both ways of one.
#[uprobe]
pub fn tls_writes(ctx: ProbeContext) -> u32 {
    // SAFETY: the context of this program.
    let cookie = unsafe { bpf_get_attach_cookie(ctx.as_ptr()) };
    let _ = at_write(&ctx, cookie);
    0
}

#[inline(always)]
fn at_write(ctx: &ProbeContext, cookie: u64) -> Option<()> {
    const WRITE_ENTRY: u8 = Action::WriteEntry as u8;
    const WRITE_END: u8 = Action::WriteEnd as u8;
    const WRITE_EX_ENTRY: u8 = Action::WriteExEntry as u8;
    const WRITE_EX2_ENTRY: u8 = Action::WriteEx2Entry as u8;
    const WRITE_EX_END: u8 = Action::WriteExEnd as u8;
    const WRITE_UNSEEN: u8 = Action::WriteUnseen as u8;
    const AGAIN_ENTRY: u8 = Action::AgainEntry as u8;
    const AGAIN_END: u8 = Action::AgainEnd as u8;
    const FILE_ENTRY: u8 = Action::FileEntry as u8;
    const FILE_END: u8 = Action::FileEnd as u8;
    const BEGIN_SERVER: u8 = Action::BeginServer as u8;
    const BEGIN_CLIENT: u8 = Action::BeginClient as u8;
    const FREE: u8 = Action::Free as u8;
    const GO_WRITE_ENTRY: u8 = Action::GoWriteEntry as u8;
    const GO_WRITE_END: u8 = Action::GoWriteEnd as u8;
    const GO_SERVER: u8 = Action::GoServer as u8;
    const GO_CLIENT: u8 = Action::GoClient as u8;
    const GO_CLOSE: u8 = Action::GoClose as u8;
    let call = match number(cookie) {
        WRITE_ENTRY => return answers::begin(&call(ctx, cookie), ctx.arg(0)?, ctx.arg(1)?, 0, MAY_CALL),
        WRITE_EX_ENTRY => return answers::begin(&call(ctx, cookie), ctx.arg(0)?, ctx.arg(1)?, ctx.arg(3)?, MAY_CALL),
        WRITE_EX2_ENTRY => return answers::begin(&call(ctx, cookie), ctx.arg(0)?, ctx.arg(1)?, ctx.arg(4)?, MAY_CALL),
        FILE_ENTRY => return answers::begin(&call(ctx, cookie), ctx.arg(0)?, 0, 0, IS_WIDE),
        GO_WRITE_ENTRY => {
            return answers::begin(
                &goroutine(ctx),
                registers::go(ctx, 0),
                registers::go(ctx, 1),
                0,
                IS_ALONE | IS_WIDE,
            );
        }
        WRITE_UNSEEN => return answers::unseen(key(ctx.arg(0)?)),
        AGAIN_ENTRY => return answers::begin_again(call(ctx, cookie), ctx.arg(0)?),
        AGAIN_END => return answers::end_again(call(ctx, cookie)),
        BEGIN_SERVER | BEGIN_CLIENT | FREE => return answers::ended(key(ctx.arg(0)?)),
        GO_SERVER | GO_CLIENT => return answers::ended(key(registers::go(ctx, 0))),
        GO_CLOSE => return answers::closed(key(registers::go(ctx, 0))),
        WRITE_END | WRITE_EX_END | FILE_END => call(ctx, cookie),
        GO_WRITE_END => goroutine(ctx),
        _ => return None,
    };
    // Also the first result of a function in Go.
    answers::end(call, registers::result(ctx))
}

/// A call of a function in C.
#[inline(always)]
fn call(ctx: &ProbeContext, cookie: u64) -> Key {
    key(registers::stack(ctx).wrapping_add(depth(cookie)))
}

/// A call of a function in Go: its stack may be moved meanwhile.
#[inline(always)]
fn goroutine(ctx: &ProbeContext) -> Key {
    key(registers::goroutine(ctx))
}

#[inline(always)]
fn key(at: u64) -> Key {
    // SAFETY: no arguments.
    Key { at, tgid: (bpf_get_current_pid_tgid() >> 32) as u32, reserved: 0 }
}

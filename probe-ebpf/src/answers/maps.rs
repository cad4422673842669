//! Where the answering direction of a connection is kept: with its socket.

use aya_ebpf::bindings::BPF_SK_STORAGE_GET_F_CREATE;
use aya_ebpf::btf_maps::{PerCpuArray, SkStorage};
use aya_ebpf::helpers::{bpf_sk_storage_delete, bpf_sk_storage_get};
use aya_ebpf::macros::btf_map;
use common::exchange::{self, Streams, UnixAnswering, UnixWaiting};
use core::ptr::{from_mut, from_ref, null_mut};

use crate::kernel::{member, offset};
use crate::reader::Job;

/// By what a connection is known.
pub(super) type Owner = *const u8;

/// The answering direction, where others read requests than those who follow responses.
pub(super) type Exchange = exchange::Exchange<UnixWaiting>;

/// What is noted of its requests of HTTP/2.
pub(super) type Inbox = exchange::Inbox<u32, 16>;

/// The answering direction of connections that carried a request: it lives and dies with the socket.
#[btf_map]
static EXCHANGES: SkStorage<exchange::Exchange> = SkStorage::new();

/// The same of HTTP/2.
#[btf_map]
static STREAMS: SkStorage<Streams> = SkStorage::new();

/// The answering direction of Unix connections, at the socket that answers.
#[btf_map]
static UNIX_ANSWERING: SkStorage<UnixAnswering> = SkStorage::new();

/// What is noted there of requests of HTTP/2.
#[btf_map]
static INBOXES: SkStorage<Inbox> = SkStorage::new();

/// The send being processed.
#[btf_map]
static SEND_JOBS: PerCpuArray<Job, 1> = PerCpuArray::new();

macro_rules! storage {
    ($map:expr, $state:ty, $socket:expr, $flags:expr) => {{
        let map = from_ref(&$map).cast_mut().cast();
        // SAFETY: the verifier admits only a socket here. The storage lives as long as the socket, and the socket's lock, which
        // whoever sends, receives or changes its state holds, makes this the only reference.
        unsafe { bpf_sk_storage_get(map, $socket.cast_mut().cast(), null_mut(), $flags).cast::<$state>().as_mut() }
    }};
}

/// Anything is kept with the socket. Most that send have nothing, and a helper that is called to find that costs five times as much.
#[inline(always)]
fn has_storage(socket: *const u8) -> bool {
    member::<u64>(socket, offset!(sock_storage)) != 0
}

/// The answering direction of a socket's connection, if it has carried a request.
#[inline(always)]
pub(super) fn exchange<'a>(socket: *const u8) -> Option<&'a mut exchange::Exchange> {
    if has_storage(socket) { storage!(EXCHANGES, exchange::Exchange, socket, 0) } else { None }
}

/// The same, made if need be.
#[inline(always)]
pub(super) fn exchange_made<'a>(socket: *const u8) -> Option<&'a mut exchange::Exchange> {
    storage!(EXCHANGES, exchange::Exchange, socket, BPF_SK_STORAGE_GET_F_CREATE.into())
}

/// HTTP/2's part of it, made if need be.
#[inline(always)]
pub(super) fn streams_made<'a>(socket: *const u8) -> Option<&'a mut Streams> {
    storage!(STREAMS, Streams, socket, BPF_SK_STORAGE_GET_F_CREATE.into())
}

/// HTTP/2's part of it.
#[inline(always)]
pub(super) fn streams<'a>(socket: *const u8) -> Option<&'a mut Streams> {
    storage!(STREAMS, Streams, socket, 0)
}

/// Gives it back.
#[inline(always)]
pub(super) fn drop_streams(socket: *const u8) {
    // SAFETY: the verifier admits only a socket here.
    unsafe { bpf_sk_storage_delete(from_ref(&STREAMS).cast_mut().cast(), socket.cast_mut().cast()) };
}

/// What this Unix socket answers, if anything was asked.
#[inline(always)]
pub(super) fn unix_answering<'a>(socket: *const u8) -> Option<&'a mut UnixAnswering> {
    if has_storage(socket) { storage!(UNIX_ANSWERING, UnixAnswering, socket, 0) } else { None }
}

/// The same, made if need be. Both ends may make it at the same time: one of them then gets none, and what the other one made is there.
#[inline(always)]
pub(super) fn unix_answering_made<'a>(socket: *const u8) -> Option<&'a mut UnixAnswering> {
    if let Some(made) = storage!(UNIX_ANSWERING, UnixAnswering, socket, BPF_SK_STORAGE_GET_F_CREATE.into()) {
        return Some(made);
    }
    unix_answering(socket)
}

/// What is noted of requests of HTTP/2 to this Unix socket.
#[inline(always)]
pub(super) fn inbox(socket: *const u8) -> *mut Inbox {
    storage!(INBOXES, Inbox, socket, 0).map_or(null_mut(), from_mut)
}

/// The same, made if need be.
#[inline(always)]
pub(super) fn inbox_made(socket: *const u8) -> *mut Inbox {
    storage!(INBOXES, Inbox, socket, BPF_SK_STORAGE_GET_F_CREATE.into()).map_or(null_mut(), from_mut)
}

#[inline(always)]
pub(super) fn send_job<'a>() -> Option<&'a mut Job> {
    // SAFETY: per CPU, and one program at a time runs on a CPU.
    unsafe { SEND_JOBS.get_ptr_mut(0)?.as_mut() }
}

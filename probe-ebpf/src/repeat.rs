//! A body that runs until it says that there is no more to do.
//!
//! The verifier looks at the body once and not once a round: `bpf_loop` (Linux 5.17) calls it, and on older kernels a walk over the
//! elements of a map that nothing is in.

use aya_ebpf::btf_maps::Array;
use aya_ebpf::helpers::{bpf_for_each_map_elem, bpf_loop};
use aya_ebpf::macros::btf_map;
use core::ffi::c_void;
use core::ptr::from_mut;

use crate::kernel::constant;

/// What a round does.
pub(crate) trait Round {
    /// What all rounds work with. It may be on the caller's stack.
    type Context;
    /// Says whether there is more to do.
    fn round(index: u64, context: &mut Self::Context) -> bool;
}

/// Its elements are the rounds; the agent says how many.
#[btf_map]
static ROUNDS: Array<u32, 1> = Array::new();

/// What is walked with.
struct Walk<C> {
    context: *mut C,
    rounds: u32,
}

/// At most so many rounds.
#[inline(always)]
pub(crate) fn repeat<R: Round>(rounds: u32, context: &mut R::Context) {
    if constant!(has_loop) != 0 {
        // SAFETY: the context outlives the loop, and `looped` is a callback for it.
        unsafe { bpf_loop(rounds, looped::<R> as *mut c_void, from_mut(context).cast(), 0) };
    } else {
        let mut walk = Walk { context, rounds };
        let map = (&raw const ROUNDS).cast_mut();
        // SAFETY: as above, of `walked`.
        unsafe { bpf_for_each_map_elem(map.cast(), walked::<R> as *mut c_void, from_mut(&mut walk).cast(), 0) };
    }
}

/// `long callback(u64 index, void *context)`: 0 to go on, 1 to stop.
extern "C" fn looped<R: Round>(index: u64, context: *mut R::Context) -> i64 {
    // SAFETY: `bpf_loop` hands over what `repeat` gave it.
    i64::from(!R::round(index, unsafe { &mut *context }))
}

/// `long callback(struct bpf_map *map, void *key, void *value, void *context)`: the same.
extern "C" fn walked<R: Round>(_: *mut c_void, key: *const u32, _: *mut c_void, walk: *mut Walk<R::Context>) -> i64 {
    // SAFETY: the key of an array's element; the rest as above.
    let (index, walk) = unsafe { (*key, &mut *walk) };
    if index >= walk.rounds {
        return 1;
    }
    // SAFETY: as above.
    i64::from(!R::round(index.into(), unsafe { &mut *walk.context }))
}

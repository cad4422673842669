//! Tells the agent how buffers can be read where they are, before it loads the probe: where the kernel maps its pages,
//! and whether what is found there is what the kernel's own function reads.
#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[expect(dead_code, unused_imports, unused_macros, reason = "the probe uses the rest")]
mod kernel;
mod object;
#[expect(dead_code, reason = "the probe uses the rest")]
mod skb;

use aya_ebpf::btf_maps::Array;
use aya_ebpf::helpers::bpf_dynptr_read;
use aya_ebpf::helpers::generated::bpf_seq_write;
use aya_ebpf::macros::{btf_map, btf_tracepoint};
use aya_ebpf::programs::BtfTracePointContext;
use common::pages::{Compared, MAX_NODES, SlabOffsets, Witness};
use core::ptr::{from_mut, from_ref};
use kernel::{Dynptr, dynptr_from_skb, load_word, read_kernel, untyped};
use skb::Piece;

/// Written by the agent.
#[unsafe(no_mangle)]
static SLABS: SlabOffsets = SlabOffsets::UNKNOWN;

macro_rules! slab {
    ($member:ident) => {
        // SAFETY: a static, read as the type it has.
        unsafe { core::ptr::read_volatile(&raw const SLABS.$member) }
    };
}

/// The only entry.
#[btf_map]
static COMPARED: Array<Compared, 1> = Array::new();

/// `struct bpf_iter__kmem_cache { meta; s }`, a word each.
const CACHE: usize = 1;

/// `int bpf_iter_kmem_cache(struct bpf_iter_meta *meta, struct kmem_cache *s)`: called for every slab cache (Linux 6.13).
/// Writes a [`Witness`] for each that has a slab with something free in it.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/kmem_cache")]
extern "C" fn find_pages(context: *const *const u8) -> i32 {
    // SAFETY: the iterator's context has two words.
    let (meta, cache) = unsafe { (context.read_volatile(), context.add(CACHE).read_volatile()) };
    if cache.is_null() {
        return 0;
    }
    for node in 0..MAX_NODES {
        let node: u64 = read_kernel(cache, slab!(cache_node) + node * slab!(node_stride));
        if node == 0 {
            break;
        }
        let list = node + u64::from(slab!(node_partial));
        let first: u64 = read_kernel(list as *const u8, 0);
        if first == 0 || first == list {
            continue;
        }
        let slab = first - u64::from(slab!(slab_list));
        let free: u64 = read_kernel(slab as *const u8, slab!(slab_freelist));
        let witness = Witness { page: slab, address: free };
        // SAFETY: `struct bpf_iter_meta` begins with the file that is being written.
        unsafe {
            let file: *mut u8 = meta.cast::<*mut u8>().read_volatile();
            bpf_seq_write(file.cast(), from_ref(&witness).cast_mut().cast(), size_of::<Witness>() as u32);
        }
    }
    0
}

/// Looks at the beginning of a buffer and of its first fragment.
#[btf_tracepoint(function = "skb_copy_datagram_iovec")]
#[inline(always)]
pub fn compare(ctx: BtfTracePointContext) -> i32 {
    let skb: *const u8 = ctx.arg(0);
    let linear = skb::linear_part(skb);
    let fragment = skb::fragment(skb::shared_info(skb), 0);
    // SAFETY: nobody minds a count that another CPU overwrites.
    let Some(compared) = (unsafe { COMPARED.get_ptr_mut(0).and_then(|compared| compared.as_mut()) }) else { return 0 };
    let mut dynptr = Dynptr::uninit();
    if !dynptr_from_skb(skb, &mut dynptr) {
        return 0;
    }
    match is_equal(&mut dynptr, 0, &linear) {
        Some(true) => compared.equal_linear += 1,
        Some(false) => compared.different += 1,
        None => {}
    }
    match is_equal(&mut dynptr, linear.length, &fragment) {
        Some(true) => compared.equal_fragments += 1,
        Some(false) => compared.different += 1,
        None => {}
    }
    0
}

/// Whether both ways of reading give the same eight bytes; nothing where there are none, or all are zero.
#[inline(always)]
fn is_equal(dynptr: &mut Dynptr, offset: u32, piece: &Piece) -> Option<bool> {
    const LENGTH: u32 = 8;
    if piece.length < LENGTH {
        return None;
    }
    let mut word = 0_u64;
    // SAFETY: the helper writes as many bytes as the word has.
    let result = unsafe { bpf_dynptr_read(from_mut(&mut word).cast(), LENGTH, from_mut(dynptr).cast(), offset, 0) };
    if result != 0 || word == 0 {
        return None;
    }
    // SAFETY: any address can be read.
    Some(word == unsafe { load_word(untyped(piece.address)) })
}

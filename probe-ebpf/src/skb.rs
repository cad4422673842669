//! The parts of a buffer, and the addresses that the kernel itself would use: `skb->data`, `skb_frag_address()`.
//!
//! A buffer is a `struct sk_buff`, and either of a type that the verifier knows or [`untyped`].

use crate::kernel::{constant, member, untyped};

/// A power of two above `MAX_SKB_FRAGS`, which is at most 45.
const MAX_FRAGMENTS: u32 = 64;
/// `skb_frag_t`.
const FRAGMENT_BYTES: u32 = 16;
/// The bit of a `netmem_ref` that says that the bytes are in no page.
const NO_PAGE: u64 = 1;

/// Bytes that stand together.
pub(crate) struct Piece {
    /// Of the first; 0 where it cannot be read.
    pub(crate) address: u64,
    pub(crate) length: u32,
}

/// The part that is no fragment.
#[inline(always)]
pub(crate) fn linear_part(skb: *const u8) -> Piece {
    let length: u32 = member(skb, constant!(layout.skb_len));
    let behind: u32 = member(skb, constant!(buffers.skb_data_len));
    Piece { address: member(skb, constant!(buffers.skb_data)), length: length.wrapping_sub(behind) }
}

/// `struct skb_shared_info`.
#[inline(always)]
pub(crate) fn shared_info(skb: *const u8) -> *const u8 {
    let head: u64 = member(skb, constant!(buffers.skb_head));
    let end: u32 = member(skb, constant!(buffers.skb_end));
    untyped(head.wrapping_add(end.into()))
}

/// How many fragments there are.
#[inline(always)]
pub(crate) fn fragment_count(shared: *const u8) -> u32 {
    member::<u8>(shared, constant!(buffers.fragment_count)).into()
}

/// A fragment; of no length where there is none.
#[inline(always)]
pub(crate) fn fragment(shared: *const u8, index: u32) -> Piece {
    let fragment = constant!(buffers.fragments) + (index & (MAX_FRAGMENTS - 1)) * FRAGMENT_BYTES;
    let page: u64 = member(shared, fragment + constant!(buffers.fragment_page));
    let offset: u32 = member(shared, fragment + constant!(buffers.fragment_offset));
    let length: u32 = member(shared, fragment + constant!(buffers.fragment_length));
    let shift = constant!(buffers.page_shift) & (u64::BITS - 1);
    let bytes = constant!(buffers.pages).wrapping_add(page << shift).wrapping_add(offset.into());
    Piece {
        address: if page & NO_PAGE == 0 { bytes } else { 0 },
        length: if index < fragment_count(shared) { length } else { 0 },
    }
}

/// The first buffer of the fragment list; 0 if there is none.
#[inline(always)]
pub(crate) fn first_listed(shared: *const u8) -> u64 {
    member(shared, constant!(buffers.fragment_list))
}

/// The buffer behind this one in a fragment list; 0 if there is none.
#[inline(always)]
pub(crate) fn next_listed(skb: *const u8) -> u64 {
    member(skb, constant!(buffers.skb_next))
}

//! Finds out whether the kernel's buffers can be read where they are. EDGE.
//!
//! A fragment of a buffer is known by its `struct page`. The kernel maps all memory in one piece, so the page's address is
//! that one's, times as many as a page is larger than it, and a number that is chosen when the kernel starts. The slabs tell it: each is known by page and by
//! address. Then both ways of reading are compared on bytes that the agent sends to itself.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{SystemTime, UNIX_EPOCH};

use aya::maps::Array;
use aya::programs::{BtfTracePoint, Iter};
use aya::{Btf, Ebpf, EbpfLoader};
use common::layout::{Buffers, CONSTANTS, Constants};
use common::pages::{COMPARED, Compared, SlabOffsets, Witness};

use super::constants::link_functions;
use super::hook::{self, TRACEPOINT, program};
use super::sys::Plain;
use super::{LoadError, btf};

static PAGES: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/pages"));
/// `sizeof(struct page)` that the probe counts with.
const PAGE_STRUCT_BYTES: u32 = 64;
const POINTER_BYTES: u32 = 8;
/// The largest slab.
const MAX_SLAB_BYTES: u64 = 1 << 20;
/// Descriptions of pages that are all in one piece (`SPARSEMEM_VMEMMAP`) are at least so far from the pages: all that is
/// mapped by `vmalloc` is between.
const MIN_DISTANCE: u64 = 1 << 44;
/// A Unix socket puts what is beyond 16 KiB into fragments.
const SENT_BYTES: usize = 48 * 1024;

/// Why buffers are not read where they are. One line; the other readers need none of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cause {
    #[error("this processor's memory map is not known to the probe")]
    Architecture,
    #[error(transparent)]
    Layout(#[from] btf::Error),
    #[error(transparent)]
    Program(#[from] LoadError),
    #[error("{slabs} slabs do not agree on where pages are mapped")]
    Disagreement { slabs: usize },
    #[error("both ways of reading differ: {0:?}")]
    Different(Compared),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What the programs here are told. It must live as long as what loads them.
#[derive(Default)]
pub(super) struct Trial {
    slabs: OnceCell<Plain<SlabOffsets>>,
    constants: OnceCell<Plain<Constants>>,
}

/// How to read the kernel's buffers where they are.
pub(super) fn find<'a>(
    loader: &mut EbpfLoader<'a>,
    kernel: (&btf::Btf<'_>, &Btf),
    constants: &Constants,
    told: &'a Trial,
) -> Result<Buffers, Cause> {
    let (types, _) = kernel;
    let known = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
    if !known || types.size_of("page")? != PAGE_STRUCT_BYTES {
        return Err(Cause::Architecture);
    }
    let mut buffers = offsets(types)?;
    buffers.page_shift = (rustix::param::page_size() / PAGE_STRUCT_BYTES as usize).trailing_zeros();
    let slabs = slabs(types)?;
    // Objects that are loaded later have none.
    loader.override_global("SLABS", told.slabs.get_or_init(|| Plain(slabs)), false);
    buffers.pages = agreed(&witnesses(loader, kernel)?, buffers.page_shift)?;
    let constants = told.constants.get_or_init(|| Plain(Constants { buffers, ..*constants }));
    loader.override_global(CONSTANTS, constants, true);
    let compared = compare(loader, kernel)?;
    if compared.equal_linear > 0 && compared.equal_fragments > 0 && compared.different == 0 {
        Ok(buffers)
    } else {
        Err(Cause::Different(compared))
    }
}

fn offsets(types: &btf::Btf<'_>) -> Result<Buffers, btf::Error> {
    Ok(Buffers {
        pages: 0,
        skb_data: types.offset_of("sk_buff", "data")?,
        skb_data_len: types.offset_of("sk_buff", "data_len")?,
        skb_head: types.offset_of("sk_buff", "head")?,
        skb_end: types.offset_of("sk_buff", "end")?,
        skb_next: types.offset_of("sk_buff", "next")?,
        fragment_count: types.offset_of("skb_shared_info", "nr_frags")?,
        fragment_list: types.offset_of("skb_shared_info", "frag_list")?,
        fragments: types.offset_of("skb_shared_info", "frags")?,
        fragment_page: types.offset_of("skb_frag", "netmem")?,
        fragment_length: types.offset_of("skb_frag", "len")?,
        fragment_offset: types.offset_of("skb_frag", "offset")?,
        page_shift: 0,
    })
}

fn slabs(types: &btf::Btf<'_>) -> Result<SlabOffsets, btf::Error> {
    let (cache_node, node_stride) = match types.offset_of("kmem_cache", "per_node") {
        Ok(nodes) => {
            let node = types.offset_of("kmem_cache_per_node_ptrs", "node")?;
            (nodes + node, types.size_of("kmem_cache_per_node_ptrs")?)
        }
        Err(_) => (types.offset_of("kmem_cache", "node")?, POINTER_BYTES),
    };
    Ok(SlabOffsets {
        cache_node,
        node_stride,
        node_partial: types.offset_of("kmem_cache_node", "partial")?,
        slab_list: types.offset_of("slab", "slab_list")?,
        slab_freelist: types.offset_of("slab", "freelist")?,
    })
}

fn witnesses(loader: &mut EbpfLoader<'_>, (types, btf): (&btf::Btf<'_>, &Btf)) -> Result<Vec<Witness>, Cause> {
    let mut ebpf = load(loader, types)?;
    let program: &mut Iter = program(&mut ebpf, "find_pages")?.try_into().map_err(LoadError::from_program)?;
    program.load(hook::SLABS, btf).map_err(LoadError::from_program)?;
    let link = program.attach().and_then(|id| program.take_link(id)).map_err(LoadError::from_program)?;
    let mut file = link.into_file().map_err(|error| LoadError::Other(error.to_string()))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes.chunks_exact(size_of::<Witness>()).map(witness).collect())
}

fn witness(bytes: &[u8]) -> Witness {
    let word = |at| bytes[at..].first_chunk().copied().map_or(0, u64::from_ne_bytes);
    Witness { page: word(0), address: word(8) }
}

/// Whether both addresses can be what they should. The list of nodes has no end that is known here, so what lies behind it is read, too.
fn is_plausible(witness: &Witness) -> bool {
    const OF_KERNEL: u64 = 1 << 63;
    witness.page & witness.address & OF_KERNEL != 0
        && witness.page.is_multiple_of(PAGE_STRUCT_BYTES.into())
        && witness.address.abs_diff(witness.page) >= MIN_DISTANCE
}

/// What most slabs say. They change while they are looked at, so some may say anything; whether it is right is tried afterwards.
fn agreed(witnesses: &[Witness], shift: u32) -> Result<u64, Cause> {
    let mut votes: HashMap<u64, usize> = HashMap::new();
    for witness in witnesses.iter().filter(|witness| is_plausible(witness)) {
        let (difference, place) = witness.difference(shift);
        if place < MAX_SLAB_BYTES {
            *votes.entry(difference).or_default() += 1;
        }
    }
    let all: usize = votes.values().sum();
    match votes.into_iter().max_by_key(|(_, votes)| *votes) {
        Some((difference, votes)) if votes * 8 > all * 7 => Ok(difference),
        _ => Err(Cause::Disagreement { slabs: all }),
    }
}

/// Reads the same bytes in both ways.
fn compare(loader: &mut EbpfLoader<'_>, (types, btf): (&btf::Btf<'_>, &Btf)) -> Result<Compared, Cause> {
    let mut ebpf = load(loader, types)?;
    let program: &mut BtfTracePoint = program(&mut ebpf, "compare")?.try_into().map_err(LoadError::from_program)?;
    program.load(TRACEPOINT, btf).map_err(LoadError::from_program)?;
    program.attach().map_err(LoadError::from_program)?;
    exchange()?;
    let map = ebpf.map(COMPARED).ok_or_else(|| io::Error::other("the object has no result"))?;
    let Plain(compared) =
        Array::<_, Plain<Compared>>::try_from(map).and_then(|map| map.get(&0, 0)).map_err(io::Error::other)?;
    Ok(compared)
}

fn load(loader: &mut EbpfLoader<'_>, types: &btf::Btf<'_>) -> Result<Ebpf, LoadError> {
    let mut code = PAGES.to_vec();
    link_functions(&mut code, types)?;
    loader.load(&code).map_err(LoadError::from_ebpf)
}

/// Sends bytes to itself, of which no eight are zero.
fn exchange() -> io::Result<()> {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_nanos() as u64);
    let mut number = seed | 1;
    let sent: Vec<u8> = std::iter::repeat_with(|| {
        // xorshift64: never zero.
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        number
    })
    .take(SENT_BYTES / 8)
    .flat_map(u64::to_ne_bytes)
    .collect();
    let (mut sender, mut receiver) = UnixStream::pair()?;
    let mut received = vec![0; SENT_BYTES];
    sender.set_nonblocking(true)?;
    let count = sender.write(&sent)?;
    receiver.read_exact(&mut received[..count])
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 0xffff_8880_0000_0000;
    const PAGES_AT: u64 = 0xffff_ea00_0000_0000;

    /// Where a `struct page` leads with pages of 4 KiB.
    const SHIFT: u32 = 6;

    fn slab(page: u64, place: u64) -> Witness {
        Witness { page: PAGES_AT + 64 * page, address: BASE + 4096 * page + place }
    }

    #[test]
    fn larger_pages_are_farther_apart() {
        let slabs: Vec<Witness> = (1..100)
            .map(|page| Witness { page: PAGES_AT + 64 * page, address: BASE + 16384 * page + 128 * page })
            .collect();
        assert_eq!(agreed(&slabs, 8).ok(), Some(BASE.wrapping_sub(PAGES_AT << 8)));
        assert_ne!(agreed(&slabs, SHIFT).ok(), Some(BASE.wrapping_sub(PAGES_AT << 8)));
    }

    #[test]
    fn slabs_agree_but_for_a_few() {
        let mut slabs: Vec<Witness> = (1..100).map(|number| slab(number * 37, number * 64)).collect();
        slabs.push(Witness { page: PAGES_AT, address: 0 });
        slabs.push(Witness { page: PAGES_AT, address: 0x1234_5678_9abc_def0 });
        let expected = BASE.wrapping_sub(PAGES_AT << SHIFT);
        assert_eq!(agreed(&slabs, SHIFT).ok(), Some(expected));
        let page = slabs[3].page;
        assert_eq!((page << SHIFT).wrapping_add(expected), BASE + 4096 * 4 * 37);
    }

    #[test]
    fn what_lies_behind_the_list_of_nodes_has_no_vote() {
        let mut slabs: Vec<Witness> = (1..100).map(|number| slab(number * 37, number * 64)).collect();
        // As read on a machine of one node.
        for page in [0x000c_ca1b_ffff_fff0, 0xffff_ffff_ffff_fff1, 0xd9e, 0x0008_b9d0_1fff_fff0, 0x3073_746e_6961_7264]
        {
            slabs.extend([Witness { page, address: 0 }; 10]);
        }
        assert_eq!(agreed(&slabs, SHIFT).ok(), Some(BASE.wrapping_sub(PAGES_AT << SHIFT)));
    }

    #[test]
    fn what_is_no_map_of_pages_is_refused() {
        assert!(agreed(&[], SHIFT).is_err());
        let disagreeing: Vec<Witness> = (1..8).map(|number| slab(number << 32, 64)).collect();
        let disagreeing: Vec<Witness> =
            disagreeing.iter().map(|slab| Witness { address: BASE + (slab.page & 0xfff << 30), ..*slab }).collect();
        assert!(agreed(&disagreeing, SHIFT).is_err());
        // Descriptions among the pages themselves, as without one piece for all.
        let near: Vec<Witness> =
            (1..100).map(|n| Witness { page: BASE + (1 << 30) + 64 * n, address: BASE + 4096 * n }).collect();
        assert!(agreed(&near, SHIFT).is_err());
    }

    #[test]
    fn what_is_sent_has_no_zero_words() -> io::Result<()> {
        exchange()
    }
}

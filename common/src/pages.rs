//! Where the kernel maps its pages: what a program of its own tells the agent before the probe is loaded. PURE.

/// NUMA nodes that are asked.
pub const MAX_NODES: u32 = 8;
/// The name of the map with the result of comparing.
pub const COMPARED: &str = "COMPARED";

/// A slab: the kernel's description of its first page, and an address within it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Witness {
    /// Its first `struct page`.
    pub page: u64,
    /// The address of a free object; 0 where it has none.
    pub address: u64,
}

impl Witness {
    /// What is to be added to the address of a `struct page`, shifted by `shift`, to get the page's, and the address's place
    /// in the slab. Both areas begin at multiples of 1 GiB (x86-64: `kernel_randomize_memory`; arm64: `PAGE_OFFSET` and
    /// `VMEMMAP_START`), and no slab is as large.
    #[must_use]
    pub const fn difference(self, shift: u32) -> (u64, u64) {
        const GIB: u64 = 1 << 30;
        let difference = self.address.wrapping_sub(self.page << shift);
        (difference & !(GIB - 1), difference & (GIB - 1))
    }
}

/// Byte offsets of what leads to a slab.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlabOffsets {
    /// `kmem_cache.node`; on newer kernels (seen on 7.3) `kmem_cache.per_node` and there `node`.
    pub cache_node: u32,
    /// From one node to the next.
    pub node_stride: u32,
    /// `kmem_cache_node.partial`.
    pub node_partial: u32,
    /// `slab.slab_list`.
    pub slab_list: u32,
    /// `slab.freelist`.
    pub slab_freelist: u32,
}

impl SlabOffsets {
    /// Before the agent has filled them in.
    pub const UNKNOWN: Self = Self { cache_node: 0, node_stride: 0, node_partial: 0, slab_list: 0, slab_freelist: 0 };
}

/// Eight bytes at the beginning of parts of buffers, read where they are and read by the kernel's function.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// In how many linear parts they were equal, and not zero.
    pub equal_linear: u64,
    /// In how many fragments.
    pub equal_fragments: u64,
    /// In how many of either they were not equal.
    pub different: u64,
}

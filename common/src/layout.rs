//! What the probe must be told of the running kernel: offsets of members, and which functions it has. PURE.
//!
//! Rust has no CO-RE. The agent reads the offsets from the kernel's BTF and writes them into the
//! probe's constants before it loads: the verifier then sees plain numbers.

macro_rules! layout {
    ($($(#[$doc:meta])* $field:ident = $structure:literal . $member:literal;)*) => {
        /// Byte offsets of kernel members, by the structure they are in.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Layout {
            $(#[doc = concat!("`", $structure, ".", $member, "`.")] pub $field: u32,)*
        }

        impl Layout {
            /// Before the agent has filled it in.
            pub const UNKNOWN: Self = Self { $($field: 0,)* };

            /// Asks `offset_of(structure, member)` for every member; the first error ends it.
            ///
            /// # Errors
            ///
            /// Whatever `offset_of` returns for a member it cannot find.
            pub fn resolve<E>(mut offset_of: impl FnMut(&str, &str) -> Result<u32, E>) -> Result<Self, E> {
                Ok(Self { $($field: offset_of($structure, $member)?,)* })
            }
        }
    };
}

layout! {
    skb_sk = "sk_buff"."sk";
    skb_cb = "sk_buff"."cb";
    skb_len = "sk_buff"."len";
    socket_sk = "socket"."sk";
    sock_family = "sock_common"."skc_family";
    sock_type = "sock"."sk_type";
    sock_protocol = "sock"."sk_protocol";
    sock_flags = "sock_common"."skc_flags";
    sock_cookie = "sock_common"."skc_cookie";
    sock_max_ack_backlog = "sock"."sk_max_ack_backlog";
    sock_socket = "sock"."sk_socket";
    sock_storage = "sock"."sk_bpf_storage";
    socket_file = "socket"."file";
    file_inode = "file"."f_inode";
    inode_number = "inode"."i_ino";
    tcp_copied_seq = "tcp_sock"."copied_seq";
    tcp_rcv_nxt = "tcp_sock"."rcv_nxt";
    tcp_bytes_received = "tcp_sock"."bytes_received";
    tcp_write_seq = "tcp_sock"."write_seq";
    tcp_bytes_sent = "tcp_sock"."bytes_sent";
    tcp_urg_data = "tcp_sock"."urg_data";
    tcp_urg_seq = "tcp_sock"."urg_seq";
    tcp_sent_at = "tcp_sock"."lsndtime";
    tcp_received_at = "inet_connection_sock"."icsk_ack.lrcvtime";
    tcp_cb_seq = "tcp_skb_cb"."seq";
    msg_iterator = "msghdr"."msg_iter";
    iterator_count = "iov_iter"."count";
    sock_queued = "sock"."sk_wmem_queued";
    sock_limit = "sock"."sk_sndbuf";
    unix_cb_consumed = "unix_skb_parms"."consumed";
    unix_peer = "unix_sock"."peer";
    task_group_leader = "task_struct"."group_leader";
    task_tgid = "task_struct"."tgid";
    task_start_boottime = "task_struct"."start_boottime";
    task_comm = "task_struct"."comm";
    task_thread_pid = "task_struct"."thread_pid";
    pid_level = "pid"."level";
    pid_numbers = "pid"."numbers";
    upid_nr = "upid"."nr";
    upid_ns = "upid"."ns";
    pid_namespace_ns = "pid_namespace"."ns";
    ns_inum = "ns_common"."inum";
}

/// Kernel functions that the probe calls. The kernel numbers them by their place in its BTF, so
/// the agent replaces a placeholder in the probe's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum KernelFunction {
    /// `bpf_dynptr_from_skb`, open to tracing programs since Linux 6.11.
    DynptrFromSkb,
    /// `bpf_preempt_disable`, since Linux 6.10.
    PreemptDisable,
    /// `bpf_preempt_enable`, since Linux 6.10.
    PreemptEnable,
    /// `bpf_rdonly_cast`, since Linux 6.2: not a call, but a hint for the verifier.
    ReadOnlyCast,
}

impl KernelFunction {
    /// Every function.
    pub const ALL: [Self; 4] = [Self::DynptrFromSkb, Self::PreemptDisable, Self::PreemptEnable, Self::ReadOnlyCast];

    /// The immediate of a call that is still to be patched: no helper has such a number.
    #[must_use]
    pub const fn placeholder(self) -> i32 {
        0x5c0b_0000 + self as i32
    }

    /// Its name in the kernel.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DynptrFromSkb => "bpf_dynptr_from_skb",
            Self::PreemptDisable => "bpf_preempt_disable",
            Self::PreemptEnable => "bpf_preempt_enable",
            Self::ReadOnlyCast => "bpf_rdonly_cast",
        }
    }

    /// The first version of Linux in which tracing programs may call it.
    #[must_use]
    pub const fn since(self) -> &'static str {
        match self {
            Self::DynptrFromSkb => "6.11",
            Self::PreemptDisable | Self::PreemptEnable => "6.10",
            Self::ReadOnlyCast => "6.2",
        }
    }
}

/// The immediate of a tail call that is still to be linked: no helper has such a number.
pub const TAIL_CALL: i32 = 0x5c0b_0100;

/// `struct iov_iter`, as the reader of user memory must know it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IovIter {
    /// The offset of `iter_type`.
    pub kind: u32,
    /// The offset of `iov_offset`: how much of the buffer or the current segment is filled.
    pub filled: u32,
    /// The offset of `ubuf`.
    pub buffer: u32,
    /// The offset of `iov` (later `__iov`): the current segment.
    pub segments: u32,
    /// `ITER_UBUF`; no value of `iter_type` where the kernel has none.
    pub is_buffer: u32,
    /// `ITER_IOVEC`.
    pub is_segments: u32,
}

impl IovIter {
    /// Before the agent has filled it in.
    pub const UNKNOWN: Self = Self { kind: 0, filled: 0, buffer: 0, segments: 0, is_buffer: 0, is_segments: 0 };
}

/// Where a process's cgroups and their names are.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cgroups {
    /// `task_struct.cgroups`.
    pub task_cgroups: u32,
    /// `css_set.dfl_cgrp`: the cgroup of v2.
    pub set_default: u32,
    /// `css_set.subsys[memory_cgrp_id]`; [`NO_CONTROLLER`](Self::NO_CONTROLLER) where there is none.
    pub set_controller: u32,
    /// `cgroup_subsys_state.cgroup`.
    pub state_cgroup: u32,
    /// `cgroup.root`: the hierarchy.
    pub cgroup_root: u32,
    /// `cgroup.level`: 0 for the outermost, which has no name.
    pub cgroup_level: u32,
    /// `cgroup.kn`.
    pub cgroup_node: u32,
    /// `kernfs_node.parent`, since Linux 6.15 `__parent`.
    pub node_parent: u32,
    /// `kernfs_node.name`; 0 if cgroups cannot be read.
    pub node_name: u32,
    /// Always zero; keeps the struct free of undefined bytes.
    pub reserved: u32,
}

impl Cgroups {
    /// A kernel that cannot limit memory.
    pub const NO_CONTROLLER: u32 = u32::MAX;

    /// Before the agent has filled it in.
    pub const UNKNOWN: Self = Self {
        task_cgroups: 0,
        set_default: 0,
        set_controller: Self::NO_CONTROLLER,
        state_cgroup: 0,
        cgroup_root: 0,
        cgroup_level: 0,
        cgroup_node: 0,
        node_parent: 0,
        node_name: 0,
        reserved: 0,
    };
}

/// How to read the kernel's buffers where they are.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buffers {
    /// What is to be added to the address of a `struct page`, shifted by `page_shift`, to get that of the page's bytes.
    pub pages: u64,
    /// `sk_buff.data`.
    pub skb_data: u32,
    /// `sk_buff.data_len`.
    pub skb_data_len: u32,
    /// `sk_buff.head`.
    pub skb_head: u32,
    /// `sk_buff.end`.
    pub skb_end: u32,
    /// `sk_buff.next`.
    pub skb_next: u32,
    /// `skb_shared_info.nr_frags`.
    pub fragment_count: u32,
    /// `skb_shared_info.frag_list`.
    pub fragment_list: u32,
    /// `skb_shared_info.frags`; 0 if buffers cannot be read where they are.
    pub fragments: u32,
    /// `skb_frag.netmem`.
    pub fragment_page: u32,
    /// `skb_frag.len`.
    pub fragment_length: u32,
    /// `skb_frag.offset`.
    pub fragment_offset: u32,
    /// From the address of a `struct page`, of 64 bytes, to that of a page: 6 where pages have 4 KiB, 8 where 16 KiB.
    pub page_shift: u32,
}

impl Buffers {
    /// Before the agent has filled it in.
    pub const UNKNOWN: Self = Self {
        pages: 0,
        skb_data: 0,
        skb_data_len: 0,
        skb_head: 0,
        skb_end: 0,
        skb_next: 0,
        fragment_count: 0,
        fragment_list: 0,
        fragments: 0,
        fragment_page: 0,
        fragment_length: 0,
        fragment_offset: 0,
        page_shift: 0,
    };
}

/// The probe's constants, written before it loads.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Constants {
    /// How to read the kernel's buffers where they are.
    pub buffers: Buffers,
    /// Where kernel members are.
    pub layout: Layout,
    /// Where a read's destination is.
    pub iterator: IovIter,
    /// Where a process's cgroups are.
    pub cgroups: Cgroups,
    /// The inode of the agent's PID namespace; 0 for the initial one.
    pub pid_namespace: u32,
    /// 1: `bpf_preempt_disable` and `bpf_preempt_enable` are there.
    pub can_hold_preemption: u32,
    /// 1: they are there, and programs at tracepoints do not run with preemption off anyway.
    pub hold_at_tracepoint: u32,
    /// The BTF id of `struct tcp_sock`; 0 where there is no `bpf_rdonly_cast`.
    pub tcp_sock: u32,
    /// Parts of a series, a power of two; 0 where responses are not counted.
    pub response_shards: u32,
    /// 1: a second program takes over at sends.
    pub second_at_sends: u32,
    /// 1: there is `bpf_loop`.
    pub has_loop: u32,
    /// Always 0.
    pub reserved: u32,
}

impl Constants {
    /// Before the agent has filled them in.
    pub const UNKNOWN: Self = Self {
        buffers: Buffers::UNKNOWN,
        layout: Layout::UNKNOWN,
        iterator: IovIter::UNKNOWN,
        cgroups: Cgroups::UNKNOWN,
        pid_namespace: 0,
        can_hold_preemption: 0,
        hold_at_tracepoint: 0,
        tcp_sock: 0,
        response_shards: 0,
        second_at_sends: 0,
        has_loop: 0,
        reserved: 0,
    };
}

/// No undefined bytes.
const _: () = assert!(
    size_of::<Constants>()
        == size_of::<Buffers>()
            + size_of::<Layout>()
            + size_of::<IovIter>()
            + size_of::<Cgroups>()
            + size_of::<[u32; 8]>()
);

/// The constants' name in the probe.
pub const CONSTANTS: &str = "CONSTANTS";

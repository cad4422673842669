//! Keys, values and capacities of the maps that kernel and agent share. PURE.
//!
//! Every struct is `repr(C)` without implicit padding; sizes are asserted at compile time.

use crate::failure::Failure;

/// How many processes are counted at a time, unless the agent is told otherwise. Requests of a process
/// that finds no room are lost as [`Failure::ProcessTableFull`].
pub const MAX_PROCESSES: u32 = 8192;

/// Room for the names of a process's cgroups. The longest path that was recorded, that of a pod in kind, takes 310.
pub const CGROUP_BYTES: usize = 472;

/// Names of the maps, as the loader and `bpftool` show them.
pub mod names {
    /// Connection state, one per socket.
    pub const CONNECTIONS: &str = "CONNECTIONS";
    /// `ProcessKey` → slot.
    pub const SLOTS: &str = "SLOTS";
    /// Slot → `Process`.
    pub const PROCESSES: &str = "PROCESSES";
    /// Slot → `Counts`, per CPU.
    pub const COUNTS: &str = "COUNTS";
    /// Slot → whether anything was counted in it, see [`MARKED`](super::MARKED).
    pub const MARKS: &str = "MARKS";
    /// Slots that no process holds.
    pub const FREE_SLOTS: &str = "FREE_SLOTS";
    /// One `Events`, per CPU.
    pub const EVENTS: &str = "EVENTS";
    /// As many elements as a loop may have rounds, where there is no `bpf_loop`.
    pub const ROUNDS: &str = "ROUNDS";
    /// What the agent tells the probe while it runs, see [`told`](super::told).
    pub const TOLD: &str = "TOLD";
}

/// A process as the kernel knows it, for as long as the machine runs: PIDs return, this does not.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ProcessKey {
    /// When its first thread started, in nanoseconds since boot (suspend included).
    pub start_ns: u64,
    /// Thread-group id in the initial PID namespace.
    pub tgid: u32,
    /// Always zero; keeps the key free of undefined bytes.
    pub reserved: u32,
}

/// What the kernel notes of a process when it first counts for it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Who it is.
    pub key: ProcessKey,
    /// Its name (`comm`), not necessarily UTF-8, padded with NUL.
    pub command: [u8; 16],
    /// PID in the agent's PID namespace; 0 where it is not visible there.
    pub pid: u32,
    /// How many bytes of `cgroups` hold something; 0 where the names could not be had.
    pub cgroup_bytes: u32,
    /// The names of its cgroups, the outermost first, not necessarily UTF-8, each followed by a NUL; behind the last of a
    /// hierarchy comes one more. First those of the cgroup v1 hierarchy that limits memory, where there is one, then those
    /// of v2. What finds no room is cut at the end: the innermost names.
    pub cgroups: [u8; CGROUP_BYTES],
}

/// HTTP version of a request, and the index of its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum Version {
    /// HTTP/1.0, and any HTTP/1.x with x other than 1.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

impl Version {
    /// Every version, in the order of its counter.
    pub const ALL: [Self; 3] = [Self::Http10, Self::Http11, Self::Http2];

    /// The version as OpenTelemetry writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
            Self::Http2 => "2",
        }
    }
}

/// Counts of one process on one CPU, since its slot was taken.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Counts {
    /// Requests received, by [`Version`].
    pub requests: [u64; Version::ALL.len()],
    /// How often a connection of this process that had carried a request became unsynced.
    pub unsynced: u64,
    /// Connections that began with a TLS ClientHello, received by this process.
    pub tls_connections: u64,
    /// TLS sessions whose plaintext was read as it was handed to this process.
    pub tls_sessions: u64,
}

/// Numbers that the agent tells the probe while it runs, by their index.
pub mod told {
    /// The inode number, modulo 2^32, of a socket that was opened when the probe was attached already. The kernel counts
    /// upwards, each CPU in a stretch of its own: who has a higher number is younger still; of who has a lower one nothing
    /// is known. 0: of none anything is known.
    pub const FIRST_INODE: u32 = 0;
    /// How many more connections there is memory for, as an `i64`.
    pub const ROOM: u32 = 1;
    /// Whether responses over Unix sockets are looked at: 1, else 0.
    pub const UNIX_ANSWERS: u32 = 2;
    /// Whether the probe sees Unix sockets close: 1, else 0.
    pub const UNIX_CLOSES: u32 = 3;
    /// How many numbers there are.
    pub const COUNT: u32 = 4;
}

/// A slot in which something was counted since the agent last cleared this; 0 where nothing was.
pub const MARKED: u64 = 1;

/// What happened on one CPU that is no request.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Losses, by [`Failure`].
    pub failures: [u64; Failure::COUNT],
    /// Connections that were unsynced and became certain again.
    pub resynced: u64,
}

const _: () = assert!(size_of::<ProcessKey>() == 16);
const _: () = assert!(size_of::<Process>() == 512);
const _: () = assert!(size_of::<Counts>() == 48);

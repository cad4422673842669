//! What the kernel keeps of sessions of TLS, and of calls that read from them: keys and capacities. PURE.

/// Names of the maps.
pub mod names {
    /// [`Key`](super::Key) → [`Connection`](crate::connection::Connection).
    pub const SESSIONS: &str = "SESSIONS";
    /// [`Key`](super::Key) → what a function was called with.
    pub const CALLS: &str = "CALLS";
}

/// How many sessions are known at a time, of all processes. A further one is [`Failure::StorageFull`](crate::failure::Failure).
pub const MAX_SESSIONS: usize = 1 << 16;
/// How many calls are known at a time. The end of a further one is [`Failure::CallLost`](crate::failure::Failure).
pub const MAX_CALLS: usize = 1 << 14;

/// A session: its address in its process. A call: where it is known by.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Key {
    /// Of a call: the stack pointer at the function's first instruction; in Go the goroutine's address.
    pub at: u64,
    /// Thread-group id in the initial PID namespace.
    pub tgid: u32,
    /// Always zero; keeps the key free of undefined bytes.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Key>() == 16);

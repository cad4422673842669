//! What the kernel keeps of sessions of TLS, and of calls that read from them: keys and capacities. PURE.

use crate::exchange::{Exchange, Handed, Inbox};
use crate::maps::ProcessKey;

/// Names of the maps.
pub mod names {
    /// [`Key`](super::Key) → [`Connection`](crate::connection::Connection).
    pub const SESSIONS: &str = "SESSIONS";
    /// [`Key`](super::Key) → what a function was called with.
    pub const CALLS: &str = "CALLS";
    /// [`Key`](super::Key) → [`Answering`](super::Answering).
    pub const ANSWERING: &str = "ANSWERING";
    /// [`Key`](super::Key) → [`Streams`](crate::exchange::Streams), of sessions that speak HTTP/2.
    pub const H2_ANSWERING: &str = "H2_ANSWERING";
    /// [`Key`](super::Key) → what a function that writes was called with.
    pub const WRITES: &str = "WRITES";
}

/// How many sessions are known at a time, of all processes. A further one is [`Failure::StorageFull`](crate::failure::Failure).
pub const MAX_SESSIONS: usize = 1 << 16;
/// How many calls are known at a time. The end of a further one is [`Failure::CallLost`](crate::failure::Failure).
pub const MAX_CALLS: usize = 1 << 14;
/// Sessions that have carried a request and whose answers are followed, at a time. Answers in a further one are
/// [`Untold::StorageFull`](crate::exchange::Untold). The kernel takes 1 KiB for each, and as much again for HTTP/2.
pub const MAX_ANSWERING: usize = 1 << 14;
/// How many requests of a session are kept, of HTTP/1 until they are answered and of HTTP/2 until something is written; of further ones it is
/// known that they came.
pub const NOTED: usize = 32;

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

/// Where those of HTTP/1 wait.
pub type Waiting = Handed<NOTED>;

/// The answering direction of a session. One thread may read while another one writes: who reads writes to the inboxes, all else is of
/// who writes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answering {
    /// What is being answered.
    pub exchange: Exchange<Waiting>,
    /// What was asked, of HTTP/2.
    pub inbox: Inbox<u32, NOTED>,
    /// What is written was seen before: 1, else 0.
    pub again: u64,
    /// Calls of Go's that write now, and above them how often it was closed: one may be closed meanwhile. In one word, so that one of
    /// them comes last.
    pub writing: u64,
}

impl Answering {
    /// How many requests are not answered to the end, beside streams of HTTP/2.
    #[must_use]
    pub fn owed(&self) -> u64 {
        let inbox = &self.inbox;
        u64::from(self.exchange.owed()) + u64::from(inbox.kept()) + u64::from(inbox.unkept)
    }

    /// Who counted the latest request, in this slot.
    #[must_use]
    pub const fn asked_by(&self) -> (ProcessKey, u32) {
        (self.exchange.process, self.exchange.slot)
    }
}

// With what the kernel keeps of an entry, not more than 1 KiB.
const _: () = assert!(size_of::<Answering>() + size_of::<Key>() + 48 <= 1024);

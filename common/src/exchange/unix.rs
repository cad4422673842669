//! The answering direction of a Unix connection. PURE.

use super::{Exchange, Handed};

/// How many requests of HTTP/1 are kept until they are answered; of further ones it is known that they came.
pub const UNIX_WAITING: usize = 8;

/// Where they wait.
pub type UnixWaiting = Handed<UNIX_WAITING>;

/// What is kept of a Unix connection's responses, in the storage of the socket that answers. It is made at the first request that is counted,
/// or where responses of HTTP/2 begin. Fresh storage is zeroed.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnixAnswering {
    /// What is being answered.
    pub exchange: Exchange<UnixWaiting>,
    /// When the socket that answers was closed; 0 while it is open. Written once, where it is.
    pub closed_ns: u64,
    /// The socket that asked is closed: 1 from then on.
    pub asker_closed: u8,
    /// Requests of HTTP/2 were noted: 1 from before the first one on.
    pub is_http2: u8,
    reserved: [u8; 6],
}

// The kernel adds 72 bytes to what is in a socket's storage (since Linux 6.3): 256.
const _: () = assert!(size_of::<UnixAnswering>() <= 184);

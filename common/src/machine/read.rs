//! One read of a stream, and where the machine gets its bytes from. PURE.

use crate::stream::Stream;
use crate::window::Window;

/// How far one read has been processed. Offsets count from the read's first byte.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// The next byte to process.
    pub offset: u32,
    /// The length of the read.
    pub end: u32,
    /// The offset of the window's first byte.
    pub window_start: u32,
    /// The offset behind the window's last byte.
    pub window_end: u32,
    /// How many turns it may still take, see [`Read::grant`].
    pub credit: u32,
}

impl Read {
    /// A read of `length` bytes of which the first `offset` are known already.
    #[must_use]
    pub const fn new(offset: u32, length: u32) -> Self {
        Self { offset, end: length, window_start: 0, window_end: 0, credit: 0 }
    }

    /// Lets it take turns, so many that a read of 64 KiB lasts some 0.1 ms at most, whatever somebody sends: it is looked at
    /// under the socket's lock. Ordinary requests take a turn for 20 bytes, or fewer.
    #[inline(always)]
    pub const fn grant(&mut self) {
        self.credit = 256 + self.end / 8;
    }

    /// The same for a send: the responses of HTTP/2 have more elements in as many bytes, and nobody but the server writes them.
    #[inline(always)]
    pub const fn grant_send(&mut self) {
        self.credit = 256 + self.end / 4;
    }

    /// Passes over bytes that need not be looked at.
    #[inline(always)]
    pub const fn pass_over(&mut self, stream: &mut Stream) {
        if stream.skips() {
            self.offset += stream.skip((self.end - self.offset) as u64) as u32;
        }
    }
}

/// A window that can be moved along the read.
pub trait Source: Window {
    /// The largest window.
    const CAPACITY: u32;
    /// Brings bytes from `offset` on into the window, at most `length` (1 to `CAPACITY`), and says how
    /// many; with 0 it wants to be asked again. `None`: they cannot be read.
    fn fill(&mut self, offset: u32, length: u32) -> Option<u32>;
}

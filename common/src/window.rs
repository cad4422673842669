//! Where the state machines read from: a bounded stretch of one stream. PURE.
//!
//! A machine may be stopped and resumed at any byte, so a window ends where it likes: at the end
//! of a read, of a packet, or of the buffer that the kernel side copies into.

/// How far behind the end of a window a word may end.
pub const SLACK: u32 = 48;

/// A stretch of bytes, addressed from 0.
///
/// Implementations answer any address without failing: the kernel's verifier wants no panic, and
/// a machine asks for words that begin up to [`SLACK`] bytes behind the end it was given, and does
/// not depend on their value.
pub trait Window {
    /// The byte at `at`.
    fn byte(&self, at: impl Into<u64>) -> u8;
    /// The eight bytes from `at` on, the first in the lowest bits.
    fn word(&self, at: impl Into<u64>) -> u64;
    /// The sixteen bytes from `at` on, an address that [`Window::somewhere`] gave.
    fn pair(&self, at: u64) -> (u64, u64) {
        (self.word(at), self.word(at + 8))
    }
    /// Whether responses are followed, too. Then requests are told with their methods, and what may be HTTP/2 is looked at where the
    /// stream's begin was missed.
    #[must_use]
    fn follows_responses(&self) -> bool {
        true
    }
    /// The same address, below 65 536. The kernel's verifier compares what it knows of a loop's variables to find that
    /// it has been there before; a loop that passes its address through here tells it every time the same: somewhere in
    /// the window, or a little behind it.
    #[must_use]
    fn somewhere(&self, at: u64) -> u64 {
        at
    }
}

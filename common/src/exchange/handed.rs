//! Requests of HTTP/1 that wait, where others read them than those who follow their responses. PURE.
//!
//! As an [`Inbox`], and besides:
//!
//! - `breaks` is added to by one side and taken from by the other.
//! - `decides` is set before its request is added to the unkept, and never cleared.
//! - All else is of who follows responses. What of it the other side is to know, it adds to the inbox behind each look at responses
//!   ([`Handed::done`]).

use super::{Asked, Inbox, Queue, Taken};

/// Requests that wait. Fresh storage is zeroed.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handed<const KEPT: usize> {
    /// They stay here until their response begins.
    pub inbox: Inbox<Asked, KEPT>,
    /// How often requests were missed, and that not taken note of.
    pub breaks: u32,
    /// How many of the unkept are answered, or never will be, beside those that were taken from their number.
    passed: u32,
    /// How many of those kept had come when it was looked at responses.
    seen: u8,
    /// How many of these are answered, or never will be.
    begun: u8,
    /// Among the unkept was one whose method decides about its response: 1 from then on.
    pub decides: u8,
    reserved: [u8; 5],
}

impl<const KEPT: usize> Default for Handed<KEPT> {
    fn default() -> Self {
        Self { inbox: Inbox::default(), breaks: 0, passed: 0, seen: 0, begun: 0, decides: 0, reserved: [0; 5] }
    }
}

impl<const KEPT: usize> Handed<KEPT> {
    /// It is going to be looked at responses: `kept` were kept and not taken.
    #[inline(always)]
    pub(super) const fn see(&mut self, kept: u32) {
        const { assert!(KEPT <= u8::MAX as usize) };
        self.seen = if kept < KEPT as u32 { kept as u8 } else { KEPT as u8 };
    }

    /// It was looked at responses: by how many more of those kept were taken, and by how many fewer of those unkept are not taken note of.
    #[inline(always)]
    pub const fn done(&mut self) -> (u32, u32) {
        let done = (self.begun as u32, self.passed);
        self.seen -= self.begun;
        self.begun = 0;
        self.passed = 0;
        done
    }

    /// How many of those kept had come and are not answered.
    #[inline(always)]
    const fn left(&self) -> u8 {
        self.seen.wrapping_sub(self.begun)
    }

    /// Where the next of them is.
    #[inline(always)]
    const fn at(&self) -> u32 {
        self.inbox.taken.wrapping_add(self.begun as u32)
    }

    #[inline(always)]
    const fn unkept(&self) -> u32 {
        self.inbox.unkept.wrapping_sub(self.passed)
    }
}

impl<const KEPT: usize> Queue for Handed<KEPT> {
    #[inline(always)]
    fn next(&self) -> Option<Asked> {
        if self.left() != 0 { Some(self.inbox.read(self.at()).0) } else { None }
    }

    #[inline(always)]
    fn take(&mut self) -> Option<Taken> {
        if self.left() != 0 {
            let (asked, started_ns) = self.inbox.read(self.at());
            self.begun = self.begun.wrapping_add(1);
            return Some(Taken { asked, started_ns, ambiguous: false });
        }
        if self.unkept() == 0 {
            return None;
        }
        self.passed = self.passed.wrapping_add(1);
        Some(Taken { asked: Asked::HTTP_1, started_ns: 0, ambiguous: self.decides != 0 })
    }

    #[inline(always)]
    fn len(&self) -> u32 {
        self.inbox.kept().wrapping_sub(self.begun.into()).saturating_add(self.unkept())
    }

    #[inline(always)]
    fn is_empty(&self) -> bool {
        self.inbox.is_idle()
    }

    #[inline(always)]
    fn clear(&mut self) -> u32 {
        let (left, unkept) = (self.left(), self.unkept());
        self.begun = self.seen;
        self.passed = self.passed.wrapping_add(unkept);
        unkept.saturating_add(left.into())
    }
}

//! What one turn of the machine may find. PURE.

use crate::failure::Failure;
use crate::maps::Version;

/// What a turn found. One number and no enum: what an enum leaves undefined, the compiler may keep
/// in a place that the kernel's verifier then refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event(u32);

impl Event {
    /// Nothing to report.
    pub const NONE: Self = Self(0);
    /// The read is used up, or no byte of it matters.
    pub const END: Self = Self(1);
    const REQUESTS: u32 = 2;
    const FAILURES: u32 = 16;

    #[inline(always)]
    pub(crate) const fn request(version: Version) -> Self {
        Self(Self::REQUESTS + version as u32)
    }

    #[inline(always)]
    pub(crate) const fn failed(cause: Failure) -> Self {
        Self(Self::FAILURES + cause as u32)
    }

    /// A request: the index of its [`Version`].
    #[inline(always)]
    #[must_use]
    pub const fn version(self) -> Option<u32> {
        let index = self.0.wrapping_sub(Self::REQUESTS);
        if index < Version::ALL.len() as u32 { Some(index) } else { None }
    }

    /// What comes next cannot be known any more: the index of the [`Failure`].
    #[inline(always)]
    #[must_use]
    pub const fn failure(self) -> Option<u32> {
        if self.0 >= Self::FAILURES { Some(self.0 - Self::FAILURES) } else { None }
    }
}

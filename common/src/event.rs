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
    /// A TLS ClientHello.
    pub const CLIENT_HELLO: Self = Self(Self::REQUESTS + Version::ALL.len() as u32);
    /// Where the method of a request begins.
    const METHOD: u32 = 16;
    const FAILURES: u32 = 16;
    /// And the status, which is from 100 to 999.
    const RESPONSES: u32 = 1024;

    #[inline(always)]
    pub(crate) const fn request(version: Version, method: u8) -> Self {
        Self((Self::REQUESTS + version as u32) | ((method as u32) << Self::METHOD))
    }

    #[inline(always)]
    pub(crate) const fn failed(cause: Failure) -> Self {
        Self(Self::FAILURES + cause as u32)
    }

    #[inline(always)]
    pub(crate) const fn response(status: u32) -> Self {
        Self(Self::RESPONSES + status)
    }

    /// The status of a response; 0: something else.
    #[inline(always)]
    #[must_use]
    pub const fn status(self) -> u32 {
        self.0.saturating_sub(Self::RESPONSES)
    }

    /// A request: the index of its [`Version`].
    #[inline(always)]
    #[must_use]
    pub const fn version(self) -> Option<u32> {
        let index = (self.0 & 0xffff).wrapping_sub(Self::REQUESTS);
        if index < Version::ALL.len() as u32 { Some(index) } else { None }
    }

    /// The number of a request's [`crate::method::Method`].
    #[inline(always)]
    #[must_use]
    pub const fn method(self) -> u8 {
        (self.0 >> Self::METHOD) as u8
    }

    /// What comes next cannot be known any more: the index of the [`Failure`]. Of responses, [`Event::status`] is asked
    /// first.
    #[inline(always)]
    #[must_use]
    pub const fn failure(self) -> Option<u32> {
        let kind = self.0 & 0xffff;
        if kind >= Self::FAILURES { Some(kind - Self::FAILURES) } else { None }
    }
}

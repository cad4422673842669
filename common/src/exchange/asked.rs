//! What is kept of a request until it is answered. PURE.

use crate::event::Event;
use crate::maps::Version;
use crate::method::Method;

/// A request's method and version, in a byte.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Asked(u8);

const VERSION: u32 = 4;

impl Asked {
    /// A request of which no more than its version is known.
    pub const HTTP_1: Self = Self(Method::Unknown as u8 | (Version::Http11 as u8) << VERSION);
    /// A request of HTTP/2 whose method is not known.
    pub const HTTP_2: Self = Self::http_2(Method::Unknown as u8);

    /// The request that an event says was found.
    #[inline(always)]
    #[must_use]
    pub const fn of(event: Event, version: u32) -> Self {
        Self(event.method() | (version as u8) << VERSION)
    }

    /// A request of HTTP/2 whose method has this number.
    #[inline(always)]
    #[must_use]
    pub const fn http_2(method: u8) -> Self {
        Self(method | (Version::Http2 as u8) << VERSION)
    }

    /// Its method decides about the response's body.
    #[inline(always)]
    #[must_use]
    pub const fn decides(self) -> bool {
        self.is(Method::Head) || self.is(Method::Connect)
    }

    /// As a number, for a key.
    #[inline(always)]
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The number of its method alone.
    #[inline(always)]
    #[must_use]
    pub const fn method_number(self) -> u8 {
        self.0 & ((1 << VERSION) - 1)
    }

    /// What this number stands for.
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        Self(number)
    }

    /// The method.
    #[must_use]
    pub fn method(self) -> Method {
        Method::of(self.method_number())
    }

    /// The version.
    #[must_use]
    pub fn version(self) -> Version {
        Version::ALL.get(usize::from(self.0 >> VERSION)).copied().unwrap_or(Version::Http11)
    }

    #[inline(always)]
    pub(super) const fn is(self, method: Method) -> bool {
        self.method_number() == method as u8
    }
}

//! What is noted of the requests in one read, for their responses.

use common::event::Event;
use common::exchange::Asked;
use common::maps::Version;
use common::method::Method;

use crate::kernel::bounded;

/// Requests of one read whose kind is kept; of further ones their number is.
pub(crate) const KEPT: u32 = 256;
/// The bit of a request of HTTP/1. Those of HTTP/2 have half their stream's identifier, which is odd, and above it their kind.
const HTTP_1: u32 = 1 << 29;
const KIND: u32 = 30;
const STREAM: u32 = (1 << KIND) - 1;
const UNKNOWN: u32 = 1;
const GET: u32 = 2;
const POST: u32 = 3;
/// Of other methods, which have no kind, the number stands below that bit, and the whole identifier below the number. Where that is too
/// large, after 16 million requests on a connection, they are noted as unknown.
const METHOD: u32 = 25;
const LAST_STREAM: u32 = (1 << METHOD) - 1;

/// Requests, in their order.
#[repr(C)]
pub(crate) struct Noted {
    pub(crate) count: u32,
    /// Of one that is not kept, the method decides about the response: 1, else 0.
    pub(crate) decides: u32,
    requests: [u32; KEPT as usize],
}

/// One of them.
pub(crate) enum Request {
    Http1(Asked),
    /// Its stream, and what it is.
    Http2(u32, Asked),
}

impl Noted {
    #[inline(always)]
    pub(crate) fn note(&mut self, event: Event, version: u32, stream: u32) {
        let asked = Asked::of(event, version);
        let request = if version == Version::Http2 as u32 {
            let of_kind = |kind| stream >> 1 | kind << KIND;
            match event.method() {
                method if method == Method::Get as u8 => of_kind(GET),
                method if method == Method::Post as u8 => of_kind(POST),
                method if method == Method::Unknown as u8 || stream > LAST_STREAM => of_kind(UNKNOWN),
                method => stream | u32::from(method) << METHOD,
            }
        } else {
            u32::from(asked.number()) | HTTP_1
        };
        let count = self.count;
        self.count = count + 1;
        if count >= KEPT {
            self.decides |= u32::from(Request::of(request).decides());
        } else if let Some(noted) = self.requests.get_mut(bounded!(count, KEPT as i32 - 1) as usize) {
            *noted = request;
        }
    }

    #[inline(always)]
    pub(crate) fn get(&self, index: u32) -> Request {
        Request::of(self.number(index))
    }

    /// A request as a number, which is not 0.
    #[inline(always)]
    pub(crate) fn number(&self, index: u32) -> u32 {
        self.requests.get(bounded!(index, KEPT as i32 - 1) as usize).copied().unwrap_or(HTTP_1)
    }
}

impl Request {
    /// The request that a number stands for.
    #[inline(always)]
    pub(crate) fn of(number: u32) -> Self {
        let method = match number >> KIND {
            GET => Method::Get,
            POST => Method::Post,
            UNKNOWN => Method::Unknown,
            _ if number & HTTP_1 == 0 => {
                return Self::Http2(number & LAST_STREAM, Asked::http_2((number >> METHOD) as u8));
            }
            _ => return Self::Http1(Asked::from_number(number as u8)),
        };
        Self::Http2((number & STREAM) << 1 | 1, Asked::http_2(method as u8))
    }

    /// Its method decides about its response.
    #[inline(always)]
    pub(crate) fn decides(&self) -> bool {
        matches!(self, Self::Http1(asked) if asked.decides())
    }
}

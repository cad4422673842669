//! The state of one byte stream, and one turn of the machine that reads it. PURE.
//!
//! The kernel side keeps a [`Stream`] in the socket's storage and calls [`turn`] until the read is
//! used up; tests and fuzz targets on the host do the same.

use crate::failure::Failure;
use crate::maps::Version;
use crate::window::Window;
use crate::{http1, http2};

/// What the stream's next byte belongs to.
///
/// The order matters: settled phases come before [`Phase::Body`], and those that pass over a known
/// number of bytes stand together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// The stream's first byte: fresh storage is zeroed.
    #[default]
    Begin,
    /// No request will come: another protocol, or the responses that a client reads.
    NotHttp,
    /// The connection left HTTP after a request (CONNECT, an accepted `Upgrade`).
    Tunnel,
    /// What comes next is not known.
    Unsynced,
    /// `left` bytes of a request's body.
    Body,
    /// `left` bytes of a chunk.
    ChunkData,
    /// `left` bytes of a PROXY protocol v2 header.
    ProxyPayload,
    /// `left` bytes of an HTTP/2 frame.
    FramePayload,
    /// A request line, or empty lines before it.
    Start,
    /// The rest of the signature that opens a PROXY protocol v2 header.
    ProxySignature,
    /// The four bytes between that signature and the header's payload.
    ProxyHeader,
    /// The rest of a PROXY protocol v1 line.
    ProxyLine,
    /// A request's method.
    Method,
    /// A request's target.
    Target,
    /// The byte that ends a target although it is no blank.
    TargetEnd,
    /// A request's version.
    Version,
    /// The end of a request line.
    RequestEnd,
    /// The start of a field line, or the end of the head.
    FieldStart,
    /// The name of a field that may matter.
    FieldName,
    /// The value of `Content-Length`.
    ContentLength,
    /// The value of `Transfer-Encoding`.
    TransferEncoding,
    /// The rest of a field line that does not matter.
    FieldRest,
    /// After the CR that ends a head.
    HeadEnd,
    /// A chunk's size.
    ChunkSize,
    /// The rest of a chunk's size line.
    ChunkExtension,
    /// The line end after a chunk.
    ChunkEnd,
    /// The start of a trailer line, or the end of the message.
    TrailerStart,
    /// The rest of a trailer line.
    TrailerRest,
    /// After the CR that ends the trailers.
    TrailerEnd,
    /// The rest of the HTTP/2 connection preface.
    Preface,
    /// The first HTTP/2 frame's header.
    FirstFrame,
    /// An HTTP/2 frame's header.
    Frame,
}

/// Facts about the current request, as bits of [`Stream::flags`].
pub mod flag {
    /// The stream has carried a request.
    pub const SEEN: u8 = 1;
    /// A `Content-Length` was read.
    pub const SIZED: u8 = 1 << 1;
    /// A transfer coding was read.
    pub const CODED: u8 = 1 << 2;
    /// The last transfer coding is `chunked`.
    pub const CHUNKED: u8 = 1 << 3;
    /// The fields contradict each other or cannot be read.
    pub const BAD_FRAMING: u8 = 1 << 4;
    /// The method is CONNECT.
    pub const CONNECT: u8 = 1 << 5;
    /// The request offered to leave HTTP/1; the bytes after it tell whether it was taken up.
    pub const UPGRADE: u8 = 1 << 6;
    /// All that belongs to one request only.
    pub const REQUEST: u8 = SIZED | CODED | CHUNKED | BAD_FRAMING | CONNECT | UPGRADE;
}

/// Where a stream stands between two bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// Bytes to pass over; of a long method, how many were read; while a head is read, the length its fields have given so far.
    pub left: u64,
    /// What has been read of a token or a number that may continue in the next read.
    pub token: u64,
    /// The highest HTTP/2 stream that opened.
    pub last_stream: u32,
    /// What the next byte belongs to.
    pub phase: Phase,
    /// How far a token has been read.
    pub progress: u8,
    /// See [`flag`].
    pub flags: u8,
    /// The kind of method and the version while a request line is read; then the field.
    pub detail: u8,
}

const _: () = assert!(size_of::<Stream>() == 24);

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
}

impl Read {
    /// A read of `length` bytes of which the first `offset` are known already.
    #[must_use]
    pub const fn new(offset: u32, length: u32) -> Self {
        Self { offset, end: length, window_start: 0, window_end: 0 }
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

impl Phase {
    /// A field line, of which nothing that matters has been read.
    #[inline(always)]
    #[must_use]
    pub(crate) const fn is_field_line(self) -> bool {
        matches!(self, Self::FieldStart | Self::FieldRest)
    }

    /// What is left of the line does not matter.
    #[inline(always)]
    #[must_use]
    pub(crate) const fn is_rest_of_line(self) -> bool {
        matches!(self, Self::TrailerRest | Self::ChunkExtension | Self::ProxyLine)
    }

    /// Bytes of this stream still matter and are certain.
    #[inline(always)]
    #[must_use]
    pub const fn reads_on(self) -> bool {
        !matches!(self, Self::NotHttp | Self::Tunnel | Self::Unsynced)
    }
}

impl Stream {
    /// No byte of this stream needs to be looked at any more.
    #[inline(always)]
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        matches!(self.phase, Phase::NotHttp | Phase::Tunnel)
    }

    /// The next `left` bytes can be passed over unread.
    #[inline(always)]
    #[must_use]
    pub const fn skips(&self) -> bool {
        self.phase as u8 >= Phase::Body as u8 && self.phase as u8 <= Phase::FramePayload as u8
    }

    /// Passes over at most `count` bytes; returns how many.
    #[inline(always)]
    pub const fn skip(&mut self, count: u64) -> u64 {
        let taken = if count < self.left { count } else { self.left };
        self.left -= taken;
        if self.left == 0 {
            match self.phase {
                Phase::ChunkData => self.enter(Phase::ChunkEnd),
                Phase::FramePayload => self.enter(Phase::Frame),
                _ => self.enter(Phase::Start),
            }
        }
        taken
    }

    /// Goes on with `phase` from its beginning.
    #[inline(always)]
    pub(crate) const fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.progress = 0;
    }

    #[inline(always)]
    pub(crate) const fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }
}

/// One bounded step through a read: moves the window, lets a machine read on, and passes over what
/// it then knows to pass over (before the first turn, the caller does).
#[inline(always)]
pub fn turn<S: Source>(stream: &mut Stream, source: &mut S, read: &mut Read) -> Event {
    if read.offset >= read.end || !stream.phase.reads_on() {
        return Event::END;
    }
    if read.offset >= read.window_end {
        let rest = read.end - read.offset;
        let length = if rest < S::CAPACITY { rest } else { S::CAPACITY };
        let Some(length) = source.fill(read.offset, length) else {
            return fail(stream, Failure::Unreadable);
        };
        if length == 0 {
            return Event::NONE;
        }
        read.window_start = read.offset;
        read.window_end = read.offset + length;
    }
    let at = read.offset - read.window_start;
    let end = read.window_end - read.window_start;
    let (next, event) = if stream.phase >= Phase::Preface {
        http2::step(stream, source, at, end)
    } else {
        http1::step(stream, source, at, end)
    };
    read.offset = read.window_start + next;
    read.pass_over(stream);
    event
}

/// Gives the stream up until it becomes certain again.
#[inline(always)]
pub(crate) const fn fail(stream: &mut Stream, cause: Failure) -> Event {
    stream.enter(Phase::Unsynced);
    Event::failed(cause)
}

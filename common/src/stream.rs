//! The state of one byte stream: where it stands between two bytes. PURE.

use crate::event::Event;
use crate::failure::Failure;

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
    /// Likewise, of `AF_UNIX`: they are the responses to requests that were counted, and are followed where they are read.
    Answers,
    /// A ClientHello was received: ciphertext.
    Tls,
    /// The connection left HTTP after a request (CONNECT, an accepted `Upgrade`).
    Tunnel,
    /// A CONNECT was asked: the answer tells whether a tunnel follows.
    Asked,
    /// The body of a response that ends with its connection.
    UntilClose,
    /// What comes next is not known, and nothing that the sender could not feign would tell.
    GivenUp,
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
    /// A request line, or empty lines before it; a status line.
    Start,
    /// The rest of the signature that opens a PROXY protocol v2 header.
    ProxySignature,
    /// The four bytes between that signature and the header's payload.
    ProxyHeader,
    /// The rest of a PROXY protocol v1 line.
    ProxyLine,
    /// The bytes behind the first one of what may be a TLS ClientHello.
    ClientHello,
    /// A request's method.
    Method,
    /// A request's target.
    Target,
    /// A byte in or behind a target that is no letter: a blank, most often.
    TargetEnd,
    /// A request's version.
    Version,
    /// The end of a request line.
    RequestEnd,
    /// The server has switched protocols: HTTP/2, if its preface comes, or something else.
    Switched,
    /// A status line that a read's end cut.
    StatusLine,
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
    /// The fields of an HTTP/2 response.
    Block,
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
    /// A response has no body, whatever its fields say: its request was a HEAD, or its status says so.
    pub const BODILESS: u8 = 1 << 7;
    /// Of a stream that is not HTTP's requests: it begins as HTTP/2's answers do.
    pub const FRAMES: u8 = 1 << 3;
    /// Of HTTP/2: that these are its frames is not certain yet, and nothing counts.
    pub const UNSURE: u8 = 1 << 7;
    /// Of HTTP/2's responses: the frame is the last of its stream.
    pub const ENDS_STREAM: u8 = 1 << 1;
    /// All that belongs to one request only.
    pub const REQUEST: u8 = SIZED | CODED | CHUNKED | BAD_FRAMING | CONNECT | UPGRADE;
}

/// Where a stream stands between two bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// Bytes to pass over; of a long method, how many were read; while a head is read, the length its fields have given so far.
    pub left: u64,
    /// What has been read of a token or a number that may continue in the next read; of lines that go on and on, how many bytes.
    pub token: u64,
    /// The highest HTTP/2 stream that opened. While a request is looked for: how often the
    /// stream is still tried, 0 as often as it takes.
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
        !matches!(
            self,
            Self::NotHttp
                | Self::Answers
                | Self::Tls
                | Self::Tunnel
                | Self::Asked
                | Self::UntilClose
                | Self::GivenUp
                | Self::Unsynced
        )
    }

    /// What comes next is not known, whether or not it may be again.
    #[inline(always)]
    #[must_use]
    pub const fn is_lost(self) -> bool {
        matches!(self, Self::GivenUp | Self::Unsynced)
    }
}

/// How often a stream whose first line is no request line is tried. What then is none either is another protocol's, whose
/// every read would be tried.
pub(crate) const TRIES: u32 = 4;

impl Stream {
    /// What comes next is not known, for this cause.
    #[inline(always)]
    pub(crate) const fn lost(cause: Failure) -> Self {
        Self::at(if cause.comes_back() { Phase::Unsynced } else { Phase::GivenUp }, 0)
    }

    /// May be at the start of a request again.
    #[inline(always)]
    pub(crate) const fn to_try(self) -> Self {
        Self::at(Phase::Start, if self.last_stream == 0 { u32::MAX } else { self.last_stream })
    }

    /// May be at the start of a frame of HTTP/2.
    #[inline(always)]
    pub const fn unsure_frames() -> Self {
        Self { flags: flag::UNSURE, ..Self::at(Phase::Frame, 0) }
    }

    /// Is looked at as HTTP/2, and nothing of it counts yet.
    #[inline(always)]
    #[must_use]
    pub const fn is_unsure(&self) -> bool {
        self.has(flag::UNSURE)
            && (self.phase as u8 >= Phase::Preface as u8 || matches!(self.phase, Phase::FramePayload))
    }

    /// An unsynced stream that is tried as often as it takes: it was seen to exist, and not how it began.
    #[inline(always)]
    pub(crate) const fn is_tried_always(&self) -> bool {
        self.last_stream == 0 || self.last_stream > TRIES
    }

    /// Was tried, and is not.
    #[inline(always)]
    pub(crate) const fn tried(&self) -> Self {
        match self.last_stream {
            _ if self.is_unsure() => Self::at(Phase::Unsynced, 0),
            1 => Self::at(Phase::NotHttp, 0),
            tries => Self::at(Phase::Unsynced, tries.saturating_sub(1)),
        }
    }

    #[inline(always)]
    const fn at(phase: Phase, last_stream: u32) -> Self {
        Self { left: 0, token: 0, last_stream, phase, progress: 0, flags: 0, detail: 0 }
    }

    /// No byte of this stream needs to be looked at any more.
    #[inline(always)]
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        matches!(
            self.phase,
            Phase::NotHttp | Phase::Answers | Phase::Tls | Phase::Tunnel | Phase::UntilClose | Phase::GivenUp
        )
    }

    /// What comes next depends on the answer to a request that was read: a CONNECT, or one that offered to switch
    /// protocols.
    #[inline(always)]
    #[must_use]
    pub const fn awaits_answer(&self) -> bool {
        matches!(self.phase, Phase::Asked) || self.flags & flag::UPGRADE != 0 && matches!(self.phase, Phase::Start)
    }

    /// That may be, or it depends on what was sent whether this is HTTP/2.
    #[inline(always)]
    #[must_use]
    pub const fn may_await(&self) -> bool {
        self.flags & (flag::UPGRADE | flag::UNSURE) != 0 || matches!(self.phase, Phase::Asked)
    }

    /// What that answer was: taken, refused, or not known, as where it is still to come. Then a CONNECT is taken for a tunnel, and
    /// of an `Upgrade` the bytes that follow tell.
    #[inline(always)]
    pub const fn decide(&mut self, taken: Option<bool>) {
        let is_connect = matches!(self.phase, Phase::Asked);
        match taken {
            Some(true) if !is_connect => self.enter(Phase::Switched),
            Some(false) => self.enter(Phase::Start),
            None if !is_connect => return,
            _ => self.enter(Phase::Tunnel),
        }
        self.flags &= !flag::UPGRADE;
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

/// Gives the stream up: until it becomes certain again, where it may.
#[inline(always)]
pub(crate) const fn fail(stream: &mut Stream, cause: Failure) -> Event {
    stream.enter(if cause.comes_back() { Phase::Unsynced } else { Phase::GivenUp });
    stream.last_stream = 0;
    Event::failed(cause)
}

//! The frames that a server sends: statuses, and the ends of streams (RFC 9113). PURE.

use super::block::{Block, Found};
use super::frames::HEADER_BYTES;
use super::kinds::bit::{END_HEADERS, END_STREAM, PADDED, PRIORITY};
use super::kinds::{CONTINUATION, DATA, HEADERS, PRIORITY_BYTES, PUSH_PROMISE, RST_STREAM, SETTINGS};
use super::statuses::Statuses;
use crate::event::Event;
use crate::failure::Failure;
use crate::stream::{Phase, Stream, fail, flag};
use crate::window::Window;
use crate::word;

/// Bits of `Stream::detail` while a block is read.
mod detail {
    /// The first byte of the payload is the length of the padding.
    pub(super) const PADDED: u8 = 1;
    /// The block ends with this frame.
    pub(super) const LAST: u8 = 1 << 1;
    /// The stream ends with this block.
    pub(super) const ENDS_STREAM: u8 = 1 << 2;
    /// The block goes on in another frame.
    pub(super) const OPEN: u8 = 1 << 3;
}

/// How a connection's header blocks stand.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blocks {
    block: Block,
    statuses: Statuses,
    /// Bytes behind the block, in its frame.
    padding: u32,
    /// Bytes before the block, in its frame.
    before: u32,
}

impl Blocks {
    /// What was inserted, and how large the table of fields is, is not known.
    #[inline(always)]
    pub const fn forget(&mut self) {
        self.statuses.resize(0);
    }
}

/// Reads on from `at` (below `end`), at least one byte. `stream.last_stream` is the frame's stream; in a block, `left`
/// is what its frame still has. A frame that ends its stream sets [`flag::ENDS_STREAM`].
#[inline(always)]
pub(crate) fn step<W: Window + ?Sized>(
    stream: &mut Stream,
    blocks: &mut Blocks,
    window: &W,
    (at, end): (u32, u32),
) -> (u32, Event) {
    let mut at = at;
    if stream.phase != Phase::Block {
        if stream.progress != 0 || end - at < HEADER_BYTES {
            return (at + 1, header_byte(stream, blocks, window.byte(at)));
        }
        stream.token = window.word(at);
        let event = frame(stream, blocks, window.byte(at + word::BYTES));
        at += HEADER_BYTES;
        if event != Event::NONE || stream.phase != Phase::Block || at >= end {
            return (at, event);
        }
    }
    block(stream, blocks, window, (at, end))
}

/// A byte of a frame header of which only a part is there.
#[inline(always)]
fn header_byte(stream: &mut Stream, blocks: &mut Blocks, byte: u8) -> Event {
    if u32::from(stream.progress) == word::BYTES {
        return frame(stream, blocks, byte);
    }
    let place = 8 * (stream.progress & 7);
    stream.token = stream.token & !(0xff << place) | u64::from(byte) << place;
    stream.progress += 1;
    Event::NONE
}

/// A frame header is complete: `token` holds its first eight bytes.
#[inline(always)]
fn frame(stream: &mut Stream, blocks: &mut Blocks, last: u8) -> Event {
    let header = stream.token;
    let big_endian = header.swap_bytes();
    let length = big_endian >> 40;
    let (kind, flags) = ((header >> 24) as u8, (header >> 32) as u8);
    let id = ((big_endian << 8) as u32 | u32::from(last)) & 0x7fff_ffff;
    if stream.phase == Phase::FirstFrame && (kind != SETTINGS || flags != 0 || id != 0) {
        // No HTTP/2 behind a 101.
        stream.enter(Phase::Tunnel);
        return Event::NONE;
    }
    if (stream.detail & detail::OPEN != 0) != (kind == CONTINUATION) {
        return fail(stream, Failure::MalformedFrame);
    }
    stream.left = length;
    stream.last_stream = id;
    if !matches!(kind, HEADERS | PUSH_PROMISE | CONTINUATION) {
        if kind == DATA && flags & END_STREAM != 0 || kind == RST_STREAM {
            stream.flags |= flag::ENDS_STREAM;
        }
        stream.enter(if length > 0 { Phase::FramePayload } else { Phase::Frame });
        return Event::NONE;
    }
    let last = if flags & END_HEADERS != 0 { detail::LAST } else { detail::OPEN };
    let (mut before, mut padded) = (0, 0);
    if kind == CONTINUATION {
        stream.detail &= detail::ENDS_STREAM;
    } else {
        blocks.block.begin(kind == HEADERS);
        padded = if flags & PADDED != 0 { detail::PADDED } else { 0 };
        before = match kind {
            PUSH_PROMISE => 4,
            _ if flags & PRIORITY != 0 => PRIORITY_BYTES,
            _ => 0,
        };
        stream.detail = if kind == HEADERS && flags & END_STREAM != 0 { detail::ENDS_STREAM } else { 0 };
    }
    blocks.before = before;
    blocks.padding = 0;
    stream.detail |= last | padded;
    if length < u64::from(before) + u64::from(padded) {
        return fail(stream, Failure::MalformedFrame);
    }
    stream.enter(Phase::Block);
    if length == 0 { frame_over(stream, blocks) } else { Event::NONE }
}

/// Bytes of a frame that carries fields.
#[inline(always)]
fn block<W: Window + ?Sized>(
    stream: &mut Stream,
    blocks: &mut Blocks,
    window: &W,
    (at, end): (u32, u32),
) -> (u32, Event) {
    let here = u64::from(end - at);
    let here = if here < stream.left { here as u32 } else { stream.left as u32 };
    let mut event = Event::NONE;
    let count = if stream.detail & detail::PADDED != 0 {
        stream.detail &= !detail::PADDED;
        blocks.padding = window.byte(at).into();
        // The byte itself, what stands before the block, and the padding: the rest is fields.
        if stream.left < 1 + u64::from(blocks.before) + u64::from(blocks.padding) {
            return (at, fail(stream, Failure::MalformedFrame));
        }
        stream.left -= u64::from(blocks.padding);
        1
    } else if blocks.before > 0 {
        let count = if blocks.before < here { blocks.before } else { here };
        blocks.before -= count;
        count
    } else {
        let (count, found) = blocks.block.read(&mut blocks.statuses, window, (at, at + here));
        match found {
            Found::Nothing => {}
            Found::Status(status) => event = Event::response(status),
            Found::Malformed => return (at, fail(stream, Failure::MalformedFrame)),
        }
        count
    };
    stream.left -= u64::from(count);
    if stream.left == 0 {
        let over = frame_over(stream, blocks);
        if event == Event::NONE {
            event = over;
        }
    }
    (at + count, event)
}

/// The fields of a frame are over, but for the padding behind them.
#[inline(always)]
fn frame_over(stream: &mut Stream, blocks: &mut Blocks) -> Event {
    let padding = u64::from(blocks.padding);
    stream.left = padding;
    if stream.detail & detail::LAST != 0 {
        if !blocks.block.is_between_fields() {
            return fail(stream, Failure::MalformedFrame);
        }
        if stream.detail & detail::ENDS_STREAM != 0 {
            stream.flags |= flag::ENDS_STREAM;
        }
        stream.detail = 0;
    }
    stream.enter(if padding > 0 { Phase::FramePayload } else { Phase::Frame });
    Event::NONE
}

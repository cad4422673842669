//! What frames are, and the bits of their flags (RFC 9113 §6). PURE.

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

/// Of flags.
pub(super) mod bit {
    pub(in crate::http2) const END_STREAM: u8 = 1;
    pub(in crate::http2) const ACK: u8 = 1;
    pub(in crate::http2) const END_HEADERS: u8 = 4;
    /// A byte stands before the block: how much padding follows it.
    pub(in crate::http2) const PADDED: u8 = 8;
    /// And [`PRIORITY_BYTES`](super::PRIORITY_BYTES).
    pub(in crate::http2) const PRIORITY: u8 = 0x20;
}

/// What a frame with [`bit::PRIORITY`] has before its block.
pub(super) const PRIORITY_BYTES: u32 = 5;

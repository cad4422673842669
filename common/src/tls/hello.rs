//! What is read of TLS: that a connection begins with a ClientHello (RFC 8446 §4.1.2, §5.1). PURE.
//!
//! A ClientHello that is *received* says that this process terminates TLS, or passes it on. All behind it is ciphertext.

use crate::event::Event;
use crate::stream::{Phase, Stream};

/// The type of a record that carries the handshake: a connection's first byte.
pub(crate) const HANDSHAKE: u8 = 22;
/// Of a record: SSL 3.0 to TLS 1.3, which calls itself 3.1 or 3.3.
const MAJOR_VERSION: u8 = 3;
const HIGHEST_MINOR_VERSION: u8 = 4;
/// Of a record's payload, which is never empty.
const MOST_BYTES: u64 = 1 << 14;
/// The type of the handshake's first message, where it comes from a client.
const CLIENT_HELLO: u8 = 1;

/// The record's first byte was read.
#[inline(always)]
pub(crate) fn begin(stream: &mut Stream) {
    stream.enter(Phase::ClientHello);
    stream.progress = 1;
    stream.left = 0;
}

/// Two bytes of version, two of length, and the type of the message.
#[inline(always)]
pub(crate) fn client_hello(stream: &mut Stream, byte: u8) -> Event {
    const LENGTH: u8 = 3;
    const MESSAGE: u8 = 5;
    let progress = stream.progress;
    stream.progress = progress + 1;
    if (LENGTH..MESSAGE).contains(&progress) {
        stream.left = stream.left << 8 | u64::from(byte);
        return Event::NONE;
    }
    if progress == 1 && byte == MAJOR_VERSION || progress == 2 && byte <= HIGHEST_MINOR_VERSION {
        return Event::NONE;
    }
    let is_record = stream.left.wrapping_sub(1) < MOST_BYTES;
    let is_hello = progress == MESSAGE && byte == CLIENT_HELLO && is_record;
    stream.enter(if is_hello { Phase::Tls } else { Phase::NotHttp });
    if is_hello { Event::CLIENT_HELLO } else { Event::NONE }
}

//! What a probe in a TLS library or in a Go program says, and the number in which it is told. PURE.

/// Of each place where there is a probe. Its number is the lowest byte of the place's cookie ([`cookie`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Action {
    /// `SSL_read`, `gnutls_record_recv`: session, buffer, size.
    ReadEntry = 1,
    /// The result is how many bytes were read, if it is positive.
    ReadEnd = 2,
    /// `SSL_read_ex`: session, buffer, size, where to write how many bytes were read.
    ReadExEntry = 3,
    /// The result is 1 where bytes were read.
    ReadExEnd = 4,
    /// `SSL_write`, `gnutls_record_send`: session, buffer, size.
    WriteEntry = 5,
    /// The result is how many bytes were written, if it is positive.
    WriteEnd = 6,
    /// `SSL_write_ex`: session, buffer, size, where to write how many bytes were written.
    WriteExEntry = 7,
    /// The result is 1 where bytes were written.
    WriteExEnd = 8,
    /// `SSL_set_accept_state`: the session is a server's, and new.
    BeginServer = 9,
    /// `SSL_set_connect_state`: the session is a client's, and new.
    BeginClient = 10,
    /// `gnutls_handshake`: the session is new, unless it is known.
    BeginUnlessKnown = 11,
    /// `SSL_free`, `gnutls_deinit`: the session ends.
    Free = 12,
    /// `SSL_read_early_data`: as [`Action::ReadExEntry`].
    EarlyEntry = 13,
    /// The result is 1 or 2; bytes were read where they are more than 0.
    EarlyEnd = 14,
    /// `SSL_sendfile`: session; the bytes are in a file.
    FileEntry = 15,
    /// The result is how many bytes were written, if it is positive.
    FileEnd = 16,
    /// `SSL_write_ex2`: session, buffer, size, flags, where to write how many bytes were written. Its end is [`Action::WriteExEnd`].
    WriteEx2Entry = 17,
    /// `gnutls_record_send_range`: bytes are written to the session that are not seen.
    WriteUnseen = 18,
    /// `gnutls_record_uncork`: to the session, bytes are written that were seen before.
    AgainEntry = 19,
    /// `crypto/tls.(*Conn).Read`: session, buffer.
    GoReadEntry = 20,
    /// The first result is how many bytes were read, if it is positive.
    GoReadEnd = 21,
    /// `crypto/tls.(*Conn).serverHandshake`: the session is a server's, and new.
    GoServer = 22,
    /// `crypto/tls.(*Conn).clientHandshake`: the session is a client's, and new.
    GoClient = 23,
    /// `crypto/tls.(*Conn).Close`: the session ends.
    GoClose = 24,
    /// `crypto/tls.(*Conn).Write`: session, buffer.
    GoWriteEntry = 25,
    /// The first result is how many bytes were written, if it is positive.
    GoWriteEnd = 26,
    /// That is over.
    AgainEnd = 27,
    /// `gnutls_init`: where to write the session, flags ([`GNUTLS_CLIENT`]).
    InitEntry = 28,
    /// The result is 0 where it was written.
    InitEnd = 29,
}

impl Action {
    /// Whether it is said at an end of a function.
    #[must_use]
    pub const fn is_end(self) -> bool {
        use Action::{
            AgainEnd, EarlyEnd, FileEnd, GoReadEnd, GoWriteEnd, InitEnd, ReadEnd, ReadExEnd, WriteEnd, WriteExEnd,
        };
        matches!(
            self,
            ReadEnd
                | ReadExEnd
                | WriteEnd
                | WriteExEnd
                | EarlyEnd
                | FileEnd
                | AgainEnd
                | GoReadEnd
                | GoWriteEnd
                | InitEnd
        )
    }

    /// Whether it is said at the entry of a function that has ends.
    #[must_use]
    pub const fn is_entry(self) -> bool {
        use Action::{EarlyEntry, GoReadEntry, InitEntry, ReadEntry, ReadExEntry};
        matches!(self, ReadEntry | ReadExEntry | EarlyEntry | GoReadEntry | InitEntry)
            || self.is_write() && !self.is_end()
    }

    /// Whether it is said where answers are written.
    #[must_use]
    pub const fn is_write(self) -> bool {
        use Action::{
            AgainEnd, AgainEntry, FileEnd, FileEntry, GoWriteEnd, GoWriteEntry, WriteEnd, WriteEntry, WriteEx2Entry,
            WriteExEnd, WriteExEntry, WriteUnseen,
        };
        matches!(
            self,
            WriteEntry
                | WriteEnd
                | WriteUnseen
                | AgainEntry
                | AgainEnd
                | WriteExEntry
                | WriteExEnd
                | WriteEx2Entry
                | FileEntry
                | FileEnd
                | GoWriteEntry
                | GoWriteEnd
        )
    }

    /// Whether it says that a session begins or ends, whose answers end with that.
    #[must_use]
    pub const fn ends_answers(self) -> bool {
        use Action::{BeginClient, BeginServer, Free, GoClient, GoClose, GoServer};
        matches!(self, BeginServer | BeginClient | Free | GoServer | GoClient | GoClose)
    }
}

/// Of a session's flags: it is a client's (`gnutls/gnutls.h`).
pub const GNUTLS_CLIENT: u64 = 1 << 1;

/// Of a cookie: what is written in the same file is looked at, too.
pub const ANSWERED: u64 = 1 << 63;

/// What the kernel hands to the program at a place: the action, and above it the bytes from the stack pointer there up
/// to where it was at the function's first instruction. Perhaps with [`ANSWERED`].
#[must_use]
pub const fn cookie(action: Action, depth: u32) -> u64 {
    (depth as u64) << 8 | action as u64
}

/// Of a cookie.
#[inline(always)]
#[must_use]
pub const fn depth(cookie: u64) -> u64 {
    (cookie >> 8) as u32 as u64
}

/// Of a cookie: the number of its [`Action`].
#[inline(always)]
#[must_use]
pub const fn number(cookie: u64) -> u8 {
    cookie as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_has_both() {
        let cookie = cookie(Action::GoClose, 0x1_0028);
        assert_eq!((number(cookie), depth(cookie)), (24, 0x1_0028));
        assert_eq!((number(cookie | ANSWERED), depth(cookie | ANSWERED)), (24, 0x1_0028));
    }
}

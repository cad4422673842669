//! Which functions of which library are probed, and what is said there. PURE.

use common::tls::action::Action;

use crate::tls::place::{Kind, Wanted};

/// A function, and what is said at its entry and at its ends.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// As the library exports it, or as Go calls it.
    pub name: &'static str,
    /// At its entry.
    pub entry: Action,
    /// At each of its ends, if somebody waits for it.
    pub end: Option<Action>,
    /// How many of its arguments are read.
    pub arguments: usize,
    /// Whether no library of this kind is without it.
    pub is_required: bool,
}

const fn call(name: &'static str, entry: Action, end: Action, arguments: usize) -> Function {
    Function { name, entry, end: Some(end), arguments, is_required: true }
}

const fn mark(name: &'static str, entry: Action) -> Function {
    Function { name, entry, end: None, arguments: 1, is_required: true }
}

const fn perhaps(function: Function) -> Function {
    Function { is_required: false, ..function }
}

const OPENSSL: [Function; 10] = [
    call("SSL_read", Action::ReadEntry, Action::ReadEnd, 3),
    perhaps(call("SSL_read_ex", Action::ReadExEntry, Action::ReadExEnd, 4)),
    perhaps(call("SSL_read_early_data", Action::EarlyEntry, Action::EarlyEnd, 4)),
    mark("SSL_set_accept_state", Action::BeginServer),
    mark("SSL_set_connect_state", Action::BeginClient),
    mark("SSL_free", Action::Free),
    call("SSL_write", Action::WriteEntry, Action::WriteEnd, 3),
    perhaps(call("SSL_write_ex", Action::WriteExEntry, Action::WriteExEnd, 4)),
    perhaps(call("SSL_write_ex2", Action::WriteEx2Entry, Action::WriteExEnd, 5)),
    perhaps(call("SSL_sendfile", Action::FileEntry, Action::FileEnd, 5)),
];

const GNUTLS: [Function; 9] = [
    call("gnutls_record_recv", Action::ReadEntry, Action::ReadEnd, 3),
    mark("gnutls_handshake", Action::BeginUnlessKnown),
    // Before it, of clients: what reads answers is no session.
    call("gnutls_init", Action::InitEntry, Action::InitEnd, 2),
    mark("gnutls_deinit", Action::Free),
    call("gnutls_record_send", Action::WriteEntry, Action::WriteEnd, 3),
    perhaps(call("gnutls_record_send2", Action::WriteEntry, Action::WriteEnd, 3)),
    perhaps(call("gnutls_record_uncork", Action::AgainEntry, Action::AgainEnd, 1)),
    perhaps(mark("gnutls_record_send_range", Action::WriteUnseen)),
    perhaps(call("gnutls_record_send_file", Action::FileEntry, Action::FileEnd, 4)),
];

/// Go's linker leaves out what nobody calls: a program without it is no server.
pub const GO_SERVER: &str = "crypto/tls.(*Conn).serverHandshake";

const GO: [Function; 5] = [
    call("crypto/tls.(*Conn).Read", Action::GoReadEntry, Action::GoReadEnd, 2),
    mark(GO_SERVER, Action::GoServer),
    perhaps(mark("crypto/tls.(*Conn).clientHandshake", Action::GoClient)),
    mark("crypto/tls.(*Conn).Close", Action::GoClose),
    call("crypto/tls.(*Conn).Write", Action::GoWriteEntry, Action::GoWriteEnd, 2),
];

/// By whose presence a kind is known.
pub const KNOWN_BY: [(Kind, &str); 2] = [(Kind::OpenSsl, OPENSSL[0].name), (Kind::GnuTls, GNUTLS[0].name)];

/// Those that are wanted.
pub fn wanted(kind: Kind, wanted: Wanted) -> impl Iterator<Item = &'static Function> {
    let all: &[Function] = match kind {
        Kind::OpenSsl => &OPENSSL,
        Kind::GnuTls => &GNUTLS,
        Kind::Go => &GO,
    };
    all.iter().filter(move |function| wanted.writes || !function.entry.is_write())
}

/// Whether what this is called may be a library of a known kind: what it is, its functions say.
#[must_use]
pub fn may_be_library(file_name: &str) -> bool {
    file_name.starts_with("libssl") && file_name.contains(".so") || file_name.starts_with("libgnutls.so.30")
}

//! What `Stream::detail` says while a request line is read, and then while a head is. PURE.

/// Kinds of method, in the low half of `Stream::detail`.
///
/// Those that have a name are numbered as [`Method`](crate::method::Method); of others only how they are to be read matters.
pub(super) mod method {
    use crate::method::Method;

    pub(in crate::http1) const OTHER: u8 = Method::Other as u8;
    pub(in crate::http1) const CONNECT: u8 = Method::Connect as u8;
    pub(in crate::http1) const PRI: u8 = 2;
    pub(in crate::http1) const PROXY: u8 = 3;
    pub(in crate::http1) const GET: u8 = Method::Get as u8;
    pub(in crate::http1) const MASK: u8 = 0x0f;
    /// The target of a PRI request is `*`: it may be the HTTP/2 preface.
    pub(in crate::http1) const ASTERISK: u8 = 0x10;
    /// The version is HTTP/1.1.
    pub(in crate::http1) const HTTP_1_1: u8 = 0x20;
    /// The version is HTTP/2.0, after `PRI *`.
    pub(in crate::http1) const HTTP_2: u8 = 0x40;
    /// The version is above HTTP/1, and that is all of it.
    pub(in crate::http1) const LATER: u8 = 0x80;
}

/// Fields that decide about framing, as `Stream::detail` while a head is read.
pub(super) mod field {
    pub(in crate::http1) const NONE: u8 = 0;
    pub(in crate::http1) const CONTENT_LENGTH: u8 = 1;
    pub(in crate::http1) const TRANSFER_ENCODING: u8 = 2;
    pub(in crate::http1) const UPGRADE: u8 = 3;
}

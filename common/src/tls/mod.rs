//! TLS: that a connection begins with it, and what probes in a TLS library say of what is within. PURE.

pub mod action;
mod hello;
pub mod session;

pub(crate) use hello::{HANDSHAKE, begin, client_hello};

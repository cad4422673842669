//! What the kernel side and the agent must agree on. PURE: no I/O, no allocation, no dependency.
#![no_std]
#![forbid(unsafe_code)]

pub mod connection;
pub mod event;
pub mod failure;
mod http1;
mod http2;
pub mod layout;
pub mod machine;
pub mod maps;
pub mod pages;
pub mod replay;
pub mod stream;
pub mod window;
pub mod word;

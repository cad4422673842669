//! What the kernel side and the agent must agree on. PURE: no I/O, no allocation, no dependency.
#![no_std]
#![forbid(unsafe_code)]

mod causes;
pub mod connection;
pub mod duration;
pub mod event;
pub mod exchange;
pub mod failure;
mod http1;
mod http2;
pub mod layout;
pub mod machine;
pub mod maps;
pub mod method;
pub mod pages;
pub mod replay;
pub mod replay_responses;
pub mod series;
pub mod stream;
pub mod tls;
pub mod window;
pub mod word;

//! What the kernel side and the agent must agree on. PURE: no I/O, no allocation, no dependency.
#![no_std]
#![forbid(unsafe_code)]

pub mod failure;
pub mod maps;

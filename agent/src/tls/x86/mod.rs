//! Machine code of x86-64: at which instructions of a function probes cost least and miss nothing.

pub mod body;
mod canary;
pub mod ends;
pub mod entry;
pub mod instructions;
mod stack;

//! The agent: reads the kernel's counts once a tick and shows them.
pub mod counts;
pub mod kernel;

//! The agent: reads the kernel's counts once a tick and shows them.
pub mod cgroup;
pub mod counts;
pub mod pods;

//! The kernel: loads the probe, attaches it, reads what it counted, and says why it cannot. Hands out readings, once a tick.

mod btf;
mod choice;
mod comparison;
mod constants;
mod counters;
mod error;
mod excerpt;
mod hook;
pub mod memory;
mod names;
mod namespace;
mod pages;
mod patch;
mod probe;
mod statistics;
pub mod survey;
mod sys;
mod told;

pub use choice::{HookChoice, ProbeConfig};
pub use comparison::{Attached, Comparison, StandIn};
pub use error::LoadError;
pub use namespace::{has_host_pids, has_own_users, sees_only_itself};
pub use probe::Kernel;
pub use statistics::ProgramStatistics;

//! The kernel: loads the probe, attaches it, reads what it counted, and says why it cannot. Hands out readings, once a tick.

mod btf;
mod choice;
mod comparison;
pub mod confinement;
mod constants;
mod counters;
mod error;
mod excerpt;
mod handover;
mod hook;
pub mod memory;
mod names;
mod namespace;
mod objects;
mod pages;
mod patch;
mod plaintext;
mod probe;
mod responses;
mod statistics;
pub mod survey;
mod sys;
mod told;
mod uprobes;

pub use choice::{HookChoice, ProbeConfig, ResponseChoice, TlsChoice};
pub use comparison::{Attached, Comparison, StandIn};
pub use error::LoadError;
pub use namespace::{has_host_pids, has_own_users, sees_only_itself};
pub use probe::Kernel;
pub use responses::{SendHook, Sends};
pub use statistics::ProgramStatistics;
pub use uprobes::{Link, Uprobes, detach};

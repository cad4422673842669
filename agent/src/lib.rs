//! The agent: reads the kernel's counts once a tick and shows them.
pub mod config;
pub mod counts;
pub mod exit;
pub mod history;
pub mod peer;
pub mod plugin;
pub mod proc;
pub mod process;
pub mod rates;
pub mod report;
pub mod scope_host;
pub mod shutdown;
pub mod snapshot;
pub mod tick;

//! The agent: reads the kernel's counts once a tick and shows them.
pub mod clock;
pub mod config;
pub mod counts;
pub mod exit;
pub mod fault;
#[cfg(test)]
mod golden;
pub mod history;
pub mod kernel;
pub mod peer;
pub mod plugin;
pub mod proc;
pub mod process;
pub mod rates;
pub mod report;
pub mod run;
pub mod scope_host;
pub mod shutdown;
pub mod snapshot;
pub mod summary;
pub mod telemetry;
pub mod terminal;
pub mod tick;

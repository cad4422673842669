//! The agent: reads the kernel's counts once a tick and shows them.

// The name by which files know the crate that its own tests share with those beside it.
#[cfg(test)]
extern crate self as agent;

pub mod check;
pub mod clock;
pub mod commands;
pub mod counting;
pub mod exit;
pub mod fault;
#[cfg(test)]
mod golden;
pub mod handover;
pub mod health;
pub mod http;
pub mod kernel;
pub mod metrics;
pub mod plaintext;
pub mod pods;
pub mod printable;
pub mod processes;
pub mod run;
pub mod sampling;
pub mod scope;
pub mod settings;
pub mod shutdown;
pub mod telemetry;
pub mod terminal;
pub mod tls;
pub mod watchdog;

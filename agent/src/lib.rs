//! The agent: reads the kernel's counts once a tick and shows them.

// The name by which files know the crate that its own tests share with those beside it.
#[cfg(test)]
extern crate self as agent;

pub mod api_trouble;
pub mod ask;
pub mod cgroup;
pub mod cgroup_ids;
pub mod cgroup_tree;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod counts;
mod deadline;
pub mod environment;
pub mod exit;
pub mod fault;
#[cfg(test)]
mod golden;
pub mod health;
pub mod history;
pub mod kernel;
pub mod live;
pub mod metrics;
pub mod overview;
pub mod peer;
pub mod plugin;
pub mod pod_news;
pub mod pod_object;
pub mod pod_watch;
pub mod pods;
pub mod proc;
pub mod process;
pub mod rates;
pub mod remains;
pub mod report;
pub mod run;
pub mod scope_host;
pub mod serve;
pub mod settings;
pub mod shutdown;
pub mod snapshot;
pub mod summary;
pub mod telemetry;
pub mod terminal;
pub mod tick;
pub mod top;
pub mod topologies;

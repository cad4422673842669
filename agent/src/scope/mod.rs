//! Scope: what Weave Scope is told and under which names. Hands out the report, and the plugin socket that serves it.

pub mod host;
pub mod peer;
pub mod plugin;
pub mod report;
pub mod room;
pub mod topologies;

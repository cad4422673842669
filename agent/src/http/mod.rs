//! HTTP for clients that may misbehave. Hands out what the plugin socket and the metrics both serve with.

pub(crate) mod deadline;
pub mod encoding;
mod seats;
pub mod serve;

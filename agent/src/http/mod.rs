//! HTTP for clients that may misbehave. Hands out what the plugin socket and the metrics both serve with.

mod deadline;
pub mod encoding;
mod seats;
pub mod serve;

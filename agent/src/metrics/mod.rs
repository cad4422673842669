//! Metrics for Prometheus: what there is, adding up, rendering, handing over and serving. Hands out text, and serves it over TCP.

pub mod bounded;
pub mod catalog;
mod format;
mod instruments;
pub mod labels;
mod meter;
mod render;
mod server;
pub mod tally;
mod waiting;

pub use format::Format;
pub use instruments::Instruments;
pub use meter::Meter;
pub use render::{Facts, Observed, Scrape};
pub use server::{Answers, Complaint, LIMITS, Render, listen, serve, serve_apart};
pub use tally::CarriedMeter;

//! Metrics for Prometheus: what there is, adding up, rendering, and (the only file that acts) serving. EDGE.

pub mod catalog;
mod format;
mod instruments;
mod render;
mod server;
pub mod tally;

pub use format::Format;
pub use instruments::Instruments;
pub use render::{Facts, Observed, Scrape};
pub use server::{LIMITS, Render, listen, serve};

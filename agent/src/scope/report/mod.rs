//! The report that Scope polls. Hands out a snapshot as JSON.

mod document;
mod processes;
mod render;
mod sums;

pub use document::ID;
pub use processes::{MAX_PROCESS_BYTES, MAX_REPORTED_PROCESSES};
pub use render::{Content, render};
pub use sums::{ENDED_SHOWN_TICKS, MAX_REPORTED_SUMS};

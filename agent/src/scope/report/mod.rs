//! The report that Scope polls. Hands out a snapshot as JSON.

mod answers;
mod document;
mod extent;
mod processes;
mod render;
mod sums;

pub use document::ID;
pub use extent::Extent;
pub use processes::{MAX_PROCESS_BYTES, MAX_REPORTED_PROCESSES};
pub use render::{Content, Rendered, render};
pub use sums::{ENDED_SHOWN_TICKS, MAX_REPORTED_SUMS};

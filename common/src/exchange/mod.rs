//! Requests and their responses on one connection: what waits, what is being answered, and where the stream of responses stands. PURE.

mod asked;
mod connection;
mod inbox;
mod since;
mod streams;
mod untold;
mod waiting;

pub use crate::http2::UNTOLD;
pub use asked::Asked;
pub use connection::{Answer, Exchange};
pub use inbox::Inbox;
pub use streams::{Displaced, KEPT, Streams};
pub use untold::Untold;
pub use waiting::{WAITING, Waiting};

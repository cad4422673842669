//! Requests and their responses on one connection: what waits, what is being answered, and where the stream of responses stands. PURE.

mod asked;
mod connection;
mod handed;
mod inbox;
mod queue;
mod since;
mod streams;
mod unix;
mod untold;
mod waiting;

pub use crate::http2::UNTOLD;
pub use asked::Asked;
pub use connection::{Answer, Exchange};
pub use handed::Handed;
pub use inbox::Inbox;
pub use queue::{Queue, Taken};
pub use streams::{Displaced, KEPT, Streams};
pub use unix::{UNIX_WAITING, UnixAnswering, UnixWaiting};
pub use untold::Untold;
pub use waiting::{WAITING, Waiting};

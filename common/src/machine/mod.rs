//! The machine that reads a stream. It hands out [`turn()`], and the [`Read`] and the [`Source`] that a turn works with. PURE.
//!
//! The kernel side keeps a [`Stream`](crate::stream::Stream) in the socket's storage and calls [`turn()`] until the read is
//! used up; tests and fuzz targets on the host do the same.

mod read;
mod turn;

pub use read::{Read, Source};
pub(crate) use turn::advance;
pub use turn::{first_turn, turn};

//! What an [`super::Exchange`] asks of the requests of HTTP/1 that wait. PURE.

use super::Asked;

/// Requests of HTTP/1 that wait for their response, in the order in which they came.
pub trait Queue {
    /// The request that is answered next; `None` where it is not kept.
    fn next(&self) -> Option<Asked>;

    /// Its response begins; `None` if none waits.
    fn take(&mut self) -> Option<Taken>;

    /// How many wait.
    fn len(&self) -> u32;

    /// Whether none waits, for who reads requests.
    fn is_empty(&self) -> bool;

    /// None of them will be answered; returns how many.
    fn clear(&mut self) -> u32;
}

/// A request whose response begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What it was.
    pub asked: Asked,
    /// When it came; 0: not known.
    pub started_ns: u64,
    /// Whether its response has a body may not be told.
    pub ambiguous: bool,
}

//! The first turn of a send, without a loop: an ordinary response of HTTP/1 is no more than that.
//!
//! What it takes then stands in few pages. Code that is called once a response is not in the processor's nearest caches, and each page of it
//! costs.

use common::exchange::Queue;
use common::stream::Phase;

use super::follow::{Parts, Work, count_answer, goes_on, step};
use crate::reader::Fill;

/// False: there is nothing left to do.
#[inline(always)]
pub(super) fn first_turn<F: Fill, Q: Queue>(parts: &Parts<Q>, fill: F) -> bool {
    // SAFETY: whoever made the parts was given both.
    let (job, exchange) = unsafe { (&mut *parts.job, &mut *parts.exchange) };
    if exchange.stream.phase != Phase::Start {
        return true;
    }
    step::<F, Q, true>(&mut Work::new(parts, fill));
    if let Some(answer) = exchange.answered() {
        count_answer(job, exchange, answer);
    }
    goes_on(job, exchange)
}

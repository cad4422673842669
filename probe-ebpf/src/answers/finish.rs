//! The end of what answers on a connection.

use common::exchange::{Exchange, KEPT, Queue, Streams};

use super::count;
use super::maps::{self, Owner};
use crate::repeat::{Round, repeat};

struct Drain<Q> {
    exchange: *mut Exchange<Q>,
    streams: *mut Streams,
    now_ns: u64,
    unanswered: u32,
}

/// Nothing more is answered, since `now_ns`.
#[inline(always)]
pub(super) fn finish<Q: Queue>(exchange: &mut Exchange<Q>, owner: Owner, now_ns: u64) {
    let (last, mut unanswered) = exchange.close();
    let mut lost = 0;
    if let Some(last) = last {
        count::answer(exchange, &last, now_ns);
    }
    if let Some(streams) = maps::streams(owner) {
        let mut drain = Drain { exchange, streams, now_ns, unanswered: 0 };
        repeat::<Drain<Q>>(KEPT, &mut drain);
        unanswered += drain.unanswered;
        let open = streams.close();
        if streams.is_lost() {
            lost = open;
        } else {
            unanswered += open;
        }
    }
    if unanswered | lost > 0 {
        count::add_outcome(exchange, unanswered, lost);
    }
}

impl<Q: Queue> Round for Drain<Q> {
    type Context = Self;

    #[inline(always)]
    fn round(index: u64, drain: &mut Self) -> bool {
        // SAFETY: the connection's.
        let (exchange, streams) = unsafe { (&mut *drain.exchange, &mut *drain.streams) };
        let Some(stream) = streams.drain(index as u32) else { return true };
        if let Some(answer) = streams.end(stream) {
            count::answer(exchange, &answer, drain.now_ns);
        } else {
            drain.unanswered += 1;
        }
        true
    }
}

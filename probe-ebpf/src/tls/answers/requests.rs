//! What is noted of the requests of a session, by who reads them.

use common::connection::Connection;
use common::exchange::Untold;
use common::tls::session::Key;

use super::{count, counted, inbox, maps};
use crate::kernel::constant;
use crate::reader::Job;

/// A read was looked at and counted. `is_answered`: what its session writes is looked at.
#[inline(always)]
pub(crate) fn note(connection: &Connection, job: &Job, session: Key, is_answered: bool) {
    let total = job.requests.iter().sum();
    if constant!(response_shards) == 0 || !is_answered {
        untold(connection, Untold::Tls, total);
    } else if total != 0 || job.failure().is_some() {
        note_for_answers(connection, job, session);
    }
}

/// Bytes of requests were missed: which response is whose is not known any more.
#[inline(always)]
pub(crate) fn lost(session: Key) {
    if constant!(response_shards) != 0
        && let Some(answering) = maps::answering(&session)
    {
        inbox::note_break(&mut answering.exchange);
    }
}

/// What comes next in a session may depend on what was answered.
#[inline(always)]
pub(crate) fn decide(connection: &mut Connection, session: Key) {
    if constant!(response_shards) != 0 && connection.stream.awaits_answer() {
        let decision = maps::answering(&session).and_then(|answering| answering.exchange.decision());
        connection.stream.decide(decision);
    }
}

#[inline(never)]
fn note_for_answers(connection: &Connection, job: &Job, session: Key) -> u64 {
    let total = job.noted.count;
    let answering = if total != 0 { maps::answering_made(&session) } else { maps::answering(&session) };
    if let Some(answering) = answering {
        inbox::note(&mut answering.exchange, &raw mut answering.inbox, connection, job);
    } else {
        untold(connection, Untold::StorageFull, total);
    }
    0
}

/// So many requests were counted here whose response will not be known.
#[inline(always)]
fn untold(connection: &Connection, cause: Untold, requests: u32) {
    if requests != 0 {
        count::add_outcome_of(connection.slot, connection.process, (0, requests));
        counted::count_untold(cause, requests.into());
    }
}

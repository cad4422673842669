//! Counts responses, for the process that counted their requests.

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use common::duration::bucket;
use common::exchange::{Answer, Displaced, Exchange, Queue, UNTOLD, Untold};
use common::maps::ProcessKey;
use common::series::{self, MAX_SERIES, Series, StreamKey};
use common::stream::Phase;

use super::counted::{self, DISPLACED, FREE_SERIES, OUTCOMES, SERIES, VALUES};
use crate::kernel::{add, bounded, constant};
use crate::maps::PROCESSES;

/// A response is complete.
#[inline(never)]
pub(super) fn answer<Q: Queue>(exchange: &mut Exchange<Q>, answer: &Answer, now_ns: u64) -> u32 {
    if !holds_slot(exchange) {
        counted::count_untold(Untold::Process, 1);
        return 0;
    }
    if answer.status == UNTOLD {
        counted::count_untold(Untold::Status, 1);
    }
    let key = series::key(exchange.slot, answer);
    let Some(value) = value_of(exchange, key) else {
        counted::count_untold(Untold::SeriesFull, 1);
        add_outcome(exchange, 0, 1);
        return 0;
    };
    if answer.started_ns == 0 || now_ns < answer.started_ns {
        add(&mut value.unknown, 1);
        if !exchange.stream.phase.is_lost() {
            let cause = match exchange.stream.phase {
                Phase::UntilClose => Untold::UntilClose,
                phase if phase >= Phase::Preface => Untold::Streams,
                _ => Untold::Pipeline,
            };
            counted::count_untold(cause, 1);
        }
    } else {
        let took_ns = now_ns - answer.started_ns;
        const MASK: i32 = 31;
        if let Some(counter) = value.buckets.get_mut(bounded!(bucket(took_ns), MASK) as usize) {
            add(counter, 1);
        }
        add(&mut value.sum_ns, took_ns);
    }
    counted::mark_series(exchange.series);
    0
}

/// The process still has the slot that its connection knows.
#[inline(always)]
fn holds_slot<Q>(exchange: &Exchange<Q>) -> bool {
    has_slot(exchange.slot, exchange.process)
}

#[inline(always)]
fn has_slot(slot: u32, process: ProcessKey) -> bool {
    PROCESSES.get(slot).is_some_and(|holder| holder.key == process)
}

/// Where responses of this key are counted on this processor: mostly where the connection's last one was.
#[inline(always)]
fn value_of<'a, Q>(exchange: &mut Exchange<Q>, key: u64) -> Option<&'a mut Series> {
    let value = value(exchange.series)?;
    if value.key == key {
        return Some(value);
    }
    exchange.series = find_series(key)?;
    let value = self::value(exchange.series)?;
    value.key = key;
    Some(value)
}

#[inline(always)]
fn value<'a>(series: u32) -> Option<&'a mut Series> {
    // SAFETY: no arguments.
    let shard = unsafe { bpf_get_smp_processor_id() } & constant!(response_shards).wrapping_sub(1);
    // SAFETY: an element of the map; what other CPUs change too, is changed by whole words.
    unsafe { VALUES.get_ptr_mut(shard * MAX_SERIES + series)?.as_mut() }
}

#[inline(always)]
fn find_series(key: u64) -> Option<u32> {
    const NO_EXIST: u64 = 1;
    // SAFETY: entries are removed only after their process has ended.
    if let Some(series) = unsafe { SERIES.get(key) } {
        return Some(*series);
    }
    let series = FREE_SERIES.pop().ok()??;
    if SERIES.insert(key, series, NO_EXIST).is_ok() {
        return Some(series);
    }
    // Another processor was first.
    let _ = FREE_SERIES.push(series, 0);
    // SAFETY: as above.
    unsafe { SERIES.get(key) }.copied()
}

/// Requests that go without an answer, or whose response will not be known.
#[inline(always)]
pub(super) fn add_outcome<Q>(exchange: &Exchange<Q>, unanswered: u32, lost: u32) {
    add_outcome_of(exchange.slot, exchange.process, (unanswered, lost));
}

#[inline(always)]
pub(super) fn add_outcome_of(slot: u32, process: ProcessKey, (unanswered, lost): (u32, u32)) {
    if !has_slot(slot, process) {
        return;
    }
    let Some(outcome) = OUTCOMES.get_ptr_mut(slot) else { return };
    // SAFETY: an element of the map, which is shared with other CPUs.
    let outcome = unsafe { &mut *outcome };
    add(&mut outcome.unanswered, unanswered.into());
    add(&mut outcome.lost, lost.into());
    crate::maps::mark(slot);
}

#[inline(always)]
pub(super) fn lost<Q>(exchange: &Exchange<Q>, count: u32) {
    add_outcome(exchange, 0, count);
}

/// What is sent, or what was asked, cannot be followed any more.
#[inline(always)]
pub(super) fn lose<Q: Queue>(exchange: &mut Exchange<Q>, cause: Untold) {
    let lost = exchange.lose();
    counted::count_untold(cause, 1);
    add_outcome(exchange, 0, lost);
    if let Some(last) = exchange.answered() {
        answer(exchange, &last, 0);
    }
}

/// Keeps a stream that had to make room.
#[inline(always)]
pub(super) fn displace(began_ns: u64, stream: Displaced) {
    let key = StreamKey { began_ns, id: stream.id, reserved: 0 };
    let _ = DISPLACED.insert(key, stream, 0);
}

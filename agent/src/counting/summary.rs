//! A snapshot in one line, for logs and for people. PURE.

use common::failure::Failure;

use crate::counting::counts::requests;
use crate::counting::plaintext::Reading;
use crate::counting::shown::Shown;
use crate::counting::snapshot::{Losses, Process, Snapshot};

/// How many processes a line names.
const NAMED: usize = 5;

/// The busiest of the processes that are shown: by rate, then by total; of equals the lower PID first.
#[must_use]
pub fn busiest(snapshot: &Snapshot, shown: Shown, count: usize) -> Vec<&Process> {
    let rate = |process: &Process| process.history.newest(snapshot.now);
    let order = |a: &&Process, b: &&Process| {
        let by_rate = rate(b).total_cmp(&rate(a));
        by_rate.then(b.requests().cmp(&a.requests())).then(a.key.cmp(&b.key))
    };
    let mut processes: Vec<_> = snapshot.processes.iter().filter(|process| shown.has(process)).collect();
    if count < processes.len() {
        processes.select_nth_unstable_by(count, order);
        processes.truncate(count);
    }
    processes.sort_unstable_by(order);
    processes
}

/// `nginx[42] 10.0/s 1234 total, ...`; empty without processes.
#[must_use]
pub fn line(snapshot: &Snapshot, shown: Shown) -> String {
    let named = busiest(snapshot, shown, NAMED).into_iter().map(|process| {
        let (command, total) = (&process.identity.command, process.requests());
        let pid = process.identity.pid.map_or_else(|| "?".to_owned(), |pid| pid.0.to_string());
        format!("{command}[{pid}] {:.1}/s {total} total", process.history.newest(snapshot.now))
    });
    named.collect::<Vec<_>>().join(", ")
}

/// `gap 3, skipped_calls 1, none for 5 min`; empty if nothing was lost. Connections that were open before the
/// probe are another matter, see [`joined`].
#[must_use]
pub fn losses(losses: &Losses) -> String {
    let causes = Failure::ALL.iter().filter(|cause| cause.is_loss());
    let causes = causes.map(|cause| (cause.name(), losses.failures[*cause as usize]));
    let causes = causes.chain([("skipped_calls", losses.skipped_calls)]);
    let some = causes.filter(|(_, count)| *count > 0).map(|(name, count)| format!("{name} {count}"));
    let minutes = losses.quiet_for.map_or(0, |time| time.as_secs() / 60);
    let quiet = (minutes > 0).then(|| format!("none for {minutes} min"));
    some.chain(quiet).collect::<Vec<_>>().join(", ")
}

/// How many connections were open before the probe; each counts from its next certain request on.
#[must_use]
pub fn joined(losses: &Losses) -> u64 {
    losses.failures[Failure::Joined as usize]
}

/// `TLS is not counted: 12 connections, of 2 living processes`, or how much of it is; empty without any.
#[must_use]
pub fn tls(snapshot: &Snapshot) -> String {
    let connections = snapshot.totals.tls_connections;
    if connections == 0 {
        return String::new();
    }
    let plain = &snapshot.plain;
    if plain.reading == Reading::On {
        let unread: Vec<_> = plain.unread.iter().map(|(reason, processes)| format!("{reason} {processes}")).collect();
        let unread = if unread.is_empty() { String::new() } else { format!(", not of: {}", unread.join(", ")) };
        let (sessions, read) = (snapshot.totals.tls_sessions, plain.read);
        return format!("TLS: {connections} connections, {sessions} sessions read; of {read} living processes{unread}");
    }
    let living = snapshot.processes.iter().filter(|process| process.totals.tls_connections > 0).count();
    format!("TLS is not counted: {connections} connections, of {living} living processes")
}

/// How it ended, in one line.
#[must_use]
pub fn farewell(snapshot: &Snapshot) -> String {
    let processes = snapshot.processes.len() as u64 + snapshot.ended.processes;
    let total = requests(&snapshot.totals);
    let lost = match losses(&snapshot.losses) {
        lost if lost.is_empty() => "nothing was lost".to_owned(),
        lost => format!("losses: {lost}"),
    };
    let joined = match joined(&snapshot.losses) {
        0 => String::new(),
        joined => format!("; connections open before the probe: {joined}"),
    };
    let tls = match tls(snapshot) {
        tls if tls.is_empty() => tls,
        tls => format!("; {tls}"),
    };
    format!("{total} requests of {processes} processes counted; {lost}{joined}{tls}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counting::plaintext::Plain;
    use crate::counting::snapshot::tests_support::{process, snapshot, with_tls};

    #[test]
    fn the_busiest_by_rate_then_total_then_age() {
        let snapshot =
            snapshot(vec![process(1, &[0.0], 9), process(2, &[5.0], 5), process(3, &[0.0], 10), process(4, &[0.0], 9)]);
        let order: Vec<_> = busiest(&snapshot, Shown::All, 9).iter().map(|process| process.key.tgid).collect();
        assert_eq!(order, [2, 3, 1, 4]);
        assert_eq!(busiest(&snapshot, Shown::All, 1).len(), 1);
    }

    #[test]
    fn lines() {
        let mut state = snapshot(vec![process(1, &[2.5], 9)]);
        assert_eq!(line(&state, Shown::All), "server-1[1] 2.5/s 9 total");
        assert_eq!(losses(&state.losses), "");
        assert_eq!(farewell(&state), "9 requests of 1 processes counted; nothing was lost");
        state.losses.failures[Failure::Joined as usize] = 2;
        let ended = "9 requests of 1 processes counted; nothing was lost; connections open before the probe: 2";
        assert_eq!(farewell(&state), ended);
        state.losses.failures[Failure::Joined as usize] = 0;
        state.losses.failures[Failure::Gap as usize] = 3;
        state.losses.skipped_calls = 1;
        assert_eq!(losses(&state.losses), "gap 3, skipped_calls 1");
        state.losses.quiet_for = Some(std::time::Duration::from_secs(59));
        assert_eq!(losses(&state.losses), "gap 3, skipped_calls 1", "a recent one");
        state.losses.quiet_for = Some(std::time::Duration::from_secs(150));
        assert_eq!(losses(&state.losses), "gap 3, skipped_calls 1, none for 2 min");
        state.losses.quiet_for = None;
        assert_eq!(farewell(&state), "9 requests of 1 processes counted; losses: gap 3, skipped_calls 1");
        assert_eq!(line(&snapshot(vec![]), Shown::All), "");
        let state = snapshot(vec![with_tls(process(1, &[], 0), 12), process(2, &[], 1)]);
        let ended = "1 requests of 2 processes counted; nothing was lost; TLS is not counted: 12 connections, of 1 living processes";
        assert_eq!(farewell(&state), ended);
        let mut state = state;
        state.totals.tls_sessions = 9;
        let unread = [("library_replaced", 1), ("no_known_library", 2)].into();
        state.plain = std::sync::Arc::new(Plain { reading: Reading::On, read: 1, unread });
        assert_eq!(
            tls(&state),
            "TLS: 12 connections, 9 sessions read; of 1 living processes, not of: library_replaced 1, no_known_library 2"
        );
    }
}

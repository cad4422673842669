//! What the live table says where no terminal is: lines, or JSON. PURE.

use common::duration::BOUNDS_NS;
use serde::Serialize;

use super::controls::Controls;
use super::view::{duration, mark, share};
use crate::counting::answered::{Answered, bounds};
use crate::counting::overview::{Overview, Row};
use crate::printable::printable;

/// What is printed once, above the lines of all ticks.
#[must_use]
pub fn header(controls: &Controls) -> String {
    line(["TIME", "REQ/S", "ERR/S", "P50", "P99", "TOTAL", "SHARE", "PID"], &controls.by.name().to_uppercase())
}

/// The lines of one tick: the sum over everything, and the first `count` rows.
#[must_use]
pub fn lines(overview: &Overview, controls: &Controls, count: usize) -> String {
    let (rate, total) = (format!("{:.1}", overview.rate), overview.total.to_string());
    let certainty = if overview.exact { "" } else { ", not certain" };
    let tls = if overview.tls_connections == 0 { String::new() } else { format!("; {}", overview.tls) };
    let [errors, p50, p99] = answers(overview.answered.as_ref());
    let all = share(overview.rate, overview.rate);
    let sum = line([&overview.at, &rate, &errors, &p50, &p99, &total, &all, "-"], &format!("(all{certainty}){tls}"));
    let rows = controls.apply(&overview.table(controls.by).rows).into_iter().take(count);
    rows.fold(sum, |lines, row| {
        let (rate, total) = (format!("{:.1}", row.rate), row.total.to_string());
        let pid = row.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let [errors, p50, p99] = answers(row.answered.as_ref());
        let share = share(row.rate, overview.rate);
        lines
            + &line(
                [&overview.at, &rate, &errors, &p50, &p99, &total, &share, &pid],
                &format!("{}{}", row.name, mark(row)),
            )
    })
}

fn answers(answered: Option<&Answered>) -> [String; 3] {
    let errors = answered.map_or_else(|| "-".to_owned(), |answered| format!("{:.1}", answered.error_rate));
    [errors, duration(answered.and_then(|all| all.p50)), duration(answered.and_then(|all| all.p99))]
}

fn line([at, rate, errors, p50, p99, total, share, pid]: [&str; 8], name: &str) -> String {
    let numbers = format!("{rate:>10} {errors:>7} {p50:>7} {p99:>7} {total:>12} {share:>6} {pid:>8}");
    printable(&format!("{at:<24} {numbers} {name}")) + "\n"
}

/// One tick as a line of JSON.
#[derive(Serialize)]
struct Tick<'a> {
    at: &'a str,
    host: &'a str,
    by: &'static str,
    rate: f32,
    total: u64,
    processes: usize,
    ended_processes: u64,
    exact: bool,
    certainty: &'a str,
    /// Connections that began with a ClientHello.
    tls_connections: u64,
    /// Sessions whose requests are counted.
    tls_sessions: u64,
    /// Whether responses are counted, and why not.
    responses: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered: Option<&'a Answered>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_flight: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unanswered: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_responses: Option<u64>,
    /// Upper bounds of the buckets of durations, in seconds.
    bounds: [f64; BOUNDS_NS.len()],
    /// Rows for which there was no room.
    left_out: usize,
    rows: Vec<JsonRow<'a>>,
}

/// A row without its past, which the lines before have.
#[derive(Serialize)]
struct JsonRow<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pod: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    container: &'a str,
    processes: usize,
    rate: f32,
    /// Of the rate of all; between 0 and 1.
    share: f32,
    total: u64,
    unsynced: u64,
    tls_connections: u64,
    tls_sessions: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered: Option<&'a Answered>,
}

/// The JSON of one tick, in one line.
#[must_use]
pub fn json(overview: &Overview, controls: &Controls) -> String {
    let table = overview.table(controls.by);
    let row = |row: &'_ Row| -> f32 { if overview.rate > 0.0 { (row.rate / overview.rate).min(1.0) } else { 0.0 } };
    let rows = controls.apply(&table.rows).into_iter().map(|r| JsonRow {
        name: &r.name,
        pid: r.pid,
        namespace: &r.namespace,
        pod: &r.pod,
        container: &r.container,
        processes: r.processes,
        rate: r.rate,
        share: row(r),
        total: r.total,
        unsynced: r.unsynced,
        tls_connections: r.tls_connections,
        tls_sessions: r.tls_sessions,
        answered: r.answered.as_ref(),
    });
    let tick = Tick {
        at: &overview.at,
        host: &overview.host,
        by: controls.by.name(),
        rate: overview.rate,
        total: overview.total,
        processes: overview.processes,
        ended_processes: overview.ended_processes,
        exact: overview.exact,
        certainty: &overview.certainty,
        tls_connections: overview.tls_connections,
        tls_sessions: overview.tls_sessions,
        responses: &overview.responses,
        answered: overview.answered.as_ref(),
        in_flight: overview.in_flight,
        unanswered: overview.unanswered,
        lost_responses: overview.lost_responses,
        bounds: bounds(),
        left_out: table.left_out,
        rows: rows.collect(),
    };
    // In strings of JSON all but ASCII's control characters may stand as they are.
    printable(&serde_json::to_string(&tick).expect("strings and numbers cannot fail")) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counting::overview::{Facts, Grouping};
    use crate::counting::snapshot::tests_support::{answered, answering, placed, process, snapshot, with_tls};
    use crate::golden;

    fn overview() -> Overview {
        let web = placed(process(42, &[1.0, 30.0], 1_234_567), "web-1", Some('a'));
        let state = answered(snapshot(vec![
            answering(answering(web, &[(200, 1_234_000), (404, 3)], 2), &[(503, 4)], 12),
            process(7, &[0.0, 10.0], 3),
            with_tls(process(9, &[0.0], 1), 5),
        ]));
        Overview::new(&state, &Facts { responses: "counted at hook".into(), ..Facts::default() })
    }

    #[test]
    fn lines_for_pipes() {
        let controls = Controls::default();
        golden::check("top-lines.txt", &(header(&controls) + &lines(&overview(), &controls, 3)));
        let pods = Controls { by: Grouping::Pod, ..controls };
        golden::check("top-lines-pods.txt", &(header(&pods) + &lines(&overview(), &pods, 9)));
    }

    #[test]
    fn json_lines() {
        golden::check("top.json", &json(&overview(), &Controls::default()));
    }

    #[test]
    fn a_name_stays_in_its_line() {
        let mut overview = overview();
        overview.tables[0].rows[0].name = "a\nb\u{1b}[2J\u{9b}\u{202e}c".into();
        (overview.at, overview.host) = ("now\u{202e}\n".into(), "node\u{2028}".into());
        let controls = Controls::default();
        let text = lines(&overview, &controls, 9) + &json(&overview, &controls);
        let raw = ['\u{1b}', '\u{9b}', '\u{202e}', '\u{2028}'];
        assert!(text.lines().count() == 5 && !text.contains(raw), "{text:?}");
    }
}

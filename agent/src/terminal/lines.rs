//! What the live table says where no terminal is: lines, or JSON. PURE.

use serde::Serialize;

use super::controls::Controls;
use super::view::share;
use crate::counting::overview::{Overview, Row};
use crate::printable::printable;

/// What is printed once, above the lines of all ticks.
#[must_use]
pub fn header(controls: &Controls) -> String {
    line(["TIME", "REQ/S", "TOTAL", "SHARE", "PID"], &controls.by.name().to_uppercase())
}

/// The lines of one tick: the sum over everything, and the first `count` rows.
#[must_use]
pub fn lines(overview: &Overview, controls: &Controls, count: usize) -> String {
    let (rate, total) = (format!("{:.1}", overview.rate), overview.total.to_string());
    let certainty = if overview.exact { "" } else { ", not certain" };
    let sum =
        line([&overview.at, &rate, &total, &share(overview.rate, overview.rate), "-"], &format!("(all{certainty})"));
    let rows = controls.apply(&overview.table(controls.by).rows).into_iter().take(count);
    rows.fold(sum, |lines, row| {
        let (rate, total) = (format!("{:.1}", row.rate), row.total.to_string());
        let pid = row.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        lines + &line([&overview.at, &rate, &total, &share(row.rate, overview.rate), &pid], &row.name)
    })
}

fn line([at, rate, total, share, pid]: [&str; 5], name: &str) -> String {
    printable(&format!("{at:<24} {rate:>10} {total:>12} {share:>6} {pid:>8} {name}")) + "\n"
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
    use crate::counting::snapshot::tests_support::{placed, process, snapshot};
    use crate::golden;

    fn overview() -> Overview {
        let state = snapshot(vec![
            placed(process(42, &[1.0, 30.0], 1_234_567), "web-1", Some('a')),
            process(7, &[0.0, 10.0], 3),
            process(9, &[0.0], 1),
        ]);
        Overview::new(&state, &Facts::default())
    }

    #[test]
    fn lines_for_pipes() {
        let controls = Controls::default();
        golden::check("top-lines.txt", &(header(&controls) + &lines(&overview(), &controls, 2)));
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

//! The history: a line of JSON a run.

use std::fs::OpenOptions;
use std::io::{self, Write as _};

use serde::Serialize;

use crate::machine::Machine;
use crate::table::Figure;

/// `make bench BENCH_RECORD=1` sets it.
const SWITCH: &str = "BENCH_RECORD";
const HISTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/performance.jsonl");

#[derive(Serialize)]
struct Run<'a> {
    #[serde(flatten)]
    machine: &'a Machine,
    sections: Vec<Measured<'a>>,
}

#[derive(Serialize)]
struct Measured<'a> {
    section: &'a str,
    figures: &'a [Figure],
}

pub(crate) fn is_asked() -> bool {
    std::env::var(SWITCH).is_ok_and(|value| value == "1")
}

/// Appends this run to the history, if somebody wants it there.
pub(crate) fn append_if_asked(machine: &Machine, figures: &[(&str, Vec<Figure>)]) -> io::Result<()> {
    if !is_asked() {
        return Ok(());
    }
    let sections = figures.iter().map(|(section, figures)| Measured { section, figures }).collect();
    let line = serde_json::to_string(&Run { machine, sections })?;
    let mut history = OpenOptions::new().append(true).create(true).open(HISTORY)?;
    writeln!(history, "{line}")?;
    println!("\nrecorded in docs/performance.jsonl");
    Ok(())
}

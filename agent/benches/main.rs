//! The figures of docs/performance.md, as one table from one run.
//!
//! `make bench`, or `cargo bench --bench figures -- SECTION...` for some of it. Aims stand beside
//! the figures; nothing here fails because of a time.

mod agent_process;
mod cases;
mod cpu;
mod machine;
mod nginx;
mod receive;
mod record;
mod report;
mod resources;
mod spread;
mod table;
mod throughput;
mod wrk;

use std::error::Error;
use std::process::ExitCode;

use table::Figure;

type Figures = Result<Vec<Figure>, Box<dyn Error>>;

/// A part of the table.
struct Section {
    name: &'static str,
    title: &'static str,
    /// Why it cannot be measured here.
    missing: fn() -> Option<&'static str>,
    measure: fn() -> Figures,
}

const SECTIONS: [Section; 4] = [
    Section {
        name: "receive",
        title: "A receive: the probe's time less that of an empty program on the same hook",
        missing: machine::lacks_root,
        measure: receive::measure,
    },
    Section {
        name: "throughput",
        title: "nginx under wrk, with and without the agent's process",
        missing: missing_for_load,
        measure: throughput::measure,
    },
    Section { name: "agent", title: "The agent's process", missing: missing_for_load, measure: resources::measure },
    Section {
        name: "report",
        title: "User space at the most processes that are reported",
        missing: || None,
        measure: report::measure,
    },
];

fn main() -> ExitCode {
    // cargo adds flags of its own.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if let Some(unknown) = wanted.iter().find(|name| SECTIONS.iter().all(|section| section.name != **name)) {
        eprintln!("no section {unknown}; there are: {}", SECTIONS.map(|section| section.name).join(", "));
        return ExitCode::from(64);
    }
    let machine = machine::Machine::look();
    println!("{machine}\n");
    table::print_header();
    let (mut figures, mut failed) = (Vec::new(), false);
    for section in SECTIONS.iter().filter(|section| wanted.is_empty() || wanted.iter().any(|name| name == section.name))
    {
        println!("{}", section.title);
        if let Some(missing) = (section.missing)() {
            println!("  SKIPPED: {missing}");
            continue;
        }
        match (section.measure)() {
            Ok(measured) => {
                measured.iter().for_each(Figure::print);
                figures.push((section.name, measured));
            }
            Err(error) => {
                println!("  NOT MEASURED: {error}");
                failed = true;
            }
        }
    }
    if let Err(error) = record::append_if_asked(&machine, &figures) {
        eprintln!("cannot record the figures: {error}");
        failed = true;
    }
    ExitCode::from(u8::from(failed))
}

fn missing_for_load() -> Option<&'static str> {
    machine::lacks_root()
        .or_else(|| (!machine::has_command("nginx")).then_some("nginx is not installed"))
        .or_else(|| (!machine::has_command("wrk")).then_some("wrk is not installed"))
}

//! The figures of docs/performance.md, as one table from one run.
//!
//! `make bench`, or `cargo bench --bench figures -- SECTION...` for some of it; sections that take minutes only when
//! named or recorded. Aims stand beside the figures; nothing here fails because of a time.

mod agent_process;
mod answers;
mod applications;
mod cases;
mod comparison;
mod cpu;
mod hostile;
mod machine;
mod nginx;
#[path = "../tests/own_program/mod.rs"]
mod own_program;
mod pairs;
mod pods;
mod processes;
mod receive;
mod record;
mod redis;
mod report;
mod resources;
mod spread;
mod start;
mod table;
mod throughput;
mod tls;
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
    /// Takes minutes: only when named, or when the run is recorded.
    long: bool,
    measure: fn() -> Figures,
}

const SECTIONS: [Section; 11] = [
    Section {
        name: "receive",
        title: "A receive: the probe's time less that of an empty program on the same hook",
        missing: machine::lacks_root,
        long: false,
        measure: receive::measure,
    },
    Section {
        name: "responses",
        title: "A send: the probe's time less that of an empty program on the same hook",
        missing: machine::lacks_root,
        long: false,
        measure: answers::measure,
    },
    Section {
        name: "hostile",
        title: "Streams that are made to cost their receiver, over loopback",
        missing: machine::lacks_root,
        long: false,
        measure: hostile::measure,
    },
    Section {
        name: "comparison",
        title: "Beside others, nginx under wrk: what each costs, and counts",
        missing: missing_for_load,
        long: false,
        measure: comparison::measure,
    },
    Section {
        name: "throughput",
        title: "nginx under wrk, with and without the agent's process",
        missing: missing_for_load,
        long: false,
        measure: throughput::measure,
    },
    Section {
        name: "agent",
        title: "The agent's process",
        missing: missing_for_load,
        long: false,
        measure: resources::measure,
    },
    Section {
        name: "start",
        title: "The agent's process, killed and started again",
        missing: machine::lacks_root,
        long: false,
        measure: start::measure,
    },
    Section {
        name: "report",
        title: "User space at the most processes that are reported",
        missing: || None,
        long: false,
        measure: report::measure,
    },
    Section {
        name: "applications",
        title: "Servers with and without the agent's process: CPU time",
        missing: missing_for_applications,
        long: true,
        measure: applications::measure,
    },
    Section {
        name: "tls",
        title: "Requests in TLS: the probes of a read, and servers whose TLS is read and not",
        missing: machine::lacks_root,
        long: true,
        measure: tls::measure,
    },
    Section {
        name: "processes",
        title: "The agent's process with many processes",
        missing: machine::lacks_root,
        long: true,
        measure: processes::measure,
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
    let is_wanted = |section: &&Section| match wanted.as_slice() {
        [] => !section.long || record::is_asked(),
        wanted => wanted.iter().any(|name| name == section.name),
    };
    for section in SECTIONS.iter().filter(is_wanted) {
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

fn missing_for_applications() -> Option<&'static str> {
    missing_for_load().or_else(|| {
        let installed = ["redis-server", "redis-benchmark"].into_iter().all(machine::has_command);
        (!installed).then_some("redis-server or redis-benchmark is not installed")
    })
}

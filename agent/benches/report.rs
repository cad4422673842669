//! Time and size of the report and of the metrics at the number of processes at which both are
//! bounded, and time of the tick before them.

use std::io::BufReader;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::counting::counts::{Pid, ProcessCounts, Reading};
use agent::counting::identity::Identity;
use agent::counting::overview::{self, Overview};
use agent::counting::rates::Rates;
use agent::counting::responses::{Counted, Responses, SeriesCounts};
use agent::counting::snapshot::{Place, Process, Snapshot, Snapshots};
use agent::http::encoding::gzip;
use agent::metrics::labels::Grouping;
use agent::metrics::tally::{MAX_SERIES, Tally, Totals};
use agent::metrics::{Facts, Format, Instruments, Observed, Scrape};
use agent::pods::cgroup::ContainerId;
use agent::pods::index::Pods;
use agent::scope::report::{Content, Extent, MAX_REPORTED_PROCESSES, render};
use common::exchange::Asked;
use common::maps::{Counts, ProcessKey};
use common::series::Series;
use flate2::bufread::GzDecoder;
use jiff::Timestamp;
use serde_json::Value;

use crate::Figures;
use crate::spread::Spread;
use crate::table::Figure;

/// Enough for a median that stands still.
const ROUNDS: u64 = 101;
/// As many as a kubelet runs.
const PODS: u32 = 110;

pub(crate) fn measure() -> Figures {
    let mut rates = Rates::new(Duration::ZERO);
    let mut snapshots = Snapshots::new("ip-10-0-0-1.eu-central-1.compute.internal".into());
    let mut tally = Tally::new(Grouping::Process);
    let (mut ticks, mut reports, mut size) = (Vec::new(), Vec::new(), 0);
    let (mut placed_reports, mut placed_size) = (Vec::new(), 0);
    let mut polls = Polls::default();
    let mut buffer = Vec::new();
    let content = Content::WHOLE;
    let (mut tallies, mut scrapes, mut scrape_size) = (Vec::new(), Vec::new(), 0);
    let (mut overviews, mut overview_size, mut idle_ticks) = (Vec::new(), 0, Vec::new());
    let pods = Pods::default();
    for second in 1..=ROUNDS {
        let reading = reading(second);
        let started = Instant::now();
        let elapsed = rates.advance(&reading, &[], Identity::from_counts);
        rates.locate(&pods);
        let mut snapshot = snapshots.take(&rates, &pods, &reading, (elapsed, Timestamp::UNIX_EPOCH + reading.at));
        ticks.push(milliseconds(started));
        let started = Instant::now();
        let report = render(&snapshot, content, buffer).json;
        size = report.len();
        buffer = report.into();
        reports.push(milliseconds(started));
        let started = Instant::now();
        tally.take(&snapshot, &Pods::default());
        tallies.push(milliseconds(started));
        let started = Instant::now();
        scrape_size = scrape(snapshot.clone(), Arc::clone(tally.totals())).render(Format::OpenMetrics).len();
        scrapes.push(milliseconds(started));
        place(&mut snapshot);
        let started = Instant::now();
        let report = render(&snapshot, content, buffer).json;
        placed_size = report.len();
        buffer = report.into();
        placed_reports.push(milliseconds(started));
        buffer = polls.poll(&snapshot, second, buffer);
        let started = Instant::now();
        overview_size = Overview::new(&snapshot, &overview::Facts::default()).json().len();
        overviews.push(milliseconds(started));
    }
    for second in ROUNDS + 1..=2 * ROUNDS {
        let reading = Reading { processes: Vec::new(), responses: None, ..reading(second) };
        let started = Instant::now();
        let elapsed = rates.advance(&reading, &[], Identity::from_counts);
        rates.locate(&pods);
        drop(snapshots.take(&rates, &pods, &reading, (elapsed, Timestamp::UNIX_EPOCH + reading.at)));
        idle_ticks.push(milliseconds(started));
    }
    let series = format!("{MAX_SERIES} series of 2 versions");
    let processes = format!("{MAX_REPORTED_PROCESSES} processes");
    let mut figures = vec![
        Figure::new("tick: rates and snapshot", "ms", Spread::of(ticks)).note(format!("{processes}, all active")),
        Figure::new("tick: rates and snapshot", "ms", Spread::of(idle_ticks)).note(format!("{processes}, none active")),
        Figure::new("report", "ms", Spread::of(reports)).at_most(5.0).note(processes.as_str()),
        Figure::once("report", "KiB", size as f64 / 1024.0).note(processes.as_str()),
        Figure::new("report, in pods", "ms", Spread::of(placed_reports)).at_most(20.0).note(processes.as_str()),
        Figure::once("report, in pods", "KiB", placed_size as f64 / 1024.0).note(processes.as_str()),
        Figure::new("overview, in pods", "ms", Spread::of(overviews)).note(processes.as_str()),
        Figure::once("overview, in pods", "KiB", overview_size as f64 / 1024.0).note(processes),
        Figure::new("tick: what metrics add", "ms", Spread::of(tallies)).note(series.as_str()),
        Figure::new("scrape", "ms", Spread::of(scrapes)).note(series.as_str()),
        Figure::once("scrape", "KiB", scrape_size as f64 / 1024.0).note(series),
    ];
    figures.extend(polls.figures());
    Ok(figures)
}

/// What a Scope probe gets that asks each second.
#[derive(Default)]
struct Polls {
    /// Rendering and compressing.
    made: Vec<f64>,
    /// Decompressing and parsing a byte at a time: a stand-in for Scope's decoder, which is in Go.
    decoded: Vec<f64>,
    sizes: [usize; 2],
}

impl Polls {
    fn poll(&mut self, snapshot: &Snapshot, second: u64, buffer: Vec<u8>) -> Vec<u8> {
        let content = Content { extent: Extent::after(second, 1), ..Content::WHOLE };
        let started = Instant::now();
        let report = render(snapshot, content, buffer).json;
        let compressed = gzip(&report);
        self.made.push(milliseconds(started));
        let started = Instant::now();
        let bytes = GzDecoder::new(BufReader::with_capacity(4096, &compressed[..]));
        // It asks its reader for single bytes.
        let parsed: Value = serde_json::from_reader(bytes).expect("it is JSON");
        self.decoded.push(milliseconds(started));
        drop(parsed);
        self.sizes = [report.len(), compressed.len()];
        report.into()
    }

    fn figures(self) -> [Figure; 4] {
        let note = format!("{MAX_REPORTED_PROCESSES} processes, asked for each second");
        let size = |what, bytes: usize| Figure::once(what, "KiB", bytes as f64 / 1024.0).note(note.as_str());
        [
            Figure::new("poll, in pods, gzip", "ms", Spread::of(self.made)).note(note.as_str()),
            size("poll, in pods", self.sizes[0]),
            size("poll, in pods, gzip", self.sizes[1]),
            Figure::new("poll, in pods: read a byte at a time", "ms", Spread::of(self.decoded))
                .at_most(100.0)
                .note("a stand-in for Scope's decoder"),
        ]
    }
}

fn scrape(snapshot: Snapshot, totals: Arc<Totals>) -> Scrape {
    let started = Timestamp::UNIX_EPOCH;
    Scrape {
        facts: Arc::new(Facts {
            node: Some("node-1".into()),
            kernel: "6.18".into(),
            probe: "probe".into(),
            started,
            counted: Counted::At("hook".into()),
            max_processes: MAX_SERIES as u32,
            started_from: ("nothing", &["nothing"]),
            handovers: 3,
        }),
        observed: Arc::new(Observed { snapshot: Arc::new(snapshot), totals, pods: 110, refused_pods: 0 }),
        instruments: Instruments::default(),
        api_server: ("watching", &["off", "watching"]),
    }
}

fn reading(second: u64) -> Reading {
    let command: Arc<str> = "server".into();
    let processes = (1..=MAX_REPORTED_PROCESSES as u32).map(|pid| ProcessCounts {
        key: ProcessKey { start_ns: 1, tgid: pid, reserved: 0 },
        pid: Some(Pid(pid)),
        candidates: Arc::default(),
        command: Arc::clone(&command),
        counts: Counts { requests: [second, second * u64::from(pid), 0], ..Counts::default() },
    });
    let (at, responses) = (Duration::from_millis(second * 1001), Some(responses(second)));
    Reading { at, processes: processes.collect(), responses, ..Reading::default() }
}

/// Each process answers with two statuses.
fn responses(second: u64) -> Responses {
    let mut value = Series { sum_ns: second * 3_000_000, ..Series::default() };
    (value.buckets[2], value.buckets[5]) = (second * 3, second);
    let series = (1..=MAX_REPORTED_PROCESSES as u32).flat_map(|pid| {
        let process = ProcessKey { start_ns: 1, tgid: pid, reserved: 0 };
        [200, 500].map(|status| SeriesCounts { process, asked: Asked::HTTP_1, status, value })
    });
    Responses { series: series.collect(), ..Responses::default() }
}

/// Spreads the processes over pods of two containers each.
fn place(snapshot: &mut Snapshot) {
    let place = |n: u32| {
        let (pod, container) = (n / 2, n % 2);
        Arc::new(Place {
            scope_uid: format!("{pod:08x}-0000-0000-0000-000000000000").into(),
            namespace: "production".into(),
            pod: format!("checkout-service-7d4b9c6f5d-{pod:05}").into(),
            container_id: ContainerId::parse(&format!("{n:064x}")),
            container: Some(format!("container-{container}").into()),
        })
    };
    let places: Vec<_> = (0..2 * PODS).map(place).collect();
    let placed = snapshot.processes.iter().zip(places.iter().cycle());
    let placed = placed.map(|(process, place)| Process { place: Some(Arc::clone(place)), ..process.clone() });
    snapshot.processes = placed.collect();
}

fn milliseconds(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e3
}

//! What a client gets that polls the plugin socket as Scope's probe does: through one connection, in gzip, and the body a
//! byte at a time; and what the agent makes of one that gives up.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking; clippy knows its functions, not their helpers")]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent::counting::counts::{Pid, ProcessCounts, Reading};
use agent::counting::identity::Identity;
use agent::counting::rates::Rates;
use agent::counting::responses::{Responses, SeriesCounts};
use agent::counting::snapshot::{Snapshot, Snapshots};
use agent::metrics::Instruments;
use agent::pods::index::Pods;
use agent::scope::plugin::{self, Limits, Pulse, Reports, Socket};
use agent::shutdown;
use common::exchange::Asked;
use common::maps::{Counts, ProcessKey};
use common::series::Series;
use flate2::bufread::GzDecoder;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

const RATE: &str = "http_requests_per_second";
/// More than those whose totals are in each report. That the most that a report has room for are read in time a benchmark
/// shows.
const PROCESSES: u32 = 1500;
/// Much longer than anything here takes; only a hang reaches it.
const HANG: Duration = Duration::from_secs(600);
const POLL: &[u8] =
    b"GET /report?api_version=1&probe_id=5f2e HTTP/1.1\r\nHost: plugin\r\nAccept-Encoding: gzip\r\n\r\n";

/// Ticks of processes each of which receives something.
struct Ticks {
    rates: Rates,
    snapshots: Snapshots,
    second: u64,
}

impl Ticks {
    fn new() -> Self {
        Self { rates: Rates::new(Duration::ZERO), snapshots: Snapshots::new("node-1".into()), second: 0 }
    }

    fn next(&mut self) -> Arc<Snapshot> {
        self.second += 1;
        let process = |pid: u32| ProcessCounts {
            counts: Counts { requests: [0, self.second * u64::from(pid), 0], ..Counts::default() },
            ..counted(pid)
        };
        let at = Duration::from_secs(self.second);
        let responses = Some(self.responses());
        let reading =
            Reading { at, processes: (1..=PROCESSES).map(process).collect(), responses, ..Reading::default() };
        let elapsed = self.rates.advance(&reading, &[], Identity::from_counts);
        let wall = Timestamp::UNIX_EPOCH + at;
        Arc::new(self.snapshots.take(&self.rates, &Pods::default(), &reading, (elapsed, wall)))
    }
}

impl Ticks {
    /// Each process answers with two statuses.
    fn responses(&self) -> Responses {
        let series = (1..=PROCESSES).flat_map(|pid| {
            let mut value = Series { sum_ns: self.second * 3_000_000, ..Series::default() };
            value.buckets[2 + pid as usize % 5] = self.second;
            [200, 500].map(|status| SeriesCounts { process: counted(pid).key, asked: Asked::HTTP_1, status, value })
        });
        Responses { series: series.collect(), ..Responses::default() }
    }
}

fn counted(pid: u32) -> ProcessCounts {
    ProcessCounts {
        key: ProcessKey { start_ns: 1, tgid: pid, reserved: 0 },
        pid: Some(Pid(pid)),
        command: "server".into(),
        candidates: Arc::default(),
        counts: Counts::default(),
    }
}

/// Gives a byte at a time, as Scope's decoder asks for them.
struct Bytewise<R>(R, usize);

impl<R: Read> Read for Bytewise<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = buffer.len().min(1);
        let read = self.0.read(&mut buffer[..length])?;
        self.1 += read;
        Ok(read)
    }
}

/// A report, with its bytes on the wire and in the decoder.
struct Polled {
    report: Value,
    sent: usize,
    decoded: usize,
}

fn poll(stream: &mut BufReader<UnixStream>) -> Polled {
    stream.get_mut().write_all(POLL).unwrap();
    let (mut line, mut head) = (String::new(), String::new());
    while stream.read_line(&mut line).unwrap() > 2 {
        head.push_str(&std::mem::take(&mut line).to_ascii_lowercase());
    }
    assert!(head.starts_with("http/1.1 200 ok") && head.contains("content-encoding: gzip"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut bytes = Bytewise(GzDecoder::new(stream.take(length)), 0);
    let report = serde_json::from_reader(&mut bytes).unwrap();
    assert_eq!(bytes.0.read(&mut [0]).unwrap(), 0, "nothing comes behind the report");
    Polled { report, sent: length as usize, decoded: bytes.1 }
}

fn nodes(report: &Value) -> &serde_json::Map<String, Value> {
    report["Process"]["nodes"].as_object().unwrap()
}

/// Ticks, and serves them meanwhile.
async fn serving<T: Send + 'static>(
    instruments: Instruments,
    client: impl FnOnce(&Path, &mut dyn FnMut()) -> T + Send + 'static,
) -> T {
    let folder = tempfile::tempdir().unwrap();
    let (socket, listener) = Socket::claim(folder.path()).unwrap();
    let mut ticks = Ticks::new();
    let (publish, snapshots) = watch::channel(ticks.next());
    let (_beat, pulse) = watch::channel(Pulse::new());
    let reports = Reports::new(snapshots, pulse).with_chosen_host(true).noted_by(instruments);
    let (trigger, shutdown) = shutdown::channel();
    let server = tokio::spawn(plugin::serve(listener, Arc::new(reports), Limits::DEFAULT, shutdown));
    let path = socket.path().to_owned();
    let asking = spawn_blocking(move || client(&path, &mut || drop(publish.send_replace(ticks.next()))));
    let asked = timeout(HANG, asking).await.expect("the server hangs").unwrap();
    trigger.pull();
    server.await.unwrap();
    asked
}

#[tokio::test]
async fn processes_are_few_bytes_for_who_asks_each_second() {
    serving(Instruments::default(), |path, tick| {
        (0..3).for_each(|_| tick());
        let mut stream = BufReader::with_capacity(4096, UnixStream::connect(path).unwrap());
        let first = poll(&mut stream);
        let is_told = |(pid, node): (&String, &Value)| node.get("latest").map(|_| pid.clone());
        assert_eq!(nodes(&first.report).len(), PROCESSES as usize);
        assert_eq!(nodes(&first.report).iter().filter_map(is_told).count(), PROCESSES as usize);
        let samples = |report: &Value| report["Process"]["nodes"]["node-1;9"]["metrics"][RATE]["samples"].clone();
        let dates = |report: &Value| {
            samples(report).as_array().unwrap().iter().map(|sample| sample["date"].to_string()).collect::<Vec<_>>()
        };
        assert_eq!(dates(&first.report).len(), 3);
        let answers = |report: &Value| {
            let told = nodes(report).values().filter(|node| node["metrics"].get("http_errors_per_second").is_some());
            told.count()
        };
        assert_eq!(answers(&first.report), PROCESSES as usize);
        let (mut told, mut seen, mut decoded, mut answered) = (BTreeSet::new(), dates(&first.report), 0, 0);
        for _ in 0..2 {
            tick();
            let polled = poll(&mut stream);
            assert_eq!(nodes(&polled.report).len(), PROCESSES as usize);
            assert_eq!(dates(&polled.report).len(), 1);
            seen.extend(dates(&polled.report));
            told.extend(nodes(&polled.report).iter().filter_map(is_told));
            assert!(polled.report["Process"]["metric_templates"].get(RATE).is_some(), "each time");
            assert!(polled.sent < 30 * PROCESSES as usize, "{} bytes in gzip", polled.sent);
            decoded += polled.decoded;
            answered += answers(&polled.report);
        }
        assert_eq!(told.len(), PROCESSES as usize, "in two reports each process's total was told");
        assert!(seen.is_sorted() && seen.iter().collect::<BTreeSet<_>>().len() == 5, "{seen:?}");
        // With three samples, its total and its responses each has 1 000.
        assert!(decoded < 2 * 340 * PROCESSES as usize, "{decoded} bytes in two reports");
        assert!((600..900).contains(&answered), "{answered} told what they answered in two reports");
        tick();
        tick();
        assert_eq!(dates(&poll(&mut stream).report).len(), 2, "one was missed");
        let mut other = BufReader::with_capacity(4096, UnixStream::connect(path).unwrap());
        assert_eq!(dates(&poll(&mut other).report).len(), 3, "nothing is known of who comes anew");
    })
    .await;
}

#[tokio::test]
async fn who_hangs_up_gets_the_busiest_from_then_on() {
    let instruments = Instruments::default();
    let hangups = instruments.scope_hangups.clone();
    let left = serving(instruments, move |path, tick| {
        // It dies in the middle of a report, twice: each leaves bytes in its socket.
        for n in 1..=2 {
            let mut stream = UnixStream::connect(path).unwrap();
            stream.write_all(POLL).unwrap();
            stream.read_exact(&mut [0; 100]).unwrap();
            drop(stream);
            while hangups.get() < n {
                std::thread::yield_now();
            }
            tick();
        }
        let mut stream = BufReader::with_capacity(4096, UnixStream::connect(path).unwrap());
        let report = poll(&mut stream).report;
        let description = report["Plugins"][0]["description"].as_str().unwrap().to_owned();
        (nodes(&report).keys().cloned().collect::<BTreeSet<_>>(), description)
    })
    .await;
    assert_eq!(left.0.len(), 750);
    assert!(left.0.contains("node-1;1500") && !left.0.contains("node-1;1"), "not the busiest");
    assert!(left.1.contains("(the busiest 750 of 1500: Scope had no time for more)"), "{}", left.1);
}

#[tokio::test]
async fn who_has_read_everything_has_not_hung_up() {
    let instruments = Instruments::default();
    serving(instruments.clone(), |path, tick| {
        for _ in 0..2 {
            let mut stream = BufReader::with_capacity(4096, UnixStream::connect(path).unwrap());
            poll(&mut stream);
            tick();
            poll(&mut stream);
        }
    })
    .await;
    // All connections have ended: the server waits for them.
    assert_eq!((instruments.scope_polls.get(), instruments.scope_hangups.get()), (4, 0));
}

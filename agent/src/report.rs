//! A snapshot as the report that Weave Scope's probe reads. PURE.

use std::fmt::Write as _;

use bytes::Bytes;
use jiff::Timestamp;
use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Serialize, Serializer};

use crate::snapshot::{Process, REPEATED_TICKS, Snapshot};

/// The plugin's id: Scope takes it from the socket's file name and wants the same one here.
pub const ID: &str = "http-requests";

/// Scope reads a report of 5 000 nodes well within the half second it grants and fails at 60 000.
/// Of more processes the busiest are reported, and the plugin's description says that some are cut.
pub const MAX_REPORTED_PROCESSES: usize = 5000;

const LABEL: &str = "HTTP Requests";
const DESCRIPTION: &str = "Adds http request metrics to processes";
const RATE: &str = "http_requests_per_second";
const TOTAL: &str = "http_requests_total";

/// About what one process takes in a report; only saves reallocation.
const BYTES_PER_PROCESS: usize = 512;

/// The report on one snapshot, as JSON.
#[must_use]
pub fn render(snapshot: &Snapshot) -> Bytes {
    let (processes, cut) = reported(snapshot);
    let ticks: Vec<String> = snapshot.ticks.iter().map(|tick| date(*tick)).collect();
    let report = Report {
        plugins: [Plugin {
            id: ID,
            label: LABEL,
            description: description(processes.len(), cut),
            interfaces: ["reporter"],
            api_version: "1",
        }],
        process: Topology {
            metric_templates: RateTemplates {
                rate: MetricTemplate { id: RATE, label: "HTTP Req/Second", priority: 0.1 },
            },
            metadata_templates: TotalTemplates {
                total: MetadataTemplate {
                    id: TOTAL,
                    label: "HTTP Requests (total)",
                    data_type: "number",
                    priority: 50.0,
                    from: "latest",
                },
            },
            nodes: Nodes { host: &snapshot.host, processes: &processes, ticks: &ticks },
        },
    };
    let mut json = Vec::with_capacity(1024 + processes.len() * BYTES_PER_PROCESS);
    serde_json::to_writer(&mut json, &report).expect("strings, numbers and a growing buffer cannot fail");
    json.into()
}

/// Live processes that the host can see, by PID; and how many more there are.
fn reported(snapshot: &Snapshot) -> (Vec<(u32, &Process)>, usize) {
    let visible = snapshot.processes.iter().filter(|process| !process.history.is_empty());
    let mut processes: Vec<_> = visible.filter_map(|process| Some((process.identity.pid?.0, process))).collect();
    let cut = processes.len().saturating_sub(MAX_REPORTED_PROCESSES);
    if cut > 0 {
        processes.sort_unstable_by_key(|(pid, process)| (std::cmp::Reverse(process.requests()), *pid));
        processes.truncate(MAX_REPORTED_PROCESSES);
    }
    // A PID that has returned: the younger process has it, the end of the older is about to be seen.
    processes.sort_unstable_by_key(|(pid, process)| (*pid, std::cmp::Reverse(process.key.start_ns)));
    processes.dedup_by_key(|(pid, _)| *pid);
    (processes, cut)
}

fn description(reported: usize, cut: usize) -> String {
    match cut {
        0 => DESCRIPTION.to_owned(),
        _ => format!("{DESCRIPTION} (the busiest {reported} of {})", reported + cut),
    }
}

/// RFC 3339 with nanoseconds and a zone, which Scope insists on.
fn date(at: Timestamp) -> String {
    format!("{at:.9}")
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(rename = "Plugins")]
    plugins: [Plugin; 1],
    #[serde(rename = "Process")]
    process: Topology<'a>,
}

#[derive(Serialize)]
struct Plugin {
    id: &'static str,
    label: &'static str,
    description: String,
    interfaces: [&'static str; 1],
    api_version: &'static str,
}

#[derive(Serialize)]
struct Topology<'a> {
    metric_templates: RateTemplates,
    metadata_templates: TotalTemplates,
    nodes: Nodes<'a>,
}

#[derive(Serialize)]
struct RateTemplates {
    #[serde(rename = "http_requests_per_second")]
    rate: MetricTemplate,
}

#[derive(Serialize)]
struct MetricTemplate {
    id: &'static str,
    label: &'static str,
    priority: f64,
}

#[derive(Serialize)]
struct TotalTemplates {
    #[serde(rename = "http_requests_total")]
    total: MetadataTemplate,
}

#[derive(Serialize)]
struct MetadataTemplate {
    id: &'static str,
    label: &'static str,
    #[serde(rename = "dataType")]
    data_type: &'static str,
    priority: f64,
    from: &'static str,
}

/// Written process by process: thousands of them need no tree in memory.
struct Nodes<'a> {
    host: &'a str,
    processes: &'a [(u32, &'a Process)],
    ticks: &'a [String],
}

impl Serialize for Nodes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut nodes = serializer.serialize_map(Some(self.processes.len()))?;
        let (mut id, mut total) = (String::new(), String::new());
        for (pid, process) in self.processes {
            id.clear();
            total.clear();
            // Writing to a string cannot fail.
            let _ = write!(id, "{};{pid}", self.host);
            let _ = write!(total, "{}", process.requests());
            nodes.serialize_entry(&id, &Node::new(&id, &total, process, self.ticks))?;
        }
        nodes.end()
    }
}

#[derive(Serialize)]
struct Node<'a> {
    id: &'a str,
    metrics: Metrics<'a>,
    latest: Latest<'a>,
}

#[derive(Serialize)]
struct Metrics<'a> {
    #[serde(rename = "http_requests_per_second")]
    rate: Metric<'a>,
}

#[derive(Serialize)]
struct Metric<'a> {
    samples: Samples<'a>,
    min: f32,
    max: f32,
}

#[derive(Serialize)]
struct Latest<'a> {
    #[serde(rename = "http_requests_total")]
    total: LatestEntry<'a>,
}

#[derive(Serialize)]
struct LatestEntry<'a> {
    timestamp: &'a str,
    value: &'a str,
}

struct Samples<'a> {
    process: &'a Process,
    ticks: &'a [String],
}

#[derive(Serialize)]
struct Sample<'a> {
    date: &'a str,
    value: f32,
}

impl<'a> Node<'a> {
    fn new(id: &'a str, total: &'a str, process: &'a Process, ticks: &'a [String]) -> Self {
        // Without a maximum Scope's canvas draws nothing; with one of zero it divides by it.
        let max = process.history.highest().max(1.0);
        let timestamp = ticks.last().map_or("", String::as_str);
        Self {
            id,
            metrics: Metrics { rate: Metric { samples: Samples { process, ticks }, min: 0.0, max } },
            latest: Latest { total: LatestEntry { timestamp, value: total } },
        }
    }
}

impl Serialize for Samples<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rates = self.process.history.last(REPEATED_TICKS.min(self.ticks.len()));
        let dates = &self.ticks[self.ticks.len() - rates.len()..];
        let mut samples = serializer.serialize_seq(Some(rates.len()))?;
        for (date, value) in dates.iter().zip(rates) {
            samples.serialize_element(&Sample { date, value })?;
        }
        samples.end()
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;

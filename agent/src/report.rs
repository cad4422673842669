//! A snapshot as the report that Weave Scope's probe reads. PURE.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;

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
///
/// Thousands of nodes that differ in a few numbers are put together from pieces that are the same
/// in all of them, at a quarter of what serializing each takes; the rest is serialized as usual.
#[must_use]
pub fn render(snapshot: &Snapshot) -> Bytes {
    let (processes, cut) = reported(snapshot);
    let mut json = Vec::with_capacity(1024 + processes.len() * BYTES_PER_PROCESS);
    write(&mut json, &frame(description(processes.len(), cut)));
    json.truncate(json.len() - FRAME_END.len());
    let pieces = Pieces::new(snapshot);
    for (index, (pid, process)) in processes.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        pieces.write_node(&mut json, *pid, process);
    }
    json.extend_from_slice(FRAME_END);
    json.into()
}

/// What ends a report: nodes, topology, report. The frame is serialized with these next to each
/// other, the nodes go between.
const FRAME_END: &[u8] = b"}}}";

/// The report without its nodes, which come last in it.
fn frame(description: String) -> Report {
    Report {
        plugins: [Plugin { id: ID, label: LABEL, description, interfaces: ["reporter"], api_version: "1" }],
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
            nodes: NoNodes {},
        },
    }
}

fn write(json: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(json, value).expect("strings, numbers and a growing buffer cannot fail");
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
struct Report {
    #[serde(rename = "Plugins")]
    plugins: [Plugin; 1],
    #[serde(rename = "Process")]
    process: Topology,
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
struct Topology {
    metric_templates: RateTemplates,
    metadata_templates: TotalTemplates,
    nodes: NoNodes,
}

#[derive(Serialize)]
struct NoNodes {}

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

/// What all nodes of one report share, as JSON.
struct Pieces {
    /// The quoted host without its last quote.
    host: Vec<u8>,
    /// From behind the id up to the samples.
    metric: Vec<u8>,
    /// `{"date":"...","value":` of each tick, the newest last.
    samples: Vec<Vec<u8>>,
    /// From behind the maximum up to the total.
    latest: Vec<u8>,
}

impl Pieces {
    fn new(snapshot: &Snapshot) -> Self {
        let mut host = Vec::new();
        write(&mut host, &&*snapshot.host);
        host.pop();
        let dates: Vec<String> = snapshot.ticks.iter().map(|tick| date(*tick)).collect();
        let newest = dates.last().map_or("", String::as_str);
        Self {
            host,
            metric: format!(r#","metrics":{{"{RATE}":{{"samples":["#).into_bytes(),
            samples: dates.iter().map(|date| format!(r#"{{"date":"{date}","value":"#).into_bytes()).collect(),
            latest: format!(r#"}}}},"latest":{{"{TOTAL}":{{"timestamp":"{newest}","value":""#).into_bytes(),
        }
    }

    fn write_node(&self, json: &mut Vec<u8>, pid: u32, process: &Process) {
        self.write_id(json, pid);
        json.extend_from_slice(br#":{"id":"#);
        self.write_id(json, pid);
        json.extend_from_slice(&self.metric);
        self.write_samples(json, process);
        json.extend_from_slice(br#"],"min":0.0,"max":"#);
        // Without a maximum Scope's canvas draws nothing; with one of zero it divides by it.
        write(json, &process.history.highest().max(1.0));
        json.extend_from_slice(&self.latest);
        write(json, &process.requests());
        json.extend_from_slice(br#""}}}"#);
    }

    fn write_id(&self, json: &mut Vec<u8>, pid: u32) {
        json.extend_from_slice(&self.host);
        json.push(b';');
        write(json, &pid);
        json.push(b'"');
    }

    fn write_samples(&self, json: &mut Vec<u8>, process: &Process) {
        let rates = process.history.last(REPEATED_TICKS.min(self.samples.len()));
        let samples = &self.samples[self.samples.len() - rates.len()..];
        for (index, (sample, rate)) in samples.iter().zip(rates).enumerate() {
            if index > 0 {
                json.push(b',');
            }
            json.extend_from_slice(sample);
            write(json, &rate);
            json.push(b'}');
        }
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;

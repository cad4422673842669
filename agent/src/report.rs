//! A snapshot as the report that Weave Scope's probe reads. PURE.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;

use crate::snapshot::{Place, Process, REPEATED_TICKS, Snapshot};

/// The plugin's id: Scope takes it from the socket's file name and wants the same one here.
pub const ID: &str = "http-requests";

/// Scope reads a report of 5 000 nodes well within the half second it grants and fails at 60 000.
/// Of more processes the busiest are reported, and the plugin's description says that some are cut.
pub const MAX_REPORTED_PROCESSES: usize = 5000;

/// A kubelet runs 110 pods by default and 500 in practice. Of more containers or pods the busiest are reported, and
/// the description says so.
pub const MAX_REPORTED_SUMS: usize = 2000;

const LABEL: &str = "HTTP Requests";
const DESCRIPTION: &str = "Adds http request metrics to processes";
const RATE: &str = "http_requests_per_second";
const TOTAL: &str = "http_requests_total";
const POD: &str = "http_requests_pod";
const NAMESPACE: &str = "http_requests_namespace";
const CONTAINER: &str = "http_requests_container";
/// By this Scope finds a process's container where there is no Docker to ask.
const SCOPES_CONTAINER: &str = "docker_container_id";

/// What one process takes in a report, rather too much: a buffer that grows is twice as large for a while, and what is
/// not written of it costs no memory.
const BYTES_PER_PROCESS: usize = 640;
/// What its place adds, and the share of its container and its pod.
const BYTES_PER_PLACE: usize = 1024;

/// The report on one snapshot, as JSON.
///
/// Thousands of nodes that differ in a few numbers are put together from pieces that are the same
/// in all of them, at a quarter of what serializing each takes; the rest is serialized as usual.
#[must_use]
pub fn render(snapshot: &Snapshot) -> Bytes {
    let (processes, cut) = reported(snapshot);
    let placed = processes.iter().filter(|(_, process)| process.place.is_some()).count();
    let mut json = Vec::with_capacity(4096 + processes.len() * BYTES_PER_PROCESS + placed * BYTES_PER_PLACE);
    let dates: Vec<String> = snapshot.ticks.iter().map(|tick| date(*tick)).collect();
    let containers = sums(snapshot, &dates, container_node, |place| place.container_id);
    let pods = sums(snapshot, &dates, |place| Some(pod_node(place)), |place| Some(&place.scope_uid));
    let cuts = [(processes.len(), cut, ""), containers.cut(" containers"), pods.cut(" pods")];
    write(&mut json, &frame(description(&cuts), placed > 0));
    json.truncate(json.len() - FRAME_END.len());
    let pieces = Pieces::new(snapshot, &dates);
    for (index, (pid, process)) in processes.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        pieces.write_node(&mut json, *pid, process);
    }
    json.extend_from_slice(TOPOLOGY_END);
    for (key, sums) in [("Container", containers), ("Pod", pods)] {
        sums.write(&mut json, key);
    }
    json.push(b'}');
    json.into()
}

/// What ends a report: nodes, topology, report. The frame is serialized with these next to each
/// other, the nodes go between.
const FRAME_END: &[u8] = b"}}}";
/// What ends nodes and topology.
const TOPOLOGY_END: &[u8] = b"}}";

/// The report without its nodes, which come last in it.
fn frame(description: String, is_placed: bool) -> Report {
    Report {
        plugins: [Plugin { id: ID, label: LABEL, description, interfaces: ["reporter"], api_version: "1" }],
        process: Topology {
            metric_templates: RateTemplates::new(),
            metadata_templates: LatestTemplates {
                total: MetadataTemplate::new(TOTAL, "HTTP Requests (total)", "number", 50.0),
                place: is_placed.then(|| PlaceTemplates {
                    pod: MetadataTemplate::new(POD, "Pod", "", 51.0),
                    namespace: MetadataTemplate::new(NAMESPACE, "Namespace", "", 52.0),
                    container: MetadataTemplate::new(CONTAINER, "Container", "", 53.0),
                }),
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
        processes.sort_unstable_by_key(|(pid, process)| (Reverse(process.requests()), *pid));
        processes.truncate(MAX_REPORTED_PROCESSES);
    }
    // A PID that has returned: the younger process has it, the end of the older is about to be seen.
    processes.sort_unstable_by_key(|(pid, process)| (*pid, Reverse(process.key.start_ns)));
    processes.dedup_by_key(|(pid, _)| *pid);
    (processes, cut)
}

/// Says of what is cut how much is reported, how much is not, and what it is.
fn description(cuts: &[(usize, usize, &str)]) -> String {
    let cuts = cuts.iter().filter(|(_, cut, _)| *cut > 0);
    let said: Vec<_> =
        cuts.map(|(reported, cut, what)| format!("the busiest {reported} of {}{what}", reported + cut)).collect();
    if said.is_empty() { DESCRIPTION.to_owned() } else { format!("{DESCRIPTION} ({})", said.join(", ")) }
}

/// The topology of containers or of pods.
struct Sums {
    nodes: BTreeMap<String, SumNode>,
    cut: usize,
}

impl Sums {
    fn cut<'a>(&self, what: &'a str) -> (usize, usize, &'a str) {
        (self.nodes.len(), self.cut, what)
    }

    /// A topology without nodes is left out.
    fn write(self, json: &mut Vec<u8>, key: &str) {
        if self.nodes.is_empty() {
            return;
        }
        json.push(b',');
        write(json, &key);
        json.push(b':');
        write(json, &SumTopology { metric_templates: RateTemplates::new(), nodes: self.nodes });
    }
}

/// What live processes of the same place receive together. Scope sums nothing itself.
struct Sum<'a> {
    place: &'a Place,
    /// The newest first.
    rates: Vec<f32>,
    requests: u64,
}

impl Sum<'_> {
    fn add(&mut self, process: &Process) {
        for (index, rate) in process.history.last(usize::MAX).rev().enumerate() {
            match self.rates.get_mut(index) {
                Some(sum) => *sum += rate,
                None => self.rates.push(rate),
            }
        }
        self.requests += process.requests();
    }

    fn node(&self, id: String, parents: Option<Parents>, dates: &[String]) -> SumNode {
        let newest = self.rates.iter().zip(dates.iter().rev());
        let samples = newest.map(|(rate, date)| Sample { date: date.clone(), value: *rate });
        let mut samples: Vec<_> = samples.take(REPEATED_TICKS).collect();
        samples.reverse();
        let max = self.rates.iter().copied().fold(1.0, f32::max);
        SumNode { id, metrics: Metrics { rate: Metric { samples, min: 0.0, max } }, parents }
    }
}

/// One node for each key, with the sum over live processes of that key, also of those that are cut themselves.
fn sums<'a, K: Hash + Eq>(
    snapshot: &'a Snapshot,
    dates: &[String],
    node: impl Fn(&Place) -> Option<(String, Option<Parents>)>,
    key: impl Fn(&'a Place) -> Option<K>,
) -> Sums {
    let mut by_key: HashMap<K, Sum> = HashMap::new();
    for process in snapshot.processes.iter().filter(|process| !process.history.is_empty()) {
        let Some(place) = process.place.as_deref() else { continue };
        let Some(key) = key(place) else { continue };
        by_key.entry(key).or_insert_with(|| Sum { place, rates: Vec::new(), requests: 0 }).add(process);
    }
    let mut sums: Vec<_> = by_key.into_values().filter_map(|sum| Some((node(sum.place)?, sum))).collect();
    let cut = sums.len().saturating_sub(MAX_REPORTED_SUMS);
    if cut > 0 {
        sums.sort_by(|((id, _), sum), ((other_id, _), other)| {
            Reverse(sum.requests).cmp(&Reverse(other.requests)).then_with(|| id.cmp(other_id))
        });
        sums.truncate(MAX_REPORTED_SUMS);
    }
    let nodes = sums.into_iter().map(|((id, parents), sum)| (id.clone(), sum.node(id, parents, dates)));
    Sums { nodes: nodes.collect(), cut }
}

fn pod_node(place: &Place) -> (String, Option<Parents>) {
    (pod_id(place), None)
}

fn container_node(place: &Place) -> Option<(String, Option<Parents>)> {
    Some((container_id(place)?, Some(Parents { container: None, pod: [pod_id(place)] })))
}

fn pod_id(place: &Place) -> String {
    format!("{};<pod>", place.scope_uid)
}

fn container_id(place: &Place) -> Option<String> {
    Some(format!("{};<container>", place.container_id?))
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
    metadata_templates: LatestTemplates,
    nodes: NoNodes,
}

#[derive(Serialize)]
struct NoNodes {}

#[derive(Serialize)]
struct RateTemplates {
    #[serde(rename = "http_requests_per_second")]
    rate: MetricTemplate,
}

impl RateTemplates {
    fn new() -> Self {
        Self { rate: MetricTemplate { id: RATE, label: "HTTP Req/Second", priority: 0.1 } }
    }
}

#[derive(Serialize)]
struct SumTopology {
    metric_templates: RateTemplates,
    nodes: BTreeMap<String, SumNode>,
}

#[derive(Serialize)]
struct SumNode {
    id: String,
    metrics: Metrics,
    #[serde(skip_serializing_if = "Option::is_none")]
    parents: Option<Parents>,
}

#[derive(Serialize)]
struct Parents {
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<[String; 1]>,
    pod: [String; 1],
}

#[derive(Serialize)]
struct Metrics {
    #[serde(rename = "http_requests_per_second")]
    rate: Metric,
}

#[derive(Serialize)]
struct Metric {
    samples: Vec<Sample>,
    min: f32,
    max: f32,
}

#[derive(Serialize)]
struct Sample {
    date: String,
    value: f32,
}

#[derive(Serialize)]
struct MetricTemplate {
    id: &'static str,
    label: &'static str,
    priority: f64,
}

#[derive(Serialize)]
struct LatestTemplates {
    #[serde(rename = "http_requests_total")]
    total: MetadataTemplate,
    #[serde(flatten)]
    place: Option<PlaceTemplates>,
}

#[derive(Serialize)]
struct PlaceTemplates {
    #[serde(rename = "http_requests_pod")]
    pod: MetadataTemplate,
    #[serde(rename = "http_requests_namespace")]
    namespace: MetadataTemplate,
    #[serde(rename = "http_requests_container")]
    container: MetadataTemplate,
}

#[derive(Serialize)]
struct MetadataTemplate {
    id: &'static str,
    label: &'static str,
    #[serde(rename = "dataType", skip_serializing_if = "str::is_empty")]
    data_type: &'static str,
    priority: f64,
    from: &'static str,
}

impl MetadataTemplate {
    fn new(id: &'static str, label: &'static str, data_type: &'static str, priority: f64) -> Self {
        Self { id, label, data_type, priority, from: "latest" }
    }
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
    /// From behind the key of a further entry up to its value.
    entry: Vec<u8>,
}

impl Pieces {
    fn new(snapshot: &Snapshot, dates: &[String]) -> Self {
        let mut host = Vec::new();
        write(&mut host, &&*snapshot.host);
        host.pop();
        let newest = dates.last().map_or("", String::as_str);
        Self {
            host,
            metric: format!(r#","metrics":{{"{RATE}":{{"samples":["#).into_bytes(),
            samples: dates.iter().map(|date| format!(r#"{{"date":"{date}","value":"#).into_bytes()).collect(),
            latest: format!(r#"}}}},"latest":{{"{TOTAL}":{{"timestamp":"{newest}","value":""#).into_bytes(),
            entry: format!(r#":{{"timestamp":"{newest}","value":"#).into_bytes(),
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
        json.extend_from_slice(br#""}"#);
        if let Some(place) = &process.place {
            self.write_place(json, place);
        } else {
            json.push(b'}');
        }
        json.push(b'}');
    }

    /// The rest of `latest`, and the links.
    fn write_place(&self, json: &mut Vec<u8>, place: &Place) {
        let id = place.container_id.map(|id| id.to_string());
        let entries = [
            (SCOPES_CONTAINER, id.as_deref()),
            (POD, Some(&*place.pod)),
            (NAMESPACE, Some(&*place.namespace)),
            (CONTAINER, place.container.as_deref()),
        ];
        for (key, value) in entries {
            let Some(value) = value else { continue };
            json.push(b',');
            write(json, &key);
            json.extend_from_slice(&self.entry);
            write(json, &value);
            json.push(b'}');
        }
        json.extend_from_slice(br#"},"parents":"#);
        write(json, &Parents { container: container_id(place).map(|id| [id]), pod: [pod_id(place)] });
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

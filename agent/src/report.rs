//! A snapshot as the report that Weave Scope's probe reads. PURE.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;

use crate::counts::requests;
use crate::snapshot::{Place, Process, REPEATED_TICKS, Snapshot};
use crate::topologies::{Topologies, Topology};

/// The plugin's id: Scope takes it from the socket's file name and wants the same one here.
pub const ID: &str = "http-requests";

/// Scope reads a report of 5 000 nodes well within the half second it grants and fails at 60 000.
/// Of more processes the busiest are reported, and the plugin's description says that some are cut.
pub const MAX_REPORTED_PROCESSES: usize = 5000;

/// What the processes of a report take at most, in bytes; with pods of ordinary names 5 000 fit. Of more the busiest
/// are reported, and the description says so.
pub const MAX_PROCESS_BYTES: usize = 6 * 1024 * 1024;

/// A kubelet runs 110 pods by default and 500 in practice. Of more containers or pods the busiest are reported, and
/// the description says so.
pub const MAX_REPORTED_SUMS: usize = 2000;

/// What ended processes received shows their container and their pod, where no counted process lives, for as many
/// ticks after the last of it, if the pod is still there. So long a node stays in Scope anyway.
pub const ENDED_SHOWN_TICKS: u32 = 15;

const LABEL: &str = "HTTP Requests";
const DESCRIPTION: &str = "Adds http request metrics to processes";
const RATE: &str = "http_requests_per_second";
const TOTAL: &str = "http_requests_total";
const POD: &str = "http_requests_pod";
const NAMESPACE: &str = "http_requests_namespace";
const CONTAINER: &str = "http_requests_container";
/// By this Scope finds a process's container where there is no Docker to ask.
const SCOPES_CONTAINER: &str = "docker_container_id";

/// What one process takes in a report at most, but for the names in it.
const BYTES_PER_PROCESS: usize = 440;
/// What its place adds at most, but for the names in it.
const BYTES_PER_PLACE: usize = 540;
/// About what a node of a sum takes; only saves reallocation.
const BYTES_PER_SUM: usize = 700;

/// What a report holds beside the snapshot's facts.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// The topologies it fills.
    pub topologies: Topologies,
    /// What Scope's users should know; it ends the plugin's description.
    pub notice: Option<&'a str>,
}

/// The report on one snapshot, as JSON.
///
/// Thousands of nodes that differ in a few numbers are put together from pieces that are the same
/// in all of them, at a quarter of what serializing each takes; the rest is serialized as usual.
///
/// `buffer` is written over: megabytes a second that are allocated and freed tear holes into the heap.
#[must_use]
pub fn render(snapshot: &Snapshot, content: Content, buffer: Vec<u8>) -> Bytes {
    let wants = |topology| content.topologies.contains(topology);
    let dates: Vec<String> = snapshot.ticks.iter().map(|tick| date(*tick)).collect();
    let processes = wants(Topology::Process).then(|| Processes::new(snapshot));
    let containers =
        wants(Topology::Container).then(|| sums(snapshot, &dates, container_node, |place| place.container_id));
    let pods = wants(Topology::Pod)
        .then(|| sums(snapshot, &dates, |place| Some(pod_node(place)), |place| Some(&place.scope_uid)));
    let host = wants(Topology::Host).then(|| host(snapshot, &dates));
    let cuts = [
        processes.as_ref().map(|processes| (processes.reported.len(), processes.cut, "")),
        containers.as_ref().map(|containers| containers.cut(" containers")),
        pods.as_ref().map(|pods| pods.cut(" pods")),
    ];
    let summed = [&containers, &pods].into_iter().flatten().map(|sums| sums.nodes.len()).sum::<usize>();
    // Rather too much: a buffer that grows moves, and what is not written costs no memory.
    let bytes = processes.as_ref().map_or(0, |processes| processes.bytes) + summed * BYTES_PER_SUM;
    let mut json = buffer;
    json.clear();
    json.reserve(4096 + bytes);
    write(&mut json, &Head { plugins: [Plugin::new(description(&cuts, content.notice))] });
    json.pop();
    if let Some(processes) = processes {
        processes.write(&mut json, snapshot, &dates);
    }
    for (topology, sums) in [(Topology::Container, containers), (Topology::Pod, pods), (Topology::Host, host)] {
        if let Some(sums) = sums {
            sums.write(&mut json, topology);
        }
    }
    json.push(b'}');
    json.into()
}

fn write(json: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(json, value).expect("strings, numbers and a growing buffer cannot fail");
}

/// The topology of processes.
struct Processes<'a> {
    /// By PID.
    reported: Vec<(u32, &'a Process)>,
    cut: usize,
    /// What they take at most.
    bytes: usize,
}

impl<'a> Processes<'a> {
    /// Live processes that the host can see, as far as the bounds allow.
    fn new(snapshot: &'a Snapshot) -> Self {
        let visible = snapshot.processes.iter().filter(|process| !process.history.is_empty());
        let mut reported: Vec<_> = visible.filter_map(|process| Some((process.identity.pid?.0, process))).collect();
        // A PID that has returned: the younger process has it, the end of the older is about to be seen.
        reported.sort_unstable_by_key(|(pid, process)| (*pid, Reverse(process.key.start_ns)));
        reported.dedup_by_key(|(pid, _)| *pid);
        let (all, host) = (reported.len(), json_length(&snapshot.host));
        let bytes = |reported: &[(u32, &Process)]| {
            reported
                .iter()
                .map(|(_, process)| process_bytes(host, process))
                .scan(0, |sum, bytes| {
                    *sum += bytes;
                    Some(*sum)
                })
                .collect::<Vec<_>>()
        };
        let mut sizes = bytes(&reported);
        if all > MAX_REPORTED_PROCESSES || sizes.last().is_some_and(|bytes| *bytes > MAX_PROCESS_BYTES) {
            reported.sort_unstable_by_key(|(pid, process)| (Reverse(process.requests()), *pid));
            sizes = bytes(&reported);
            let fit = sizes.partition_point(|bytes| *bytes <= MAX_PROCESS_BYTES).min(MAX_REPORTED_PROCESSES);
            reported.truncate(fit);
            sizes.truncate(fit);
            reported.sort_unstable_by_key(|(pid, _)| *pid);
        }
        let bytes = sizes.last().copied().unwrap_or_default();
        Self { cut: all - reported.len(), bytes, reported }
    }

    fn write(&self, json: &mut Vec<u8>, snapshot: &Snapshot, dates: &[String]) {
        let is_placed = self.reported.iter().any(|(_, process)| process.place.is_some());
        let topology = TopologyHead {
            metric_templates: RateTemplates::new(),
            metadata_templates: LatestTemplates::new(is_placed),
            nodes: NoNodes {},
        };
        write_key(json, Topology::Process);
        write(json, &topology);
        json.truncate(json.len() - NODES_END.len());
        let pieces = Pieces::new(snapshot, dates);
        for (index, (pid, process)) in self.reported.iter().enumerate() {
            if index > 0 {
                json.push(b',');
            }
            pieces.write_node(json, *pid, process);
        }
        json.extend_from_slice(NODES_END);
    }
}

/// What ends nodes and topology. The nodes of processes are written between what is serialized before and this.
const NODES_END: &[u8] = b"}}";

fn write_key(json: &mut Vec<u8>, topology: Topology) {
    json.push(b',');
    write(json, &topology.key());
    json.push(b':');
}

/// What a process takes in a report at most, on a host whose name takes `host` bytes.
fn process_bytes(host: usize, process: &Process) -> usize {
    let place = process.place.as_deref().map_or(0, |place| {
        let container = place.container.as_deref().map_or(0, json_length);
        BYTES_PER_PLACE
            + json_length(&place.scope_uid)
            + json_length(&place.pod)
            + json_length(&place.namespace)
            + container
    });
    BYTES_PER_PROCESS + 2 * host + place
}

/// What a string takes in JSON without its quotes.
fn json_length(text: &str) -> usize {
    text.bytes()
        .map(|byte| match byte {
            0..0x20 => 6,
            b'"' | b'\\' => 2,
            _ => 1,
        })
        .sum()
}

/// What is reported of something, how much of it is cut, and what it is.
type Cut<'a> = (usize, usize, &'a str);

/// Says of what is cut how much is reported and how much is not, and ends with the notice.
fn description(cuts: &[Option<Cut>], notice: Option<&str>) -> String {
    let cuts = cuts.iter().flatten().filter(|(_, cut, _)| *cut > 0);
    let said: Vec<_> =
        cuts.map(|(reported, cut, what)| format!("the busiest {reported} of {}{what}", reported + cut)).collect();
    let cut = if said.is_empty() { String::new() } else { format!(" ({})", said.join(", ")) };
    let notice = notice.map_or_else(String::new, |notice| format!("; {notice}"));
    format!("{DESCRIPTION}{cut}{notice}")
}

/// The topology of containers, of pods or of the host.
struct Sums {
    nodes: BTreeMap<String, SumNode>,
    cut: usize,
}

impl Sums {
    fn cut<'a>(&self, what: &'a str) -> Cut<'a> {
        (self.nodes.len(), self.cut, what)
    }

    /// A topology without nodes is left out.
    fn write(self, json: &mut Vec<u8>, topology: Topology) {
        if self.nodes.is_empty() {
            return;
        }
        write_key(json, topology);
        let metadata_templates = LatestTemplates::new(false);
        write(json, &SumTopology { metric_templates: RateTemplates::new(), metadata_templates, nodes: self.nodes });
    }
}

/// What processes of the same place receive and received together. Scope sums nothing itself.
struct Sum<'a> {
    place: &'a Place,
    /// The newest first.
    rates: Vec<f32>,
    requests: u64,
}

impl<'a> Sum<'a> {
    fn new(place: &'a Place) -> Self {
        Self { place, rates: Vec::new(), requests: 0 }
    }

    fn add(&mut self, newest_first: impl Iterator<Item = f32>, requests: u64) {
        for (index, rate) in newest_first.enumerate() {
            match self.rates.get_mut(index) {
                Some(sum) => *sum += rate,
                None => self.rates.push(rate),
            }
        }
        self.requests += requests;
    }

    fn node(&self, id: String, parents: Option<Parents>, dates: &[String]) -> SumNode {
        sum_node((id, parents), &self.rates, self.requests, dates)
    }
}

/// A node with these rates, the newest first.
fn sum_node((id, parents): (String, Option<Parents>), rates: &[f32], requests: u64, dates: &[String]) -> SumNode {
    let newest = rates.iter().zip(dates.iter().rev());
    let samples = newest.map(|(rate, date)| Sample { date: date.clone(), value: *rate });
    let mut samples: Vec<_> = samples.take(REPEATED_TICKS).collect();
    samples.reverse();
    let max = rates.iter().copied().fold(1.0, f32::max);
    let timestamp = dates.last().cloned().unwrap_or_default();
    SumNode {
        id,
        metrics: Metrics { rate: Metric { samples, min: 0.0, max } },
        latest: Latest { total: Entry { timestamp, value: requests.to_string() } },
        parents,
    }
}

/// The machine, with all that was ever received on it.
fn host(snapshot: &Snapshot, dates: &[String]) -> Sums {
    let id = format!("{host};<host>", host = snapshot.host);
    let rates: Vec<_> = snapshot.history.last(snapshot.now, usize::MAX).rev().collect();
    let node = sum_node((id.clone(), None), &rates, requests(&snapshot.totals), dates);
    Sums { nodes: BTreeMap::from_iter((!rates.is_empty()).then_some((id, node))), cut: 0 }
}

/// One node for each key, with the sum over processes of that key, also of those that are cut themselves.
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
        let rates = process.history.last(snapshot.now, usize::MAX).rev();
        by_key.entry(key).or_insert_with(|| Sum::new(place)).add(rates, process.requests());
    }
    let ended = || {
        let placed = snapshot.remains.iter().filter_map(|ended| Some((ended, ended.place.as_deref()?)));
        placed.filter_map(|(ended, place)| Some((ended, place, key(place)?)))
    };
    for (_, place, key) in ended().filter(|(ended, ..)| ended.remains.quiet_ticks < ENDED_SHOWN_TICKS) {
        by_key.entry(key).or_insert_with(|| Sum::new(place));
    }
    for (ended, _, key) in ended() {
        if let Some(sum) = by_key.get_mut(&key) {
            sum.add(ended.remains.rates.iter().rev().copied(), requests(&ended.remains.totals));
        }
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
struct Head {
    #[serde(rename = "Plugins")]
    plugins: [Plugin; 1],
}

#[derive(Serialize)]
struct Plugin {
    id: &'static str,
    label: &'static str,
    description: String,
    interfaces: [&'static str; 1],
    api_version: &'static str,
}

impl Plugin {
    fn new(description: String) -> Self {
        Self { id: ID, label: LABEL, description, interfaces: ["reporter"], api_version: "1" }
    }
}

#[derive(Serialize)]
struct TopologyHead {
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
    metadata_templates: LatestTemplates,
    nodes: BTreeMap<String, SumNode>,
}

#[derive(Serialize)]
struct SumNode {
    id: String,
    metrics: Metrics,
    latest: Latest,
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
struct Latest {
    #[serde(rename = "http_requests_total")]
    total: Entry,
}

#[derive(Serialize)]
struct Entry {
    timestamp: String,
    value: String,
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

impl LatestTemplates {
    fn new(is_placed: bool) -> Self {
        Self {
            total: MetadataTemplate::new(TOTAL, "HTTP Requests (total)", "number", 50.0),
            place: is_placed.then(|| PlaceTemplates {
                pod: MetadataTemplate::new(POD, "Pod", "", 51.0),
                namespace: MetadataTemplate::new(NAMESPACE, "Namespace", "", 52.0),
                container: MetadataTemplate::new(CONTAINER, "Container", "", 53.0),
            }),
        }
    }
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
    /// What histories are asked as of.
    now: u64,
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
            now: snapshot.now,
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
        write(json, &process.history.highest(self.now).max(1.0));
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
        let rates = process.history.last(self.now, REPEATED_TICKS.min(self.samples.len()));
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

//! The topology of processes. PURE.
//!
//! Thousands of nodes that differ in a few numbers are put together from pieces that are the same
//! in all of them, at a quarter of what serializing each takes; all else in a report is serialized as usual.

use std::cmp::Reverse;

use super::answers::{self, MOST_STATUSES, Scale};
use super::document::{
    CONTAINER, ERRORS, MILLISECONDS, NAMESPACE, NoNodes, POD, Parents, RATE, SCOPES_CONTAINER, STATUS, TLS, TOTAL,
    Templates, TopologyHead, rounded, write, write_key,
};
use super::extent::Extent;
use super::render::Source;
use super::sums::{container_id, pod_id};
use crate::counting::responded::Responded;
use crate::counting::snapshot::{Place, Process};
use crate::scope::topologies::Topology;

/// Scope reads a report of 5 000 nodes within the half second it grants on a machine with time for it, and never one of
/// 60 000. Of more processes the busiest are reported, and the plugin's description says that some are cut.
pub const MAX_REPORTED_PROCESSES: usize = 5000;

/// What the processes of a report take at most, in bytes; with pods of ordinary names 5 000 fit. Of more the busiest
/// are reported, and the description says so.
pub const MAX_PROCESS_BYTES: usize = 6 * 1024 * 1024;

/// What one process takes in a report at most, but for the names in it.
const BYTES_PER_PROCESS: usize = 440;
/// What its place adds at most, but for the names in it.
const BYTES_PER_PLACE: usize = 540;

/// What its responses add at most, and each further number: a row of its table of statuses, its TLS connections.
const BYTES_PER_ANSWERS: usize = 440;
const BYTES_PER_STATUS: usize = 110;

/// The topology of processes.
pub struct Processes<'a> {
    /// By PID.
    pub reported: Vec<(u32, &'a Process)>,
    pub cut: usize,
    /// What they take at most.
    pub bytes: usize,
    /// The highest rate of any of them in the last minute, also of those that are cut.
    highest: f32,
}

impl<'a> Processes<'a> {
    /// Live processes that the host can see, as far as the bounds allow.
    pub fn new(source: &Source<'a>) -> Self {
        let Source { snapshot, content, .. } = source;
        let shown = snapshot.processes.iter().filter(|process| content.shown.has(process));
        let visible = shown.filter(|process| !process.history.is_empty());
        let mut reported: Vec<_> = visible.filter_map(|process| Some((process.identity.pid?.0, process))).collect();
        // A PID that has returned: the younger process has it, the end of the older is about to be seen.
        reported.sort_unstable_by_key(|(pid, process)| (*pid, Reverse(process.key.start_ns)));
        reported.dedup_by_key(|(pid, _)| *pid);
        let highest = |process: &Process| process.history.highest(snapshot.now);
        let most = content.extent.nodes.min(MAX_REPORTED_PROCESSES);
        let (all, host) = (reported.len(), json_length(source.host));
        let mut sizes = sizes(&reported, host);
        let scale = reported.iter().map(|(_, process)| highest(process)).fold(1.0, f32::max);
        if all > most || sizes.last().is_some_and(|bytes| *bytes > MAX_PROCESS_BYTES) {
            // Rates are not negative: their bits are ordered as they are.
            reported.sort_by_cached_key(|(pid, process)| {
                (Reverse(highest(process).to_bits()), Reverse(process.requests()), *pid)
            });
            sizes = self::sizes(&reported, host);
            let fit = sizes.partition_point(|bytes| *bytes <= MAX_PROCESS_BYTES).min(most);
            reported.truncate(fit);
            sizes.truncate(fit);
            reported.sort_unstable_by_key(|(pid, _)| *pid);
        }
        let bytes = sizes.last().copied().unwrap_or_default();
        Self { cut: all - reported.len(), bytes, reported, highest: scale }
    }

    pub fn write(&self, json: &mut Vec<u8>, source: &Source) {
        let is_placed = self.reported.iter().any(|(_, process)| process.place.is_some());
        let templates = Templates::new(is_placed, source.snapshot.responded.is_some(), source.has_tls());
        let topology = TopologyHead { templates, nodes: NoNodes {} };
        write_key(json, Topology::Process);
        write(json, &topology);
        json.truncate(json.len() - NODES_END.len());
        let responded = self.reported.iter().filter_map(|(_, process)| process.responded.as_deref());
        let answers = Scale::new(source, responded);
        let pieces = Pieces::new(source, self.reported.len(), (self.highest, answers));
        for (index, (pid, process)) in self.reported.iter().enumerate() {
            if index > 0 {
                json.push(b',');
            }
            pieces.write_node(json, *pid, process);
        }
        json.extend_from_slice(NODES_END);
    }
}

/// What the first so many of these take at most, on a host whose name takes `host` bytes.
fn sizes(processes: &[(u32, &Process)], host: usize) -> Vec<usize> {
    let sizes = processes.iter().map(|(_, process)| process_bytes(host, process));
    sizes
        .scan(0, |sum, bytes| {
            *sum += bytes;
            Some(*sum)
        })
        .collect()
}

/// What ends nodes and topology. The nodes of processes are written between what is serialized before and this.
const NODES_END: &[u8] = b"}}";

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
    let answers = process
        .responded
        .as_ref()
        .map_or(0, |responded| BYTES_PER_ANSWERS + BYTES_PER_STATUS * responded.statuses.len().min(MOST_STATUSES + 1));
    let tls = if process.totals.tls_connections > 0 { BYTES_PER_STATUS } else { 0 };
    BYTES_PER_PROCESS + 2 * host + place + answers + tls
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

/// Without a maximum Scope's canvas draws nothing.
fn scale(max: f32) -> Vec<u8> {
    format!(r#"],"min":0.0,"max":{max:?}}}"#).into_bytes()
}

/// What all nodes of one report share, as JSON.
struct Pieces {
    /// The quoted host without its last quote.
    host: Vec<u8>,
    /// From behind the id up to the samples.
    metric: Vec<u8>,
    /// `{"date":"...","value":` of each tick, the newest last.
    samples: Vec<Vec<u8>>,
    /// From behind the samples up to the metric's end: the scale.
    scale: Vec<u8>,
    /// From behind a metric to the samples of errors, their scale, the sample of durations, and theirs.
    answers: [Vec<u8>; 4],
    /// From behind the metric up to the total.
    latest: Vec<u8>,
    /// From behind the key of a further entry up to its value.
    entry: Vec<u8>,
    /// What histories are asked as of.
    now: u64,
    extent: Extent,
    /// How many processes are reported.
    processes: usize,
}

impl Pieces {
    fn new(source: &Source, processes: usize, (highest, answers): (f32, Scale)) -> Self {
        let mut host = Vec::new();
        write(&mut host, &source.host);
        host.pop();
        let dates = &source.dates;
        let newest = dates.last().map_or("", String::as_str);
        Self {
            host,
            metric: format!(r#","metrics":{{"{RATE}":{{"samples":["#).into_bytes(),
            samples: dates.iter().map(|date| format!(r#"{{"date":"{date}","value":"#).into_bytes()).collect(),
            scale: scale(rounded(highest)),
            answers: [
                format!(r#","{ERRORS}":{{"samples":["#).into_bytes(),
                scale(answers.errors),
                format!(r#","{MILLISECONDS}":{{"samples":[{{"date":"{newest}","value":"#).into_bytes(),
                [b"}", &*scale(answers.milliseconds)].concat(),
            ],
            latest: format!(r#","latest":{{"{TOTAL}":{{"timestamp":"{newest}","value":""#).into_bytes(),
            entry: format!(r#":{{"timestamp":"{newest}","value":"#).into_bytes(),
            now: source.snapshot.now,
            extent: source.content.extent,
            processes,
        }
    }

    fn write_node(&self, json: &mut Vec<u8>, pid: u32, process: &Process) {
        self.write_id(json, pid);
        json.extend_from_slice(br#":{"id":"#);
        self.write_id(json, pid);
        json.extend_from_slice(&self.metric);
        self.write_samples(json, process.history.last(self.now, self.samples.len()));
        json.extend_from_slice(&self.scale);
        let responded = process.responded.as_deref().filter(|_| self.extent.answers(pid, self.processes));
        responded.into_iter().for_each(|responded| self.write_answers(json, responded));
        json.push(b'}');
        if self.extent.details(pid, self.processes) {
            json.extend_from_slice(&self.latest);
            write(json, &process.requests());
            json.extend_from_slice(br#""}"#);
            if process.totals.tls_connections > 0 {
                self.write_number(json, TLS, process.totals.tls_connections);
            }
            for (status, count) in responded.iter().flat_map(|responded| answers::statuses(responded)) {
                self.write_number(json, &format!("{STATUS}{status}"), count);
            }
            match &process.place {
                Some(place) => self.write_place(json, place),
                None => json.push(b'}'),
            }
        }
        json.push(b'}');
    }

    /// An entry of `latest`.
    fn write_number(&self, json: &mut Vec<u8>, key: &str, number: u64) {
        json.extend_from_slice(format!(r#","{key}""#).as_bytes());
        json.extend_from_slice(&self.entry);
        json.extend_from_slice(format!(r#""{number}"}}"#).as_bytes());
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

    /// Errors at each tick, and the percentile of the last one.
    fn write_answers(&self, json: &mut Vec<u8>, responded: &Responded) {
        let [errors, errors_end, milliseconds, milliseconds_end] = &self.answers;
        json.extend_from_slice(errors);
        let rates: Vec<_> = answers::errors(responded, self.now, self.samples.len()).collect();
        self.write_samples(json, rates.into_iter());
        json.extend_from_slice(errors_end);
        if let Some(value) = answers::milliseconds(responded, self.now) {
            json.extend_from_slice(milliseconds);
            write(json, &value);
            json.extend_from_slice(milliseconds_end);
        }
    }

    fn write_samples(&self, json: &mut Vec<u8>, rates: impl ExactSizeIterator<Item = f32>) {
        let samples = &self.samples[self.samples.len() - rates.len()..];
        for (index, (sample, rate)) in samples.iter().zip(rates).enumerate() {
            if index > 0 {
                json.push(b',');
            }
            json.extend_from_slice(sample);
            write(json, &rounded(rate));
            json.push(b'}');
        }
    }
}

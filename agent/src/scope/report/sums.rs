//! The topologies of containers, pods and the host: sums over processes. PURE.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use super::document::{
    Entry, Latest, LatestTemplates, Metric, Metrics, Parents, RateTemplates, Sample, SumNode, SumTopology, write,
    write_key,
};
use crate::counting::counts::requests;
use crate::counting::snapshot::{Place, REPEATED_TICKS, Snapshot};
use crate::scope::topologies::Topology;

/// What is reported of something, how much of it is cut, and what it is.
pub type Cut<'a> = (usize, usize, &'a str);

/// A kubelet runs 110 pods by default and 500 in practice. Of more containers or pods the busiest are reported, and
/// the description says so.
pub const MAX_REPORTED_SUMS: usize = 2000;

/// What ended processes received shows their container and their pod, where no counted process lives, for as many
/// ticks after the last of it, if the pod is still there. So long a node stays in Scope anyway.
pub const ENDED_SHOWN_TICKS: u32 = 15;

/// About what a node of a sum takes; only saves reallocation.
pub const BYTES_PER_SUM: usize = 700;

/// The topology of containers, of pods or of the host.
pub struct Sums {
    pub nodes: BTreeMap<String, SumNode>,
    cut: usize,
}

impl Sums {
    pub fn cut<'a>(&self, what: &'a str) -> Cut<'a> {
        (self.nodes.len(), self.cut, what)
    }

    /// A topology without nodes is left out.
    pub fn write(self, json: &mut Vec<u8>, topology: Topology) {
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
pub fn host(snapshot: &Snapshot, dates: &[String]) -> Sums {
    let id = format!("{host};<host>", host = snapshot.host);
    let rates: Vec<_> = snapshot.history.last(snapshot.now, usize::MAX).rev().collect();
    let node = sum_node((id.clone(), None), &rates, requests(&snapshot.totals), dates);
    Sums { nodes: BTreeMap::from_iter((!rates.is_empty()).then_some((id, node))), cut: 0 }
}

/// One node for each key, with the sum over processes of that key, also of those that are cut themselves.
pub fn sums<'a, K: Hash + Eq>(
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
        let there = snapshot.remains.iter().filter(|ended| ended.is_there);
        let placed = there.filter_map(|ended| Some((ended, ended.place.as_deref()?)));
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

pub fn pod_node(place: &Place) -> (String, Option<Parents>) {
    (pod_id(place), None)
}

pub fn container_node(place: &Place) -> Option<(String, Option<Parents>)> {
    Some((container_id(place)?, Some(Parents { container: None, pod: [pod_id(place)] })))
}

pub fn pod_id(place: &Place) -> String {
    format!("{};<pod>", place.scope_uid)
}

pub fn container_id(place: &Place) -> Option<String> {
    Some(format!("{};<container>", place.container_id?))
}

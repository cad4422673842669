//! The topologies of containers, pods and the host: sums over processes. PURE.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use super::document::{
    Entry, Latest, LatestTemplates, Metric, Metrics, Parents, RateTemplates, SCOPES_CONTAINER_NAME, SCOPES_NAMESPACE,
    SCOPES_POD_NAME, Sample, SumNode, SumTopology, rounded, write, write_key,
};
use super::render::Source;
use crate::counting::counts::requests;
use crate::counting::history::add_newest_first;
use crate::counting::snapshot::Place;
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
pub const BYTES_PER_SUM: usize = 900;

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

/// Which node a sum is.
pub struct Node {
    id: String,
    parents: Option<Parents>,
    /// What Scope calls it by, where its own reporters do not know it.
    names: Vec<(&'static str, String)>,
}

/// What processes of the same place receive and received together. Scope sums nothing itself.
#[derive(Default)]
struct Sum<'a> {
    place: Option<&'a Place>,
    /// The newest first.
    rates: Vec<f32>,
    requests: u64,
}

impl<'a> Sum<'a> {
    fn new(place: &'a Place) -> Self {
        Self { place: Some(place), ..Self::default() }
    }

    fn add(&mut self, newest_first: impl Iterator<Item = f32>, requests: u64) {
        add_newest_first(&mut self.rates, newest_first);
        self.requests += requests;
    }

    /// The highest rate of the last minute.
    fn highest(&self) -> f32 {
        self.rates.iter().copied().fold(0.0, f32::max)
    }

    /// On a scale that ends at `highest`.
    fn node(&self, Node { id, parents, names }: Node, dates: &[String], highest: f32) -> SumNode {
        let newest = self.rates.iter().zip(dates.iter().rev());
        let samples = newest.map(|(rate, date)| Sample { date: date.clone(), value: rounded(*rate) });
        let mut samples: Vec<_> = samples.collect();
        samples.reverse();
        let entry = |value| Entry { timestamp: dates.last().cloned().unwrap_or_default(), value };
        SumNode {
            id,
            metrics: Metrics { rate: Metric { samples, min: 0.0, max: rounded(highest) } },
            latest: Latest {
                total: entry(self.requests.to_string()),
                names: names.into_iter().map(|(key, name)| (key, entry(name))).collect(),
            },
            parents,
        }
    }
}

/// The machine, with all that was ever received on it.
pub fn host(source: &Source) -> Sums {
    let Source { snapshot, .. } = source;
    let node = Node { id: format!("{host};<host>", host = source.host), parents: None, names: Vec::new() };
    let rates: Vec<_> = snapshot.history.last(snapshot.now, usize::MAX).rev().collect();
    let sum = Sum { place: None, rates, requests: requests(&snapshot.totals) };
    let nodes =
        (!sum.rates.is_empty()).then(|| (node.id.clone(), sum.node(node, &source.dates, sum.highest().max(1.0))));
    Sums { nodes: nodes.into_iter().collect(), cut: 0 }
}

/// One node for each key, with the sum over processes of that key, also of those that are cut themselves.
pub fn sums<'a, K: Hash + Eq>(
    source: &Source<'a>,
    node: impl Fn(&Place) -> Option<Node>,
    key: impl Fn(&'a Place) -> Option<K>,
) -> Sums {
    let snapshot = source.snapshot;
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
    let mut sums: Vec<_> = by_key.into_values().filter_map(|sum| Some((node(sum.place?)?, sum))).collect();
    let highest = sums.iter().map(|(_, sum)| sum.highest()).fold(1.0, f32::max);
    let most = source.content.extent.nodes.min(MAX_REPORTED_SUMS);
    let cut = sums.len().saturating_sub(most);
    if cut > 0 {
        // Rates are not negative: their bits are ordered as they are.
        sums.sort_by_cached_key(|(node, sum)| {
            (Reverse(sum.highest().to_bits()), Reverse(sum.requests), node.id.clone())
        });
        sums.truncate(most);
    }
    let nodes = sums.into_iter().map(|(node, sum)| (node.id.clone(), sum.node(node, &source.dates, highest)));
    Sums { nodes: nodes.collect(), cut }
}

pub fn pod_node(place: &Place) -> Node {
    let names = [(SCOPES_POD_NAME, &place.pod), (SCOPES_NAMESPACE, &place.namespace)];
    let names = names.map(|(key, name)| (key, name.to_string()));
    Node { id: pod_id(place), parents: None, names: names.into() }
}

pub fn container_node(place: &Place) -> Option<Node> {
    let parents = Some(Parents { container: None, pod: [pod_id(place)] });
    let name = place.container.as_ref().map(|name| (SCOPES_CONTAINER_NAME, name.to_string()));
    Some(Node { id: container_id(place)?, parents, names: name.into_iter().collect() })
}

pub fn pod_id(place: &Place) -> String {
    format!("{};<pod>", place.scope_uid)
}

pub fn container_id(place: &Place) -> Option<String> {
    Some(format!("{};<container>", place.container_id?))
}

//! The topologies of containers, pods and the host: sums over processes. PURE.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use common::maps::Counts;

use super::answers::{self, Scale};
use super::document::{
    Entry, Latest, Metric, Metrics, Parents, SCOPES_CONTAINER_NAME, SCOPES_NAMESPACE, SCOPES_POD_NAME, STATUS, Sample,
    SumNode, SumTopology, TLS, Templates, rounded, write, write_key,
};
use super::render::Source;
use crate::counting::counts::{add, requests};
use crate::counting::history::add_newest_first;
use crate::counting::responded::Responded;
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
pub const BYTES_PER_SUM: usize = 2_000;

/// The topology of containers, of pods or of the host.
pub struct Sums {
    pub nodes: BTreeMap<String, SumNode>,
    cut: usize,
    /// Whether responses are counted, and whether there was a TLS connection.
    answers: bool,
    tls: bool,
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
        write(json, &SumTopology { templates: Templates::new(false, self.answers, self.tls), nodes: self.nodes });
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
    totals: Counts,
    responded: Option<Responded>,
}

impl<'a> Sum<'a> {
    fn new(place: &'a Place) -> Self {
        Self { place: Some(place), ..Self::default() }
    }

    fn add(&mut self, newest_first: impl Iterator<Item = f32>, totals: &Counts) {
        add_newest_first(&mut self.rates, newest_first);
        add(&mut self.totals, totals);
    }

    fn answer(&mut self, responded: Option<&Responded>) {
        if let Some(responded) = responded {
            self.responded.get_or_insert_default().add(responded);
        }
    }

    /// The highest rate of the last minute.
    fn highest(&self) -> f32 {
        self.rates.iter().copied().fold(0.0, f32::max)
    }

    /// On a scale that ends at `highest`.
    fn node(&self, Node { id, parents, names }: Node, source: &Source, (highest, scale): (f32, Scale)) -> SumNode {
        let dates = &source.dates;
        let newest = self.rates.iter().zip(dates.iter().rev());
        let samples = newest.map(|(rate, date)| Sample { date: date.clone(), value: rounded(*rate) });
        let mut samples: Vec<_> = samples.collect();
        samples.reverse();
        let entry = |value| Entry { timestamp: dates.last().cloned().unwrap_or_default(), value };
        let responded = self.responded.as_ref();
        let [errors, milliseconds] =
            responded.map_or([None, None], |responded| answers::metrics(responded, source, scale));
        let statuses = responded.into_iter().flat_map(answers::statuses);
        let statuses = statuses.map(|(status, count)| (format!("{STATUS}{status}").into(), entry(count.to_string())));
        let tls = Some(self.totals.tls_connections).filter(|connections| *connections > 0);
        let tls = tls.map(|connections| (TLS.into(), entry(connections.to_string())));
        SumNode {
            id,
            metrics: Metrics { rate: Metric { samples, min: 0.0, max: rounded(highest) }, errors, milliseconds },
            latest: Latest {
                total: entry(requests(&self.totals).to_string()),
                others: names
                    .into_iter()
                    .map(|(key, name)| (key.into(), entry(name)))
                    .chain(tls)
                    .chain(statuses)
                    .collect(),
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
    let responded = snapshot.responded.as_deref().cloned();
    let answers = responded.is_some();
    let sum = Sum { place: None, rates, totals: snapshot.totals, responded };
    let scale = (sum.highest().max(1.0), Scale::new(source, sum.responded.iter()));
    let nodes = (!sum.rates.is_empty()).then(|| (node.id.clone(), sum.node(node, source, scale)));
    Sums { nodes: nodes.into_iter().collect(), cut: 0, answers, tls: source.has_tls() }
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
        let sum = by_key.entry(key).or_insert_with(|| Sum::new(place));
        sum.add(rates, &process.totals);
        sum.answer(process.responded.as_deref());
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
            sum.add(ended.remains.rates.iter().rev().copied(), &ended.remains.totals);
            sum.answer(ended.remains.responded.as_deref());
        }
    }
    let mut sums: Vec<_> = by_key.into_values().filter_map(|sum| Some((node(sum.place?)?, sum))).collect();
    let highest = sums.iter().map(|(_, sum)| sum.highest()).fold(1.0, f32::max);
    let answers = Scale::new(source, sums.iter().filter_map(|(_, sum)| sum.responded.as_ref()));
    let most = source.content.extent.nodes.min(MAX_REPORTED_SUMS);
    let cut = sums.len().saturating_sub(most);
    if cut > 0 {
        // Rates are not negative: their bits are ordered as they are.
        sums.sort_by_cached_key(|(node, sum)| {
            (Reverse(sum.highest().to_bits()), Reverse(requests(&sum.totals)), node.id.clone())
        });
        sums.truncate(most);
    }
    let nodes = sums.into_iter().map(|(node, sum)| (node.id.clone(), sum.node(node, source, (highest, answers))));
    Sums { nodes: nodes.collect(), cut, answers: snapshot.responded.is_some(), tls: source.has_tls() }
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

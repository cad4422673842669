//! A snapshot as the report that Weave Scope's probe reads. PURE.

use bytes::Bytes;
use jiff::Timestamp;

use super::document::{DESCRIPTION, Head, Plugin, write};
use super::extent::Extent;
use super::processes::Processes;
use super::sums::{BYTES_PER_SUM, Cut, container_node, host, pod_node, sums};
use crate::counting::shown::Shown;
use crate::counting::snapshot::Snapshot;
use crate::counting::summary;
use crate::scope::topologies::{Topologies, Topology};

/// What a report holds beside the snapshot's facts.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// The topologies it fills.
    pub topologies: Topologies,
    /// Of which processes there is a node.
    pub shown: Shown,
    /// How much of it there is.
    pub extent: Extent,
    /// The machine as the reader calls it, if that is not what the snapshot does.
    pub host: Option<&'a str>,
    /// What Scope's users should know; it ends the plugin's description.
    pub notice: Option<&'a str>,
}

impl Content<'_> {
    /// Everything, and nothing to say about it.
    pub const WHOLE: Self =
        Self { topologies: Topologies::ALL, shown: Shown::All, extent: Extent::WHOLE, host: None, notice: None };
}

/// What one report is made of.
pub struct Source<'a> {
    pub snapshot: &'a Snapshot,
    pub content: Content<'a>,
    pub host: &'a str,
    /// Of the ticks in it, ascending.
    pub dates: Vec<String>,
}

impl<'a> Source<'a> {
    pub fn new(snapshot: &'a Snapshot, content: Content<'a>) -> Self {
        let older = snapshot.ticks.len().saturating_sub(content.extent.ticks);
        let dates = snapshot.ticks.iter().skip(older).map(|tick| date(*tick)).collect();
        Self { snapshot, content, host: content.host.unwrap_or(&snapshot.host), dates }
    }

    /// Whether there was a TLS connection.
    pub fn has_tls(&self) -> bool {
        self.snapshot.totals.tls_connections > 0
    }
}

/// A report as JSON, with how many nodes it has and how many found no room.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The report.
    pub json: Bytes,
    /// Nodes of the topology that has most of them.
    pub nodes: usize,
    /// Nodes of all topologies that are left out.
    pub left_out: usize,
}

/// The report on one snapshot.
///
/// `buffer` is written over: megabytes a second that are allocated and freed tear holes into the heap.
#[must_use]
pub fn render(snapshot: &Snapshot, content: Content, buffer: Vec<u8>) -> Rendered {
    let wants = |topology| content.topologies.contains(topology);
    let source = Source::new(snapshot, content);
    let processes = wants(Topology::Process).then(|| Processes::new(&source));
    let containers = wants(Topology::Container).then(|| sums(&source, container_node, |place| place.container_id));
    let pods =
        wants(Topology::Pod).then(|| sums(&source, |place| Some(pod_node(place)), |place| Some(&place.scope_uid)));
    let host = wants(Topology::Host).then(|| host(&source));
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
    write(&mut json, &Head { plugins: [Plugin::new(description(&cuts, snapshot, &content))] });
    json.pop();
    if let Some(processes) = processes {
        processes.write(&mut json, &source);
    }
    for (topology, sums) in [(Topology::Container, containers), (Topology::Pod, pods), (Topology::Host, host)] {
        if let Some(sums) = sums {
            sums.write(&mut json, topology);
        }
    }
    json.push(b'}');
    let cuts = cuts.iter().flatten();
    let nodes = cuts.clone().map(|(reported, ..)| *reported).max().unwrap_or_default();
    Rendered { json: json.into(), nodes, left_out: cuts.map(|(_, cut, _)| cut).sum() }
}

/// Says of what is cut how much is reported and how much is not, what is not counted, and ends with the notice.
fn description(cuts: &[Option<Cut>], snapshot: &Snapshot, content: &Content) -> String {
    let cuts = cuts.iter().flatten().filter(|(_, cut, _)| *cut > 0);
    let said: Vec<_> =
        cuts.map(|(reported, cut, what)| format!("the busiest {reported} of {}{what}", reported + cut)).collect();
    let cause = if content.extent.nodes < Extent::WHOLE.nodes { ": Scope had no time for more" } else { "" };
    let cut = if said.is_empty() { String::new() } else { format!(" ({}{cause})", said.join(", ")) };
    let notice = content.notice.map_or_else(String::new, |notice| format!("; {notice}"));
    let tls = summary::tls(snapshot);
    let tls = if tls.is_empty() { tls } else { format!("; {tls}") };
    format!("{DESCRIPTION}{cut}{tls}{notice}")
}

/// RFC 3339 with nanoseconds and a zone, which Scope insists on.
fn date(at: Timestamp) -> String {
    format!("{at:.9}")
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;

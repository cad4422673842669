//! A snapshot as the report that Weave Scope's probe reads. PURE.

use bytes::Bytes;
use jiff::Timestamp;

use super::document::{DESCRIPTION, Head, Plugin, write};
use super::processes::Processes;
use super::sums::{BYTES_PER_SUM, Cut, container_node, host, pod_node, sums};
use crate::counting::snapshot::Snapshot;
use crate::scope::topologies::{Topologies, Topology};

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

/// Says of what is cut how much is reported and how much is not, and ends with the notice.
fn description(cuts: &[Option<Cut>], notice: Option<&str>) -> String {
    let cuts = cuts.iter().flatten().filter(|(_, cut, _)| *cut > 0);
    let said: Vec<_> =
        cuts.map(|(reported, cut, what)| format!("the busiest {reported} of {}{what}", reported + cut)).collect();
    let cut = if said.is_empty() { String::new() } else { format!(" ({})", said.join(", ")) };
    let notice = notice.map_or_else(String::new, |notice| format!("; {notice}"));
    format!("{DESCRIPTION}{cut}{notice}")
}

/// RFC 3339 with nanoseconds and a zone, which Scope insists on.
fn date(at: Timestamp) -> String {
    format!("{at:.9}")
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;

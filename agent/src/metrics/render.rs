//! The metrics as text, from the last snapshot and from what the agent notes of itself. PURE.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use common::failure::Failure;
use common::maps::{Counts, Version};
use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabel as _, EncodeLabelSet, EncodeMetric as _,
    LabelSetEncoder, MetricEncoder, NoLabelSet, prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::catalog::{self, Kind, Metric};
use super::format::Format;
use super::instruments::Instruments;
use super::labels::{Labels, OTHER};
use super::tally::{MAX_SERIES, Totals};
use crate::counting::counts::requests;
use crate::counting::plaintext::Reading;
use crate::counting::rates::Located;
use crate::counting::responses::Counted;
use crate::counting::snapshot::Snapshot;
use crate::counting::summary;

/// What does not change while the agent runs.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The Kubernetes node, if it is one.
    pub node: Option<String>,
    /// The kernel's release.
    pub kernel: String,
    /// How the probe reads.
    pub probe: String,
    /// When the agent began to count.
    pub started: Timestamp,
    /// Whether responses are counted.
    pub counted: Counted,
    /// How many processes can be counted at a time.
    pub max_processes: u32,
    /// What counts started from, and what they may have.
    pub started_from: (&'static str, &'static [&'static str]),
    /// How many agents have handed over since the first.
    pub handovers: u64,
}

/// What one tick brought, all of the same moment.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The state after it.
    pub snapshot: Arc<Snapshot>,
    /// Requests by pod and container.
    pub totals: Arc<Totals>,
    /// Pods that are known.
    pub pods: usize,
    /// Pods that found no room.
    pub refused_pods: u64,
}

/// Everything that a scrape shows.
#[derive(Clone, Debug)]
pub struct Scrape {
    /// What does not change.
    pub facts: Arc<Facts>,
    /// The last tick.
    pub observed: Arc<Observed>,
    /// What the parts note of themselves.
    pub instruments: Instruments,
    /// How the watch on pods stands, and how it may.
    pub api_server: (&'static str, &'static [&'static str]),
}

impl Scrape {
    /// The metrics as text.
    #[must_use]
    pub fn render(self, format: Format) -> String {
        let node = self.facts.node.clone().map(|node| (Cow::from("k8s_node_name"), Cow::from(node)));
        let mut registry = Registry::with_labels(node.into_iter());
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        let written = match format {
            Format::OpenMetrics => text::encode(&mut text, &registry),
            Format::Prometheus => prometheus_text::encode(&mut text, &registry),
        };
        written.expect("writing into a string does not fail");
        text
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        self.requests(&mut out)?;
        self.responses(&mut out)?;
        self.agent(&mut out)?;
        self.certainty(&mut out)?;
        self.bounds(&mut out)?;
        self.costs(&mut out)?;
        self.pods(&mut out)?;
        self.scope(&mut out)
    }
}

impl Scrape {
    fn requests(&self, out: &mut Out<'_>) -> fmt::Result {
        let totals = &self.observed.totals;
        let other = Labels { namespace: OTHER.into(), ..Labels::default() };
        let series = totals.requests.series.iter().map(|(labels, series)| (&**labels, &series.counts));
        let mut series: Vec<_> = series.collect();
        series.sort_unstable_by_key(|(labels, _)| *labels);
        series.push((&other, &totals.requests.other));
        let lines = series.iter().flat_map(|(labels, counts)| {
            counted(counts).map(move |(version, count)| (Line { labels, version: version.name() }, count))
        });
        out.counters(&catalog::REQUESTS, lines)?;
        out.counters(&catalog::NODE, by_version(&self.observed.snapshot.totals))?;
        out.counters(&catalog::RETIRED, by_version(&totals.requests.retired))?;
        out.gauge(&catalog::WAITING, requests(&totals.waiting))?;
        let mut tls = |metric: &'static Metric, of_node: &'static Metric, count: fn(&Counts) -> u64| {
            let some = series.iter().filter(|(_, counts)| count(counts) > 0);
            let lines = some.map(|(labels, counts)| (Line { labels, version: "" }, count(counts)));
            out.counters(metric, lines)?;
            out.counter(of_node, count(&self.observed.snapshot.totals))
        };
        tls(&catalog::TLS, &catalog::NODE_TLS, |counts| counts.tls_connections)?;
        tls(&catalog::TLS_SESSIONS, &catalog::NODE_TLS_SESSIONS, |counts| counts.tls_sessions)?;
        self.plaintext(out)
    }

    fn plaintext(&self, out: &mut Out<'_>) -> fmt::Result {
        let plain = &*self.observed.snapshot.plain;
        out.gauge(&catalog::TLS_READ, plain.read)?;
        let unread = plain.unread.iter().map(|(reason, processes)| ([("reason", *reason)], *processes));
        out.gauges(&catalog::TLS_UNREAD, unread)?;
        let current = plain.reading.name();
        let states = Reading::NAMES.iter().map(|state| ([("state", *state)], u32::from(*state == current)));
        out.gauges(&catalog::TLS_STATE, states)
    }

    fn agent(&self, out: &mut Out<'_>) -> fmt::Result {
        let Facts { kernel, probe, started, started_from: (current, origins), .. } = &*self.facts;
        let build = [("version", env!("CARGO_PKG_VERSION")), ("kernel_release", kernel), ("probe", probe)];
        out.family(&catalog::BUILD)?.encode_info(&build)?;
        out.gauge(&catalog::STARTED, seconds(*started))?;
        out.counter(&catalog::HANDOVERS, self.facts.handovers)?;
        let origins = origins.iter().map(|origin| ([("origin", *origin)], u32::from(origin == current)));
        out.gauges(&catalog::STARTED_FROM, origins)?;
        out.gauge(&catalog::TICKED, self.observed.snapshot.at().map_or(0.0, seconds))
    }

    fn certainty(&self, out: &mut Out<'_>) -> fmt::Result {
        let snapshot = &*self.observed.snapshot;
        let losses = &snapshot.losses;
        let causes = Failure::ALL.iter().filter(|cause| **cause != Failure::Joined);
        let causes = causes.map(|cause| (cause.name(), losses.failures[*cause as usize]));
        let causes = causes.chain([("skipped_calls", losses.skipped_calls)]);
        out.counters(&catalog::LOSSES, causes.map(|(cause, count)| ([("cause", cause)], count)))?;
        out.counter(&catalog::JOINED, summary::joined(losses))?;
        out.counter(&catalog::UNSYNCED, snapshot.totals.unsynced)?;
        out.counter(&catalog::RESYNCED, losses.resynced)?;
        out.counter(&catalog::FAILED_READS, losses.failed_reads)?;
        out.counter(&catalog::UNREADABLE, losses.unreadable_processes)
    }

    fn bounds(&self, out: &mut Out<'_>) -> fmt::Result {
        let Observed { snapshot, totals, .. } = &*self.observed;
        out.gauge(&catalog::PROCESSES, snapshot.processes.len())?;
        out.counter(&catalog::ENDED, snapshot.ended.processes)?;
        out.gauge(&catalog::SLOTS_USED, snapshot.slots_used)?;
        out.gauge(&catalog::SLOTS, self.facts.max_processes)?;
        out.counter(&catalog::GIVEN_UP, snapshot.given_up)?;
        out.gauge(&catalog::SERIES, totals.requests.series.len())?;
        out.gauge(&catalog::SERIES_MAX, MAX_SERIES)?;
        out.counter(&catalog::SERIES_RETIRED, totals.requests.retired_series)
    }

    fn costs(&self, out: &mut Out<'_>) -> fmt::Result {
        out.histogram(&catalog::TICK, &self.instruments.ticks)?;
        let program = self.observed.snapshot.program;
        // Numbers that stand still would say that the program does not run.
        if program.calls > 0 {
            out.counter(&catalog::RUNS, program.calls)?;
            out.counter(&catalog::RUN_TIME, program.time.as_secs_f64())?;
        }
        Ok(())
    }

    fn pods(&self, out: &mut Out<'_>) -> fmt::Result {
        let lookups = self.observed.totals.lookups;
        let Located { found, awaited, unknown, outside } = lookups;
        let outcomes = [("found", found), ("awaited", awaited), ("unknown", unknown), ("outside", outside)];
        out.counters(&catalog::LOOKUPS, outcomes.map(|(outcome, count)| ([("outcome", outcome)], count)))?;
        out.gauge(&catalog::PODS, self.observed.pods)?;
        out.counter(&catalog::PODS_REFUSED, self.observed.refused_pods)?;
        let (current, states) = self.api_server;
        out.gauges(&catalog::API_SERVER, states.iter().map(|state| ([("state", *state)], u32::from(*state == current))))
    }

    fn scope(&self, out: &mut Out<'_>) -> fmt::Result {
        out.histogram(&catalog::REPORT_TIME, &self.instruments.reports)?;
        out.gauge(&catalog::REPORT_BYTES, self.instruments.report_bytes.get())?;
        out.gauge(&catalog::LEFT_OUT, self.instruments.left_out.get())?;
        out.counter(&catalog::POLLS, self.instruments.scope_polls.get())?;
        out.counter(&catalog::HANGUPS, self.instruments.scope_hangups.get())?;
        out.counter(&catalog::SCRAPES, self.instruments.scrapes.get())
    }
}

/// The labels of one line of requests, or of TLS connections, which have no version; those that are unknown are left out.
struct Line<'a> {
    labels: &'a Labels,
    version: &'static str,
}

impl EncodeLabelSet for Line<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let Labels { namespace, pod, container, pid, command } = self.labels;
        let values: [&str; 6] = [namespace, pod, container, self.version, pid, command];
        let labels = catalog::REQUESTS.labels.iter().zip(values).filter(|(_, value)| !value.is_empty());
        labels.into_iter().try_for_each(|(name, value)| (*name, value).encode(encoder.encode_label()))
    }
}

/// The versions of which there was a request.
fn counted(counts: &Counts) -> impl Iterator<Item = (Version, u64)> {
    Version::ALL.into_iter().zip(counts.requests).filter(|(_, count)| *count > 0)
}

fn by_version(counts: &Counts) -> impl Iterator<Item = ([(&'static str, &'static str); 1], u64)> {
    let versions = Version::ALL.into_iter().zip(counts.requests);
    versions.map(|(version, count)| ([("network_protocol_version", version.name())], count))
}

fn seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

/// Writes one metric after another.
struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn family(&mut self, metric: &'static Metric) -> Result<MetricEncoder<'_>, fmt::Error> {
        let kind = match metric.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
            Kind::Info => MetricType::Info,
        };
        self.0.encode_descriptor(metric.family, metric.help, None, kind)
    }

    fn counter(&mut self, metric: &'static Metric, value: impl EncodeCounterValue) -> fmt::Result {
        self.family(metric)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn counters<L: EncodeLabelSet>(
        &mut self,
        metric: &'static Metric,
        lines: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = self.family(metric)?;
        lines.into_iter().try_for_each(|(labels, value)| {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
        })
    }

    fn gauge(&mut self, metric: &'static Metric, value: impl EncodeGaugeValue) -> fmt::Result {
        self.family(metric)?.encode_gauge(&value)
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        metric: &'static Metric,
        lines: impl IntoIterator<Item = (L, u32)>,
    ) -> fmt::Result {
        let mut family = self.family(metric)?;
        lines.into_iter().try_for_each(|(labels, value)| family.encode_family(&labels)?.encode_gauge(&value))
    }

    fn histogram(&mut self, metric: &'static Metric, histogram: &Histogram) -> fmt::Result {
        histogram.encode(self.family(metric)?)
    }
}

#[path = "render_responses.rs"]
mod responses;

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;

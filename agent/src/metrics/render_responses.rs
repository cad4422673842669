//! The part of the text that is about responses. PURE.

use std::fmt;
use std::sync::Arc;

use common::duration::BOUNDS_NS;
use common::exchange::Untold;
use prometheus_client::encoding::{EncodeLabel as _, EncodeLabelSet, LabelSetEncoder, NoLabelSet};

use super::{Out, Scrape, catalog};
use crate::counting::counts::requests;
use crate::counting::responses::{Counted, Durations, count};
use crate::metrics::labels::{Labels, OTHER, ResponseLabels};
use crate::metrics::tally::MAX_RESPONSE_SERIES;

impl Scrape {
    pub(super) fn responses(&self, out: &mut Out<'_>) -> fmt::Result {
        let states = Counted::NAMES.map(|name| ([("state", name)], u32::from(name == self.facts.counted.name())));
        out.gauges(&catalog::RESPONSES_STATE, states)?;
        let snapshot = &self.observed.snapshot;
        // Zeros would say that nothing was answered.
        let Some(responded) = &snapshot.responded else { return Ok(()) };
        let totals = &self.observed.totals;
        let (responses, other) = (&totals.responses, Labels { namespace: OTHER.into(), ..Labels::default() });
        let other = ResponseLabels { labels: Arc::new(other), method: "", status: 0, version: "" };
        let mut series: Vec<_> = responses.series.iter().map(|(labels, series)| (&**labels, &series.counts)).collect();
        series.sort_unstable_by_key(|(labels, _)| *labels);
        if count(&responses.other) > 0 {
            series.push((&other, &responses.other));
        }
        let mut family = out.family(&catalog::DURATION)?;
        for (labels, series) in &series {
            let known: u64 = series.buckets.iter().sum();
            if known > 0 {
                let seconds = series.sum_ns as f64 / 1e9;
                let histogram = &mut family.encode_family(*labels)?;
                histogram.encode_histogram::<NoLabelSet>(seconds, known, &buckets(series), None)?;
            }
        }
        let unknown = series.iter().filter(|(_, series)| series.unknown > 0);
        out.counters(&catalog::UNKNOWN_DURATIONS, unknown.map(|(labels, series)| ((*labels).clone(), series.unknown)))?;
        out.counter(&catalog::NODE_RESPONSES, responded.responses())?;
        out.counter(&catalog::RETIRED_RESPONSES, count(&responses.retired))?;
        out.gauge(&catalog::WAITING_RESPONSES, totals.waiting_responses)?;
        out.gauge(&catalog::IN_FLIGHT, responded.in_flight(requests(&snapshot.totals)))?;
        out.counter(&catalog::UNANSWERED, responded.outcome.unanswered)?;
        out.counter(&catalog::LOST, responded.outcome.lost)?;
        let causes = Untold::ALL.iter().map(|cause| ([("cause", cause.name())], snapshot.untold[*cause as usize]));
        out.counters(&catalog::UNTOLD, causes)?;
        out.gauge(&catalog::RESPONSE_SERIES, responses.series.len())?;
        out.gauge(&catalog::RESPONSE_SERIES_MAX, MAX_RESPONSE_SERIES)?;
        out.counter(&catalog::RESPONSE_SERIES_RETIRED, responses.retired_series)
    }
}

/// Bounds in seconds, with the number in each.
fn buckets(series: &Durations) -> Vec<(f64, u64)> {
    let bounds = BOUNDS_NS.iter().map(|bound| *bound as f64 / 1e9).chain([f64::INFINITY]);
    bounds.zip(series.buckets).collect()
}

impl EncodeLabelSet for ResponseLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let Labels { namespace, pod, container, pid, command } = &*self.labels;
        let status = if self.status == 0 { String::new() } else { self.status.to_string() };
        let error = if (500..600).contains(&self.status) { &*status } else { "" };
        let values: [&str; 9] = [namespace, pod, container, self.method, &status, self.version, error, pid, command];
        let labels = catalog::DURATION.labels.iter().zip(values).filter(|(_, value)| !value.is_empty());
        labels.into_iter().try_for_each(|(name, value)| (*name, value).encode(encoder.encode_label()))
    }
}

//! Which of the two text formats a client wants. PURE.

/// A text format for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' own, version 0.0.4.
    Prometheus,
}

impl Format {
    /// The format that an `Accept` header prefers. Prometheus' own for whoever says nothing: people with curl.
    #[must_use]
    pub fn of(accept: &str) -> Self {
        let (mut open_metrics, mut prometheus) = (0.0, 0.0);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let best = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "application/openmetrics-text" => &mut open_metrics,
                "text/plain" | "text/*" | "*/*" => &mut prometheus,
                _ => continue,
            };
            let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok());
            *best = quality.unwrap_or(0.0_f32).max(*best);
        }
        if open_metrics > prometheus { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// Its media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => prometheus_client::encoding::prometheus_text::CONTENT_TYPE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Format::{self, OpenMetrics, Prometheus};

    #[track_caller]
    fn check(accept: &str, expected: Format) {
        assert_eq!(Format::of(accept), expected, "{accept}");
    }

    #[test]
    fn the_preferred_format() {
        // Prometheus 2.42, and 3 beside its protobuf.
        check(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            OpenMetrics,
        );
        check(
            "application/vnd.google.protobuf;q=0.9, text/plain;version=0.0.4;q=0.6, application/openmetrics-text;q=0.5",
            Prometheus,
        );
        check("", Prometheus);
        check("*/*", Prometheus);
        check("text/html,application/xhtml+xml,*/*;q=0.8", Prometheus);
        check("application/openmetrics-text", OpenMetrics);
        check("Application/OpenMetrics-Text ; q=0.2 , text/plain;q=0.1", OpenMetrics);
        check("application/openmetrics-text;q=0", Prometheus);
        check("application/openmetrics-text;q=many", Prometheus);
        check(";;,,;q=1", Prometheus);
    }
}

//! Every metric, once: what is exposed, and what docs/metrics.md says. PURE.

/// What a metric's values mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from the start of the agent on.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations by size.
    Histogram,
    /// Always 1; its labels say it.
    Info,
}

impl Kind {
    /// Its name in the docs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name without the ending that its kind adds.
    pub family: &'static str,
    /// What its values mean.
    pub kind: Kind,
    /// What is counted or measured.
    pub unit: &'static str,
    /// Names of its own labels; `k8s_node_name` may be added to each.
    pub labels: &'static [&'static str],
    /// What it says, in one sentence.
    pub help: &'static str,
}

impl Metric {
    /// Its name as it is queried; a histogram's is followed by `_bucket`, `_sum` and `_count`.
    #[must_use]
    pub fn name(&self) -> String {
        let ending = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        format!("{}{ending}", self.family)
    }
}

macro_rules! family {
    ($name:literal) => {
        concat!("scope_http_requests", $name)
    };
    // A name that is not the agent's own.
    (named $name:literal) => {
        $name
    };
}

macro_rules! metrics {
    ($($id:ident = $kind:ident $($named:ident)? $name:literal, $unit:literal, [$($label:literal),*], $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $id: Metric = Metric {
                family: family!($($named)? $name),
                kind: Kind::$kind,
                unit: $unit,
                labels: &[$($label),*],
                help: $help,
            };
        )*

        /// Every metric, in the order in which they are exposed.
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

metrics! {
    REQUESTS = Counter "", "requests",
        ["k8s_namespace_name", "k8s_pod_name", "k8s_container_name", "network_protocol_version", "process_pid", "process_command"],
        "Requests received, by pod and container; without these labels, by processes outside pods; under the namespace _unknown, in pods that are not known.";
    NODE = Counter "_node", "requests", ["network_protocol_version"],
        "Requests received by all processes that ever ran since the agent started.";
    RETIRED = Counter "_retired", "requests", ["network_protocol_version"],
        "Requests of series that made room for others; not to be used in rates.";
    WAITING = Gauge "_waiting", "requests", [],
        "Requests that wait for the name of their pod (at most 5 minutes) or container (15 s) and are in no series yet.";
    TLS = Counter "_tls_connections", "connections",
        ["k8s_namespace_name", "k8s_pod_name", "k8s_container_name", "process_pid", "process_command"],
        "Connections received that began with a TLS ClientHello, by pod and container as requests are; the requests in them are counted only with --tls.";
    NODE_TLS = Counter "_node_tls_connections", "connections", [],
        "Connections that began with a TLS ClientHello, received by all processes that ever ran since the agent started.";
    TLS_SESSIONS = Counter "_tls_sessions", "sessions",
        ["k8s_namespace_name", "k8s_pod_name", "k8s_container_name", "process_pid", "process_command"],
        "TLS sessions in which requests are read, by pod and container as requests are; only with --tls.";
    NODE_TLS_SESSIONS = Counter "_node_tls_sessions", "sessions", [],
        "TLS sessions in which requests are read, of all processes that ever ran since the agent started; only with --tls.";
    TLS_READ = Gauge "_tls_read", "processes", [],
        "Live processes that have received TLS and whose requests in it are read.";
    TLS_UNREAD = Gauge "_tls_unread", "processes", ["reason"],
        "Live processes that have received TLS and whose requests in it are not read, by reason; only with --tls.";
    TLS_STATE = Gauge "_agent_tls_state", "-", ["state"],
        "1 for whether requests in TLS are counted, 0 for all others: off (by --tls), on (of processes whose library is understood), refused (the kernel cannot, or does not allow it; all else is counted all the same).";
    RESPONSES_STATE = Gauge "_agent_responses_state", "-", ["state"],
        "1 for whether responses are counted, 0 for all others: counted, off (by --responses), refused (the kernel has no place for it, or does not allow it; requests are counted all the same).";
    DURATION = Histogram named "http_server_request_duration_seconds", "seconds",
        ["k8s_namespace_name", "k8s_pod_name", "k8s_container_name", "http_request_method", "http_response_status_code", "network_protocol_version", "error_type", "process_pid", "process_command"],
        "Time from the read that completes a request's line to the last byte of its response taken by the kernel, by pod and container; error_type is the status where it is 5xx.";
    UNKNOWN_DURATIONS = Counter "_unknown_durations", "responses",
        ["k8s_namespace_name", "k8s_pod_name", "k8s_container_name", "http_request_method", "http_response_status_code", "network_protocol_version", "error_type", "process_pid", "process_command"],
        "Responses whose duration is not known and that are in no histogram.";
    NODE_RESPONSES = Counter "_node_responses", "responses", [],
        "Responses of all processes that ever ran since the agent started, of known duration or not.";
    RETIRED_RESPONSES = Counter "_retired_responses", "responses", [],
        "Responses of histograms that made room for others; not to be used in rates.";
    WAITING_RESPONSES = Gauge "_waiting_responses", "responses", [],
        "Responses that wait for the name of their pod (at most 5 minutes) or container (15 s) and are in no histogram yet.";
    IN_FLIGHT = Gauge "_in_flight", "requests", [],
        "Requests that were received and may still be answered.";
    UNANSWERED = Counter "_unanswered", "requests", [],
        "Requests whose connection ended, or whose stream was reset, without a response.";
    LOST = Counter "_lost_responses", "requests", [],
        "Requests whose response will not be known; scope_http_requests_agent_untold_total says why.";
    UNTOLD = Counter "_agent_untold", "events", ["cause"],
        "Events for which a response, its status or its duration is not known, by cause.";
    RESPONSE_SERIES = Gauge "_agent_response_series", "series", [],
        "Label sets of http_server_request_duration_seconds.";
    RESPONSE_SERIES_MAX = Gauge "_agent_response_series_limit", "series", [],
        "The most label sets of http_server_request_duration_seconds (MAX_RESPONSE_SERIES); further ones are counted under the namespace _other, without method, status and version.";
    RESPONSE_SERIES_RETIRED = Counter "_agent_retired_response_series", "series", [],
        "Label sets of http_server_request_duration_seconds that made room for others.";
    BUILD = Info "_agent_build", "-", ["version", "kernel_release", "probe"],
        "The agent's version, the kernel it runs on, and how it reads there.";
    STARTED = Gauge "_agent_start_time_seconds", "seconds", [],
        "When counting began, since the Unix epoch; every counter began at 0 then. A handover does not change it.";
    HANDOVERS = Counter "_agent_handovers", "handovers", [],
        "How often an agent went on with what another one counted, since counters began at 0.";
    STARTED_FROM = Gauge "_agent_started_from", "-", ["origin"],
        "1 for what this agent's counts started from, 0 for all others: nothing (no other agent was there), handover (what another one counted), other_layout (nothing: the other one's probe was another), refused (nothing: the other one did not hand over).";
    TICKED = Gauge "_agent_last_tick_timestamp_seconds", "seconds", [],
        "When the kernel's counts were last read, since the Unix epoch.";
    LOSSES = Counter "_agent_losses", "events", ["cause"],
        "Events that may have cost a count, by cause; all zero in a run that was exact.";
    JOINED = Counter "_agent_joined_connections", "connections", [],
        "Connections that were already open when the probe first saw them; no loss, but counted from their next certain request on.";
    UNSYNCED = Counter "_agent_unsynced_connections", "connections", [],
        "How often a connection that had carried a request stopped being certain.";
    RESYNCED = Counter "_agent_resynced_connections", "connections", [],
        "How often a connection that was not certain became so again.";
    FAILED_READS = Counter "_agent_failed_reads", "ticks", [],
        "Ticks at which the kernel's counts could not be read; the next one makes up for them.";
    UNREADABLE = Counter "_agent_unreadable_processes", "processes", [],
        "Processes of which /proc did not tell the command line or the end.";
    PROCESSES = Gauge "_agent_processes", "processes", [],
        "Live processes that have received a request, or a TLS connection.";
    ENDED = Counter "_agent_ended_processes", "processes", [],
        "Processes that had received a request, or a TLS connection, and have ended.";
    SLOTS_USED = Gauge "_agent_process_slots_used", "slots", [],
        "Slots in use in the kernel's table of processes.";
    SLOTS = Gauge "_agent_process_slots", "slots", [],
        "Slots in the kernel's table of processes (--max-processes); requests of processes that find none are lost as process_table_full.";
    GIVEN_UP = Counter "_agent_given_up_processes", "processes", [],
        "Live processes that had received nothing for a minute and gave their slots to others; their requests stay in every sum.";
    SERIES = Gauge "_agent_series", "series", [],
        "Label sets of scope_http_requests_total and scope_http_requests_tls_connections_total together.";
    SERIES_MAX = Gauge "_agent_series_limit", "series", [],
        "The most of these label sets (MAX_SERIES); further ones are counted under the namespace _other.";
    SERIES_RETIRED = Counter "_agent_retired_series", "series", [],
        "Label sets that made room for others, because they had not grown for long and the limit was reached.";
    TICK = Histogram "_agent_tick_duration_seconds", "seconds", [],
        "Time that a tick took: reading the kernel's counts, /proc and making rates.";
    RUNS = Counter "_agent_program_runs", "calls", [],
        "Calls of the kernel program; only while the kernel measures them (kernel.bpf_stats_enabled=1).";
    RUN_TIME = Counter "_agent_program_run_time_seconds", "seconds", [],
        "Time spent in the kernel program on all processors; only while the kernel measures it (kernel.bpf_stats_enabled=1).";
    LOOKUPS = Counter "_agent_pod_lookups", "lookups", ["outcome"],
        "Searches for a process's pod, one a tick and live process: found, awaited (its cgroup names a pod of which there may be news yet), unknown (one that is not known), outside (it names none).";
    PODS = Gauge "_agent_pods", "pods", [],
        "Pods of this node that are known.";
    PODS_REFUSED = Counter "_agent_refused_pods", "pods", [],
        "Pods that were not taken in because there were too many (MAX_PODS).";
    API_SERVER = Gauge "_agent_api_server_state", "-", ["state"],
        "1 for the state of the watch on pods, 0 for all others.";
    REPORT_TIME = Histogram "_agent_report_render_duration_seconds", "seconds", [],
        "Time to render a report for Scope.";
    REPORT_BYTES = Gauge "_agent_report_size_bytes", "bytes", [],
        "Size of the last report for Scope as it was sent, in gzip or not.";
    LEFT_OUT = Gauge "_agent_report_left_out_nodes", "nodes", [],
        "Processes, containers and pods that found no room in the last report for Scope.";
    POLLS = Counter "_agent_scope_polls", "requests", [],
        "Reports that Scope probes asked for.";
    HANGUPS = Counter "_agent_scope_hangups", "requests", [],
        "Reports on which Scope probes hung up before they had all of them.";
    SCRAPES = Counter "_agent_scrapes", "requests", [],
        "Scrapes of these metrics before this text was made, once a tick.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_in_the_prometheus_style() {
        let names: BTreeSet<_> = ALL.iter().map(Metric::name).collect();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            let name = metric.name();
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert!(!metric.family.ends_with("_total"), "{name}: the ending comes from its kind");
            let of_seconds = name.trim_end_matches("_total").ends_with("_seconds");
            assert_eq!(of_seconds, metric.unit == "seconds", "{name} is in {}", metric.unit);
            assert!(metric.help.ends_with('.') && !metric.help.contains('|'), "{name}: {}", metric.help);
        }
    }
}

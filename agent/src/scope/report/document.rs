//! The report's parts as JSON has them: what Scope reads, and under which names. PURE.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use crate::scope::topologies::Topology;

/// The plugin's id: Scope takes it from the socket's file name and wants the same one here.
pub const ID: &str = "http-requests";

pub const LABEL: &str = "HTTP Requests";
pub const DESCRIPTION: &str = "Adds http request metrics to processes";
pub const RATE: &str = "http_requests_per_second";
pub const ERRORS: &str = "http_errors_per_second";
pub const MILLISECONDS: &str = "http_p95_milliseconds";
/// What a status' entry begins with: the rest is its row in the table.
pub const STATUS: &str = "http_responses_";
pub const TOTAL: &str = "http_requests_total";
pub const TLS: &str = "http_requests_tls_connections";
pub const POD: &str = "http_requests_pod";
pub const NAMESPACE: &str = "http_requests_namespace";
pub const CONTAINER: &str = "http_requests_container";
/// By this Scope finds a process's container where there is no Docker to ask.
pub const SCOPES_CONTAINER: &str = "docker_container_id";
/// By this Scope names a container that its own reporters do not know (`render/detailed/summary.go`).
pub const SCOPES_CONTAINER_NAME: &str = "docker_container_name";
/// By these Scope names a pod that its own reporters do not know.
pub const SCOPES_POD_NAME: &str = "kubernetes_name";
pub const SCOPES_NAMESPACE: &str = "kubernetes_namespace";

#[derive(Serialize)]
pub struct Head {
    #[serde(rename = "Plugins")]
    pub plugins: [Plugin; 1],
}

#[derive(Serialize)]
pub struct Plugin {
    pub id: &'static str,
    pub label: &'static str,
    pub description: String,
    pub interfaces: [&'static str; 1],
    pub api_version: &'static str,
}

impl Plugin {
    pub fn new(description: String) -> Self {
        Self { id: ID, label: LABEL, description, interfaces: ["reporter"], api_version: "1" }
    }
}

#[derive(Serialize)]
pub struct TopologyHead {
    #[serde(flatten)]
    pub templates: Templates,
    pub nodes: NoNodes,
}

/// What Scope is told of metrics, entries and tables: each time, of every topology.
#[derive(Serialize)]
pub struct Templates {
    pub metric_templates: RateTemplates,
    pub metadata_templates: LatestTemplates,
    /// Only where responses are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table_templates: Option<TableTemplates>,
}

impl Templates {
    pub fn new(is_placed: bool, answers: bool, tls: bool) -> Self {
        let table =
            TableTemplate { id: STATUS, label: "HTTP responses by status", prefix: STATUS, kind: "property-list" };
        Self {
            metric_templates: RateTemplates::new(answers),
            metadata_templates: LatestTemplates::new(is_placed, tls),
            table_templates: answers.then_some(TableTemplates { statuses: table }),
        }
    }
}

#[derive(Serialize)]
pub struct TableTemplates {
    #[serde(rename = "http_responses_")]
    pub statuses: TableTemplate,
}

#[derive(Serialize)]
pub struct TableTemplate {
    pub id: &'static str,
    pub label: &'static str,
    pub prefix: &'static str,
    #[serde(rename = "type")]
    pub kind: &'static str,
}

#[derive(Serialize)]
pub struct NoNodes {}

#[derive(Serialize)]
pub struct RateTemplates {
    #[serde(rename = "http_requests_per_second")]
    pub rate: MetricTemplate,
    #[serde(rename = "http_errors_per_second", skip_serializing_if = "Option::is_none")]
    pub errors: Option<MetricTemplate>,
    #[serde(rename = "http_p95_milliseconds", skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<MetricTemplate>,
}

impl RateTemplates {
    pub fn new(answers: bool) -> Self {
        let metric = |id, label, priority| MetricTemplate { id, label, priority };
        // Behind Scope's own processor, memory and files, of which a panel shows the first two large.
        Self {
            rate: metric(RATE, "HTTP Req/Second", 0.1),
            errors: answers.then(|| metric(ERRORS, "HTTP Errors/Second", 4.1)),
            milliseconds: answers.then(|| metric(MILLISECONDS, "HTTP p95 ms (15 s)", 4.2)),
        }
    }
}

#[derive(Serialize)]
pub struct SumTopology {
    #[serde(flatten)]
    pub templates: Templates,
    pub nodes: BTreeMap<String, SumNode>,
}

#[derive(Serialize)]
pub struct SumNode {
    pub id: String,
    pub metrics: Metrics,
    pub latest: Latest,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parents: Option<Parents>,
}

#[derive(Serialize)]
pub struct Parents {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<[String; 1]>,
    pub pod: [String; 1],
}

#[derive(Serialize)]
pub struct Latest {
    #[serde(rename = "http_requests_total")]
    pub total: Entry,
    /// What Scope calls it by, and its responses by status.
    #[serde(flatten)]
    pub others: BTreeMap<Cow<'static, str>, Entry>,
}

#[derive(Serialize)]
pub struct Entry {
    pub timestamp: String,
    pub value: String,
}

#[derive(Serialize)]
pub struct Metrics {
    #[serde(rename = "http_requests_per_second")]
    pub rate: Metric,
    #[serde(rename = "http_errors_per_second", skip_serializing_if = "Option::is_none")]
    pub errors: Option<Metric>,
    #[serde(rename = "http_p95_milliseconds", skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<Metric>,
}

#[derive(Serialize)]
pub struct Metric {
    pub samples: Vec<Sample>,
    pub min: f32,
    /// The same for all nodes of a topology: Scope fills a node by its value's part of this.
    pub max: f32,
}

#[derive(Serialize)]
pub struct Sample {
    pub date: String,
    pub value: f32,
}

#[derive(Serialize)]
pub struct MetricTemplate {
    pub id: &'static str,
    pub label: &'static str,
    pub priority: f64,
}

#[derive(Serialize)]
pub struct LatestTemplates {
    #[serde(rename = "http_requests_total")]
    pub total: MetadataTemplate,
    /// Only where there was a TLS connection.
    #[serde(rename = "http_requests_tls_connections", skip_serializing_if = "Option::is_none")]
    pub tls: Option<MetadataTemplate>,
    #[serde(flatten)]
    pub place: Option<PlaceTemplates>,
}

impl LatestTemplates {
    pub fn new(is_placed: bool, tls: bool) -> Self {
        Self {
            // Of 10 and more Scope hides them behind "+1", and it cuts labels of more than about twelve letters.
            total: MetadataTemplate::new(TOTAL, "HTTP total", "number", 6.0),
            tls: tls.then(|| MetadataTemplate::new(TLS, "TLS", "number", 6.5)),
            place: is_placed.then(|| PlaceTemplates {
                pod: MetadataTemplate::new(POD, "Pod", "", 7.0),
                namespace: MetadataTemplate::new(NAMESPACE, "Namespace", "", 8.0),
                container: MetadataTemplate::new(CONTAINER, "Container", "", 9.0),
            }),
        }
    }
}

#[derive(Serialize)]
pub struct PlaceTemplates {
    #[serde(rename = "http_requests_pod")]
    pub pod: MetadataTemplate,
    #[serde(rename = "http_requests_namespace")]
    pub namespace: MetadataTemplate,
    #[serde(rename = "http_requests_container")]
    pub container: MetadataTemplate,
}

#[derive(Serialize)]
pub struct MetadataTemplate {
    pub id: &'static str,
    pub label: &'static str,
    #[serde(rename = "dataType", skip_serializing_if = "str::is_empty")]
    pub data_type: &'static str,
    pub priority: f64,
    pub from: &'static str,
}

impl MetadataTemplate {
    pub fn new(id: &'static str, label: &'static str, data_type: &'static str, priority: f64) -> Self {
        Self { id, label, data_type, priority, from: "latest" }
    }
}

/// A rate as Scope can show it: four digits, more than a measured rate has. Of 8736.58 Scope makes `8.73658k`.
///
/// Greater rates stay greater, or become equal.
pub fn rounded(rate: f32) -> f32 {
    let rate = f64::from(rate);
    if rate <= 0.0 {
        return 0.0;
    }
    let unit = 10_f64.powi(rate.log10().floor() as i32 - 3);
    ((rate / unit).round() * unit).min(f64::from(f32::MAX)) as f32
}

pub fn write(json: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(json, value).expect("strings, numbers and a growing buffer cannot fail");
}

/// Begins another topology.
pub fn write_key(json: &mut Vec<u8>, topology: Topology) {
    json.push(b',');
    write(json, &topology.key());
    json.push(b':');
}

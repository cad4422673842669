//! `scope-http-requests check`: tries everything that the agent needs, and says what to do about what is missing. EDGE.

use super::finding::{Finding, json, table};
use super::{cluster, counting, system};
use crate::settings::config::Config;

/// Tries everything, and gives what is to be printed and whether the agent can count.
pub async fn run(config: &Config, as_json: bool) -> (String, bool) {
    let mut findings = system::privileges();
    findings.extend(counting::kernel());
    findings.extend(counting::probe(config.probe));
    findings.extend(system::limits(config.probe.max_processes));
    findings.extend(system::names(config));
    findings.extend(system::places(config));
    findings.extend(cluster::api_server(config.node.as_deref(), config.kubeconfig.as_deref()).await);
    let text = if as_json { json(&findings) } else { table(&findings) };
    (text, findings.iter().all(Finding::is_passed))
}

//! The API server: the way to it, both verbs of the role, the node's name, and its clock. EDGE.

use std::path::Path;
use std::time::Duration;

use hyper::Request;
use hyper::header::DATE;
use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};
use kube::api::{Api, ListParams, WatchParams};
use kube::client::Body;
use kube::{Client, Config};
use tokio::time::timeout;

use super::finding::Finding;
use crate::pods::cluster::{Cluster, find_cluster};
use crate::pods::object::PodObject;
use crate::pods::trouble::{self, Trouble};

const CHECK: &str = "API server";
/// For each answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Scope's app throws away what is older than 15 s by its own clock.
const MAX_SKEW: SignedDuration = SignedDuration::from_secs(5);
/// Anything before this is a clock that nobody has set.
const EARLIEST: Timestamp = Timestamp::constant(1_735_689_600, 0); // 2025

/// Everything between the agent and the names of pods.
pub(super) async fn api_server(node: Option<&str>, kubeconfig: Option<&Path>) -> Vec<Finding> {
    let now = Timestamp::now();
    let clock = if now < EARLIEST {
        Finding::warning(
            "clock",
            format!("it is {now:.0}"),
            "set the clock: Scope and Prometheus throw away what is from another time",
        )
    } else {
        Finding::ok("clock", format!("it is {now:.0}"))
    };
    let Some(node) = node else {
        return vec![
            clock,
            Finding::note(CHECK, "not asked: NODE_NAME and --node-name are not set, so there are no names of pods"),
        ];
    };
    let config = match find_cluster(kubeconfig).await {
        Cluster::Found(config) => config,
        Cluster::Absent(cause) => {
            return vec![clock, Finding::warning(CHECK, cause, "mount a service account's token, or set KUBECONFIG")];
        }
    };
    let address = config.cluster_url.to_string();
    let client = match client(*config) {
        Ok(client) => client,
        Err(error) => return vec![clock, of_error(&error, "no client")],
    };
    let mut findings = vec![clock];
    findings.extend(skew(&client).await);
    findings.extend(pods(client, node, &address).await);
    findings
}

fn client(mut config: Config) -> kube::Result<Client> {
    config.default_retry = false;
    Client::try_from(config)
}

/// List, then watch, as the agent does.
async fn pods(client: Client, node: &str, address: &str) -> Vec<Finding> {
    let selector = format!("spec.nodeName={node}");
    let pods = Api::<PodObject>::all(client);
    let parameters = ListParams::default().fields(&selector).match_any();
    let listed = match timeout(PATIENCE, pods.list(&parameters)).await {
        Err(_) => return vec![slow(address)],
        Ok(Err(error)) => return vec![of_error(&error, &format!("list pods at {address}"))],
        Ok(Ok(list)) if list.items.is_empty() => Finding::warning(
            CHECK,
            format!("{address} lists no pods of the node {node:?}"),
            "is that the node's name as `kubectl get nodes` prints it? The agent's own pod should be there",
        ),
        Ok(Ok(list)) => Finding::ok(CHECK, format!("{address} lists {} pods of the node {node:?}", list.items.len())),
    };
    let parameters = WatchParams::default().fields(&selector).timeout(1);
    let watched = match timeout(PATIENCE, pods.watch(&parameters, "0")).await {
        Err(_) => slow(address),
        Ok(Err(error)) => of_error(&error, &format!("watch pods at {address}")),
        Ok(Ok(_)) => Finding::ok(CHECK, "pods may be watched"),
    };
    vec![listed, watched]
}

/// Its clock against this one.
async fn skew(client: &Client) -> Option<Finding> {
    let request = Request::get("/version").body(Body::empty()).ok()?;
    let answer = timeout(PATIENCE, client.send(request)).await.ok()?.ok()?;
    compared(Timestamp::now(), answer.headers().get(DATE)?.to_str().ok()?)
}

/// `date` is the header of an answer, in whole seconds.
fn compared(now: Timestamp, date: &str) -> Option<Finding> {
    let skew = now.duration_since(rfc2822::parse(date).ok()?.timestamp());
    Some(if skew.abs() > MAX_SKEW {
        let found = format!("{} s from the API server's", skew.as_secs());
        Finding::warning("clock", found, "set the clocks by NTP: Scope throws away what is from another time")
    } else {
        Finding::ok("clock", "within seconds of the API server's")
    })
}

fn slow(address: &str) -> Finding {
    Finding::warning(CHECK, format!("{address}: no answer for {} s", PATIENCE.as_secs()), Trouble::Slow.cure())
}

/// Never a failure: the agent counts without names.
fn of_error(error: &kube::Error, what: &str) -> Finding {
    match trouble::of_client(error) {
        Some(report) => Finding::warning(CHECK, format!("{what}: {}", report.cause), report.trouble.cure()),
        None => Finding::note(CHECK, format!("{what}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict::{self, Ok, Warning};
    use super::*;

    #[track_caller]
    fn check(date: &str, expected: Option<Verdict>) {
        let now = Timestamp::new(784_111_777, 500_000_000).unwrap();
        assert_eq!(compared(now, date).map(|finding| finding.verdict), expected, "{date}");
    }

    #[test]
    fn clocks_that_differ_are_told() {
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(Ok));
        check("Sun, 06 Nov 1994 08:49:41 GMT", Some(Ok));
        check("Sun, 06 Nov 1994 08:49:44 GMT", Some(Warning));
        check("Sun, 06 Nov 1994 08:48:37 GMT", Some(Warning));
        check("yesterday", None);
    }
}

//! An agent in a container, and what it says.

use std::ffi::OsString;
use std::fs;

use agent::commands::ask;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::harness::wait_for;
use crate::lab::{Driver, Lab, NODE, Pod, Rendered};
use crate::pod;
use crate::runc::Container;

/// What the chart mounts, and where Scope looks.
pub const PLUGINS: &str = "/var/run/scope/plugins";
/// The image's entry point; .ci/image compares it with the Dockerfile.
pub const ENTRY: &str = "/scope-http-requests";

pub fn of_kind<'a>(documents: &'a [Value], kind: &str) -> Result<&'a Value> {
    documents.iter().find(|document| document["kind"] == kind).with_context(|| format!("no {kind}"))
}

/// The DaemonSet's pod.
pub fn agent_pod(documents: &[Value]) -> Result<Value> {
    Ok(of_kind(documents, "DaemonSet")?["spec"]["template"].clone())
}

/// The DaemonSet's pod with other security.
pub fn with_security(documents: &[Value], field: &str, value: Value) -> Result<Value> {
    let mut pod = agent_pod(documents)?;
    pod["spec"]["containers"][0]["securityContext"][field] = value;
    Ok(pod)
}

/// What a command in the container says, if it succeeds.
pub fn exec(container: &Container<'_>, words: &[&str]) -> Result<String, String> {
    let output = container.exec(words).map_err(|error| format!("{error:#}"))?;
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(text.into_owned()) } else { Err(text.into_owned()) }
}

/// What `health live` or `health ready` says in it, well or not.
pub fn health(agent: &Rendered<'_>, question: &str) -> String {
    exec(&agent.container, &[ENTRY, "health", question]).unwrap_or_else(|complaint| complaint)
}

/// The agent's pod, which nobody has probed yet.
pub fn start<'a>(lab: &'a Lab, pod: &Value) -> Result<Rendered<'a>> {
    lab.run(pod, &identity())
}

pub fn identity() -> Pod {
    Pod::new("scope-http-requests-abcde", "agent", 9, Driver::Systemd)
}

/// The agent's pod, which counts.
pub fn start_ready<'a>(lab: &'a Lab, pod: &Value) -> Result<Rendered<'a>> {
    let agent = start(lab, pod)?;
    started(&agent, pod)?;
    Ok(agent)
}

/// Waits until its startup probe is content.
pub fn started(agent: &Rendered<'_>, pod: &Value) -> Result<()> {
    // The first one, begun before there is a socket, does: one that fails is a warning among the pod's events.
    let words = pod::container(pod)["startupProbe"]["exec"]["command"].as_array().context("no startup probe")?;
    let started = exec(&agent.container, &words.iter().filter_map(Value::as_str).collect::<Vec<_>>());
    started.map_err(|complaint| anyhow::anyhow!("startup probe: {complaint}, {}", agent.container.log()))?;
    Ok(())
}

/// Waits until `health ready` says this.
pub fn wait_for_readiness(agent: &Rendered<'_>, said: &str) -> Result<String> {
    let answer = || Ok(Some(health(agent, "ready")).filter(|text| text.contains(said)));
    wait_for(said, answer).with_context(|| agent.container.log())
}

/// The report as Scope gets it, on the node.
pub fn report() -> Result<Value> {
    let line: Vec<OsString> = ["agent", "report", "--plugins-root", PLUGINS].iter().map(Into::into).collect();
    Ok(serde_json::from_str(&ask::run(&line).map_err(anyhow::Error::msg)?)?)
}

pub fn latest<'a>(node: &'a Value, key: &str) -> Option<&'a str> {
    node["latest"][key]["value"].as_str()
}

pub fn total<'a>(report: &'a Value, topology: &str, id: &str) -> Option<&'a str> {
    latest(&report[topology]["nodes"][id], "http_requests_total")
}

/// The report in which container and pod have these totals.
pub fn wait_for_totals(expected: &[(&Pod, &str)]) -> Result<Value> {
    let mut last = Vec::new();
    let found = wait_for("totals", || {
        let report = report()?;
        let totals = |(pod, _): &(&Pod, &str)| {
            let ids = [("Container", format!("{};<container>", pod.id)), ("Pod", format!("{};<pod>", pod.uid))];
            ids.map(|(topology, id)| total(&report, topology, &id).map(str::to_owned))
        };
        last = expected.iter().map(totals).collect();
        let all =
            expected.iter().zip(&last).all(|((_, count), found)| found.iter().all(|n| n.as_deref() == Some(count)));
        Ok(all.then_some(report))
    });
    found.with_context(|| format!("containers and pods have {last:?}"))
}

/// The process that served for this pod has its PID on the node, its names and its links.
pub fn is_named(report: &Value, pod: &Pod, count: &str) -> Result<()> {
    let nodes = report["Process"]["nodes"].as_object().context("no processes")?;
    let of_pod = |(_, node): &(&String, &Value)| latest(node, "docker_container_id") == Some(&pod.id);
    let mut served = nodes.iter().filter(of_pod);
    let (Some((id, node)), None) = (served.next(), served.next()) else {
        anyhow::bail!("not one process of {}: {nodes:?}", pod.name)
    };
    let pid = id.strip_prefix(&format!("{NODE};")).context("an id of another host")?;
    ensure!(fs::read_to_string(format!("/proc/{pid}/comm"))? == "nginx\n", "{pid} is no nginx");
    ensure!(fs::read_to_string(format!("/proc/{pid}/cgroup"))?.contains(&pod.id), "{pid} is not of {}", pod.name);
    for (key, expected) in [
        ("http_requests_total", count),
        ("http_requests_pod", &pod.name),
        ("http_requests_namespace", pod.namespace),
        ("http_requests_container", pod.container),
    ] {
        ensure!(latest(node, key) == Some(expected), "{key} is not {expected}: {node}");
    }
    let parents = json!({"container": [format!("{};<container>", pod.id)], "pod": [format!("{};<pod>", pod.uid)]});
    ensure!(node["parents"] == parents, "{node}");
    Ok(())
}

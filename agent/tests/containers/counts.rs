//! Pods that count, as the chart's values have them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use agent::scope::peer;
use agent::scope::plugin::socket_path;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::asked::{
    ENTRY, PLUGINS, agent_pod, exec, health, identity, is_named, latest, of_kind, report, start_ready, total,
    wait_for_readiness, wait_for_totals,
};
use crate::harness::wait_for;
use crate::lab::{Driver, Lab, NODE, Pod, send};
use crate::pod;

/// `CAP_BPF` and `CAP_PERFMON`, as /proc shows them.
const BPF_AND_PERFMON: &str = "000000c000000000";

/// Everything is there: counts, names, links, probes, commands, the chart's own test, an end.
pub fn as_rendered(lab: &Lab, chart: &[Value]) -> Result<()> {
    const CONNECTIONS: usize = 5;
    let pod = agent_pod(chart)?;
    let before = Pod::new("web-1", "server", 1, Driver::Cgroupfs);
    let after = Pod::new("web-2", "server", 2, Driver::Systemd);
    let short = Pod::new("forks-1", "server", 3, Driver::Cgroupfs);
    let (first, forks) = (lab.nginx(&before)?, lab.forks(&short)?);
    let mut agent = start_ready(lab, &pod)?;
    let second = lab.nginx(&after)?;

    let status = fs::read_to_string(format!("/proc/{}/status", agent.container.pid))?;
    for (name, expected) in [
        ("CapEff", BPF_AND_PERFMON),
        ("CapPrm", BPF_AND_PERFMON),
        ("CapBnd", BPF_AND_PERFMON),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        ensure!(status.contains(&format!("\n{name}:\t{expected}\n")), "{name} is not {expected}: {status}");
    }
    wait_for_readiness(&agent, "ok\npods: current\n")?;
    let live = health(&agent, "live");
    ensure!(live.starts_with("ok\n"), "{live}");

    send(first.pid, 30)?;
    send(second.pid, 12)?;
    for _ in 0..CONNECTIONS {
        send(forks.pid, 1)?;
    }
    // The agent's own pod has the requests of this very question.
    let own = identity();
    let report = wait_for_totals(&[(&before, "30"), (&after, "12"), (&short, "5")])?;
    ensure!(total(&report, "Pod", &format!("{};<pod>", own.uid)).is_some(), "the agent's own pod: {report}");
    for (served, count) in [(&before, "30"), (&after, "12")] {
        is_named(&report, served, count)?;
    }
    ensure!(total(&report, "Host", &format!("{NODE};<host>")).is_some(), "no host");

    let checked = exec(&agent.container, &[ENTRY, "check", "--json"]).map_err(anyhow::Error::msg)?;
    let checked: Value = serde_json::from_str(&checked)?;
    let bad = |finding: &&Value| finding["verdict"] == "failed" || finding["verdict"] == "warning";
    let bad: Vec<_> = checked["checks"].as_array().into_iter().flatten().filter(bad).collect();
    ensure!(bad.is_empty() && checked["can_count"] == true, "check: {bad:?}");
    let top = exec(&agent.container, &[ENTRY, "top", "--ticks=1", "--by=pod"]).map_err(anyhow::Error::msg)?;
    ensure!(top.contains("shop/web-1") && top.contains("shop/forks-1"), "{top}");

    let mut test = lab.run(of_kind(chart, "Pod")?, &Pod::new("report", "report", 8, Driver::Systemd))?;
    let code = test.container.wait()?;
    ensure!(
        code == 0 && test.container.log().contains("\"id\":\"http-requests\""),
        "helm test: {code}, {}",
        test.container.log()
    );

    let code = agent.container.stop()?;
    ensure!(code == 0, "it ended with {code}: {}", agent.container.log());
    ensure!(!socket_path(Path::new(PLUGINS)).exists(), "the socket was left behind");
    ensure!(fs::read_to_string(&agent.termination_log)?.is_empty(), "last words without a failure");
    let requests = lab.api.server.world().requests.clone();
    let of_pods: Vec<_> = requests.iter().filter(|request| request.contains("/pods?")).collect();
    ensure!(
        !of_pods.is_empty() && of_pods.iter().all(|request| request.contains("spec.nodeName%3Dnode-1")),
        "{requests:?}"
    );
    Ok(())
}

/// Without an account and without the API server: counts by process.
pub fn without_api_server(lab: &Lab, chart: &[Value]) -> Result<()> {
    let web = Pod::new("web-1", "server", 1, Driver::Systemd);
    let nginx = lab.nginx(&web)?;
    let mut agent = start_ready(lab, &agent_pod(chart)?)?;
    send(nginx.pid, 4)?;
    wait_for("a process with 4 requests", || {
        let report = report()?;
        let nodes = report["Process"]["nodes"].as_object().into_iter().flatten();
        Ok(nodes.into_iter().any(|(_, node)| latest(node, "http_requests_total") == Some("4")).then_some(()))
    })?;
    ensure!(!agent.container.log().contains("API server"), "{}", agent.container.log());
    agent.container.stop()?;
    Ok(())
}

/// Privileged, under the node's own name, with metrics.
pub fn on_the_nodes_network(lab: &Lab, chart: &[Value]) -> Result<()> {
    let pod = agent_pod(chart)?;
    let web = Pod::new("web-1", "server", 1, Driver::Systemd);
    let nginx = lab.nginx(&web)?;
    let mut agent = start_ready(lab, &pod)?;
    wait_for_readiness(&agent, "pods: current")?;
    send(nginx.pid, 6)?;
    let report = wait_for_totals(&[(&web, "6")])?;
    let host = format!("{};<host>", peer::own_host_name());
    ensure!(total(&report, "Host", &host).is_some(), "no {host}: {report}");
    let container = pod::container(&pod);
    let get = |path: &str| -> Result<String> {
        let mut stream = TcpStream::connect(format!("127.0.0.1:{}", container["ports"][0]["containerPort"]))?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let metrics = get("/metrics")?;
    ensure!(metrics.contains("k8s_pod_name=\"web-1\""), "{metrics}");
    let ready = get(container["readinessProbe"]["httpGet"]["path"].as_str().context("no readiness probe")?)?;
    ensure!(ready.starts_with("HTTP/1.1 200 ") && ready.ends_with("\r\n\r\nok\n"), "{ready}");
    agent.container.stop()?;
    Ok(())
}

/// Containers and pods have their counts, processes have no names; the log and `check` say why.
pub fn without_host_pids(lab: &Lab, chart: &[Value]) -> Result<()> {
    let mut pod = agent_pod(chart)?;
    pod["spec"]["hostPID"] = false.into();
    let web = Pod::new("web-1", "server", 1, Driver::Systemd);
    let nginx = lab.nginx(&web)?;
    let mut agent = start_ready(lab, &pod)?;
    let checked = exec(&agent.container, &[ENTRY, "check"]).map_err(anyhow::Error::msg)?;
    ensure!(checked.contains("a PID namespace of its own"), "{checked}");
    send(nginx.pid, 3)?;
    let report = wait_for_totals(&[(&web, "3")])?;
    let named = |(_, node): (&String, &Value)| latest(node, "docker_container_id") == Some(&web.id);
    let nodes = report["Process"]["nodes"].as_object().into_iter().flatten();
    ensure!(!nodes.into_iter().any(named), "a process outside its namespace: {report}");
    ensure!(agent.container.log().contains("set hostPID: true"), "{}", agent.container.log());
    agent.container.stop()?;
    Ok(())
}

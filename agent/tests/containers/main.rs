//! The chart's pods as containers of runc on this kernel, beside pods with real servers and a scripted API server.
//!
//! No kubelet and no containerd: `pod.rs` does what they do. `.ci/containers` runs it as root, in namespaces of its own
//! for mounts and network; `IMAGE` is a folder with the image's content, `RENDERED` one with what Helm makes of some values.

#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "../api_server/mod.rs"]
mod api_server;
#[path = "../harness/mod.rs"]
mod harness;
#[path = "../hierarchy/mod.rs"]
mod hierarchy;
mod lab;
mod pod;
mod runc;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use agent::commands::ask;
use agent::scope::peer;
use agent::scope::plugin::socket_path;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use harness::{caught, wait_for};
use lab::{Driver, Hierarchy, Lab, NODE, Pod, Rendered, command, send};
use runc::Container;

/// What the chart mounts, and where Scope looks.
const PLUGINS: &str = "/var/run/scope/plugins";
/// The image's entry point; .ci/image compares it with the Dockerfile.
const ENTRY: &str = "/scope-http-requests";
/// `CAP_BPF` and `CAP_PERFMON`, as /proc shows them.
const BPF_AND_PERFMON: &str = "000000c000000000";

fn main() -> ExitCode {
    let mut tally = Tally::default();
    if let Err(error) = run(&mut tally) {
        tally.fail("what every check needs", &error);
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(tally: &mut Tally) -> Result<()> {
    let folder =
        |name| env::var_os(name).map(PathBuf::from).with_context(|| format!("{name} is not set: run .ci/containers"));
    let (image, rendered) = (folder("IMAGE")?, folder("RENDERED")?);
    // Anywhere else it would mount over the machine's own.
    ensure!(fs::read_link("/proc/self/ns/mnt")? != folder("MOUNTS_OUTSIDE")?, "not in a mount namespace of its own");
    // The node's /run, where the pods' folders are made, and its network.
    command("mount", &["-t", "tmpfs", "tmpfs", "/run"])?;
    command("ip", &["link", "set", "lo", "up"])?;
    let chart = |name: &str| documents(&rendered.join(format!("{name}.yaml")));
    let (default, counts_only, privileged) = (chart("default")?, chart("counts-only")?, chart("privileged-selinux")?);

    for hierarchy in [Hierarchy::AsHere, Hierarchy::Unified] {
        if hierarchy == Hierarchy::Unified && lab::is_unified() {
            continue;
        }
        let lab = Lab::start(hierarchy, &image, ENTRY)?;
        tally.check(&format!("default values, cgroups: {hierarchy:?}"), || as_rendered(&lab, &default));
    }
    let lab = Lab::start(Hierarchy::AsHere, &image, ENTRY)?;
    tally.check("values counts-only", || without_api_server(&lab, &counts_only));
    tally.check("values privileged-selinux", || on_the_nodes_network(&lab, &privileged));
    tally.check("capabilities, seccomp", || refused_by_the_kernel(&lab, &default));
    tally.check("no hostPID", || without_host_pids(&lab, &default));
    tally.check("the least memory", || in_the_least_memory(&lab, &default));
    tally.check("pods that cannot start", || cannot_start(&lab, &default));
    tally.check("a token that is refused", || refused_by_the_api_server(&lab, &default));
    Ok(())
}

/// How many checks went well and not.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
}

impl Tally {
    fn check(&mut self, what: &str, act: impl FnOnce() -> Result<()>) {
        let started = Instant::now();
        match caught(act).map_err(anyhow::Error::from).flatten() {
            Ok(()) => {
                self.passed += 1;
                println!("ok: {what}, {:.1} s", started.elapsed().as_secs_f64());
            }
            Err(error) => self.fail(what, &error),
        }
    }

    fn fail(&mut self, what: &str, error: &anyhow::Error) {
        self.failed += 1;
        println!("FAILED: {what}: {error:#}");
    }
}

/// Every object in a file that Helm rendered.
fn documents(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let parts = text.split("\n---\n").map(serde_saphyr::from_str::<Value>);
    Ok(parts.collect::<Result<Vec<_>, _>>()?)
}

fn of_kind<'a>(documents: &'a [Value], kind: &str) -> Result<&'a Value> {
    documents.iter().find(|document| document["kind"] == kind).with_context(|| format!("no {kind}"))
}

/// The DaemonSet's pod.
fn agent_pod(documents: &[Value]) -> Result<Value> {
    Ok(of_kind(documents, "DaemonSet")?["spec"]["template"].clone())
}

/// The DaemonSet's pod with other security.
fn with_security(documents: &[Value], field: &str, value: Value) -> Result<Value> {
    let mut pod = agent_pod(documents)?;
    pod["spec"]["containers"][0]["securityContext"][field] = value;
    Ok(pod)
}

/// What a command in the container says, if it succeeds.
fn exec(container: &Container<'_>, words: &[&str]) -> Result<String, String> {
    let output = container.exec(words).map_err(|error| format!("{error:#}"))?;
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(text.into_owned()) } else { Err(text.into_owned()) }
}

/// What `health live` or `health ready` says in it, well or not.
fn health(agent: &Rendered<'_>, question: &str) -> String {
    exec(&agent.container, &[ENTRY, "health", question]).unwrap_or_else(|complaint| complaint)
}

/// The agent's pod, which nobody has probed yet.
fn start<'a>(lab: &'a Lab, pod: &Value) -> Result<Rendered<'a>> {
    lab.run(pod, &identity())
}

fn identity() -> Pod {
    Pod::new("scope-http-requests-abcde", "agent", 9, Driver::Systemd)
}

/// The agent's pod, which counts.
fn start_ready<'a>(lab: &'a Lab, pod: &Value) -> Result<Rendered<'a>> {
    let agent = start(lab, pod)?;
    // The first one, begun before there is a socket, does: one that fails is a warning among the pod's events.
    let words = pod::container(pod)["startupProbe"]["exec"]["command"].as_array().context("no startup probe")?;
    let started = exec(&agent.container, &words.iter().filter_map(Value::as_str).collect::<Vec<_>>());
    started.map_err(|complaint| anyhow::anyhow!("startup probe: {complaint}, {}", agent.container.log()))?;
    Ok(agent)
}

/// Waits until `health ready` says this.
fn wait_for_readiness(agent: &Rendered<'_>, said: &str) -> Result<String> {
    let answer = || Ok(Some(health(agent, "ready")).filter(|text| text.contains(said)));
    wait_for(said, answer).with_context(|| agent.container.log())
}

/// The report as Scope gets it, on the node.
fn report() -> Result<Value> {
    let line: Vec<OsString> = ["agent", "report", "--plugins-root", PLUGINS].iter().map(Into::into).collect();
    Ok(serde_json::from_str(&ask::run(&line).map_err(anyhow::Error::msg)?)?)
}

fn latest<'a>(node: &'a Value, key: &str) -> Option<&'a str> {
    node["latest"][key]["value"].as_str()
}

fn total<'a>(report: &'a Value, topology: &str, id: &str) -> Option<&'a str> {
    latest(&report[topology]["nodes"][id], "http_requests_total")
}

/// The report in which container and pod have these totals.
fn wait_for_totals(expected: &[(&Pod, &str)]) -> Result<Value> {
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

/// Everything is there: counts, names, links, probes, commands, the chart's own test, an end.
fn as_rendered(lab: &Lab, chart: &[Value]) -> Result<()> {
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

/// The process that served for this pod has its PID on the node, its names and its links.
fn is_named(report: &Value, pod: &Pod, count: &str) -> Result<()> {
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

/// Without an account and without the API server: counts by process.
fn without_api_server(lab: &Lab, chart: &[Value]) -> Result<()> {
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
fn on_the_nodes_network(lab: &Lab, chart: &[Value]) -> Result<()> {
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

/// What the kernel or a seccomp profile refuses is said to Scope, to the probes, in the log and as last words.
fn refused_by_the_kernel(lab: &Lab, chart: &[Value]) -> Result<()> {
    let add = |names: &[&str]| with_security(chart, "capabilities", json!({"drop": ["ALL"], "add": names}));
    let capabilities = "missing; run as root, or in Kubernetes add";
    is_refused(lab, &add(&["BPF"])?, &format!("CAP_PERFMON {capabilities}"))?;
    is_refused(lab, &add(&["PERFMON"])?, &format!("CAP_BPF {capabilities}"))?;
    is_refused(lab, &add(&[])?, &format!("CAP_BPF and CAP_PERFMON {capabilities}"))?;
    // The runtime's default of long ago knows of no CAP_BPF.
    let old = with_security(chart, "seccompProfile", json!({"type": pod::OLD_RUNTIME_DEFAULT}))?;
    is_refused(lab, &old, "a seccomp profile or a security module may forbid bpf(2)")?;
    let mut agent = start_ready(lab, &with_security(chart, "seccompProfile", json!({"type": "Unconfined"}))?)?;
    agent.container.stop()?;
    Ok(())
}

fn is_refused(lab: &Lab, pod: &Value, because: &str) -> Result<()> {
    let mut agent = start(lab, pod)?;
    let said = wait_for_readiness(&agent, "not counting")?;
    ensure!(said.contains(because), "{because:?} is not in {said:?}");
    let live = health(&agent, "live");
    ensure!(live.starts_with("ok\n"), "{live}");
    let Err(told) = report() else { anyhow::bail!("Scope gets a report") };
    ensure!(told.to_string().contains(because), "Scope is told {told}");
    let code = agent.container.stop()?;
    let (log, last) = (agent.container.log(), fs::read_to_string(&agent.termination_log)?);
    ensure!(code == 69 && log.contains(because) && last.contains(because), "{code}, {last}, {log}");
    Ok(())
}

/// Containers and pods have their counts, processes have no names; the log and `check` say why.
fn without_host_pids(lab: &Lab, chart: &[Value]) -> Result<()> {
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

/// It starts, and is checked from within, under what the chart requests, which docs/kubernetes.md calls the least limit.
fn in_the_least_memory(lab: &Lab, chart: &[Value]) -> Result<()> {
    let mut pod = agent_pod(chart)?;
    let resources = &mut pod["spec"]["containers"][0]["resources"];
    resources["limits"]["memory"] = resources["requests"]["memory"].clone();
    let mut agent = start_ready(lab, &pod)?;
    let checked = exec(&agent.container, &[ENTRY, "check"]).map_err(anyhow::Error::msg)?;
    ensure!(checked.contains("can count here"), "{checked}");
    ensure!(agent.container.stop()? == 0, "{}", agent.container.log());
    Ok(())
}

/// Pods that end at once, with last words.
fn cannot_start(lab: &Lab, chart: &[Value]) -> Result<()> {
    let mut wrong = agent_pod(chart)?;
    wrong["spec"]["containers"][0]["args"] = json!(["--topologies=pods"]);
    let mut read_only = agent_pod(chart)?;
    let mounts = read_only["spec"]["containers"][0]["volumeMounts"].as_array_mut().context("no mounts")?;
    mounts[0]["readOnly"] = true.into();
    let _ = fs::remove_dir_all(Path::new(PLUGINS).join("http-requests"));
    for (pod, expected, said) in [(wrong, 64, "--topologies: \"pods\" is none of"), (read_only, 74, "cannot create")] {
        let mut agent = start(lab, &pod)?;
        let code = agent.container.wait()?;
        let last = fs::read_to_string(&agent.termination_log)?;
        ensure!(code == expected && last.contains(said), "{code}: {last:?}, {}", agent.container.log());
    }
    Ok(())
}

/// It counts on, and the probes say what is wrong.
fn refused_by_the_api_server(lab: &Lab, chart: &[Value]) -> Result<()> {
    lab.api.server.world().token = Some("another".to_owned());
    let pod = agent_pod(chart)?;
    let mut agent = start_ready(lab, &pod)?;
    let said = wait_for_readiness(&agent, "401")?;
    ensure!(said.starts_with("ok\n"), "{said}");
    agent.container.stop()?;
    Ok(())
}

//! Pods in which the agent may not count, or not ask, or cannot start; and the least memory.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::asked::{
    ENTRY, PLUGINS, agent_pod, exec, health, report, start, start_ready, wait_for_readiness, with_security,
};
use crate::lab::Lab;
use crate::pod;

/// What the kernel or a seccomp profile refuses is said to Scope, to the probes, in the log and as last words.
pub fn refused_by_the_kernel(lab: &Lab, chart: &[Value]) -> Result<()> {
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

/// It starts, and is checked from within, under what the chart requests, which docs/kubernetes.md calls the least limit.
pub fn in_the_least_memory(lab: &Lab, chart: &[Value]) -> Result<()> {
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
pub fn cannot_start(lab: &Lab, chart: &[Value]) -> Result<()> {
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
pub fn refused_by_the_api_server(lab: &Lab, chart: &[Value]) -> Result<()> {
    lab.api.server.world().token = Some("another".to_owned());
    let pod = agent_pod(chart)?;
    let mut agent = start_ready(lab, &pod)?;
    let said = wait_for_readiness(&agent, "401")?;
    ensure!(said.starts_with("ok\n"), "{said}");
    agent.container.stop()?;
    Ok(())
}

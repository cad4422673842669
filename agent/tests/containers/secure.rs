//! The chart's pod with `tls.enabled`, beside pods that serve HTTPS.

use std::fs;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::asked::{ENTRY, agent_pod, exec, is_named, start_ready, wait_for_readiness, wait_for_totals};
use crate::harness::wait_for;
use crate::lab::{Driver, Lab, Pod, hello, send_https};

/// `CAP_BPF`, `CAP_PERFMON` and `CAP_SYS_PTRACE`, as /proc shows them.
const WITH_SYS_PTRACE: &str = "000000c000080000";
/// Once for each process.
const READ: &str = "\"requests in its TLS are counted\"";

/// Two containers on one layer of an overlay, each of which shows the same library as a file of another device: who is
/// seen second has a library that is read already. System calls that are not in the runtime's profile fail in one, and
/// kill the other.
pub fn https(lab: &Lab, chart: &[Value]) -> Result<()> {
    let first = Pod::new("shop-1", "server", 4, Driver::Cgroupfs);
    let second = Pod::new("shop-2", "server", 5, Driver::Systemd);
    let one = lab.https(&first, "SCMP_ACT_ERRNO")?;
    let two = lab.https(&second, "SCMP_ACT_KILL_PROCESS")?;
    let mut agent = start_ready(lab, &agent_pod(chart)?)?;
    wait_for_readiness(&agent, "ok\npods: current\n")?;
    let status = fs::read_to_string(format!("/proc/{}/status", agent.container.pid))?;
    ensure!(status.contains(&format!("\nCapEff:\t{WITH_SYS_PTRACE}\n")), "{status}");
    if agent.container.log().contains("uprobe_multi") {
        println!("SKIPPED: requests in TLS: this kernel cannot");
        return Ok(());
    }

    hello(one.pid)?;
    let are_read = |processes| {
        let read = || Ok((agent.container.log().matches(READ).count() >= processes).then_some(()));
        wait_for("TLS to be read", read).map_err(|error| error.context(agent.container.log()))
    };
    are_read(1)?;
    send_https(one.pid, "--http1.1", 20)?;
    send_https(one.pid, "--http2", 10)?;
    send_https(two.pid, "--http1.1", 5)?;
    send_https(two.pid, "--http2", 7)?;
    for (server, expected) in [(&one, 30), (&two, 12)] {
        let served = fs::read_to_string(format!("/proc/{}/root/tmp/served", server.pid))?.lines().count();
        ensure!(served == expected, "nginx served {served}, not {expected}");
    }
    let report = wait_for_totals(&[(&first, "30"), (&second, "12")])?;
    is_named(&report, &first, "30")?;
    is_named(&report, &second, "12")?;
    are_read(2)?;

    let log = agent.container.log();
    // The API server of this test is one of whose TLS nothing is known.
    let is_unread = |line: &str| line.contains("are not counted") && line.contains("\"nginx\"");
    ensure!(log.contains("libssl.so") && !log.lines().any(is_unread), "{log}");
    let top = exec(&agent.container, &[ENTRY, "top", "--ticks=1", "--json"]).map_err(anyhow::Error::msg)?;
    ensure!(!top.contains("call_lost"), "{top}");
    let checked = exec(&agent.container, &[ENTRY, "check", "--tls=auto"]).map_err(anyhow::Error::msg)?;
    ensure!(checked.contains("can count here") && !checked.contains("see the warnings"), "{checked}");
    let code = agent.container.stop()?;
    ensure!(code == 0, "it ended with {code}: {}", agent.container.log());
    // Their functions are as they were.
    send_https(one.pid, "--http1.1", 3)?;
    Ok(())
}

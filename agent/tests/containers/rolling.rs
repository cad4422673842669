//! The chart's pod is replaced by another one, which is there before it goes.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::asked::{ENTRY, agent_pod, exec, start_ready, started, total, wait_for_totals};
use crate::harness::wait_for;
use crate::lab::{Driver, Lab, Pod, send};

/// Nothing is missed: the new pod's agent goes on with what the old one's counted, and the other way round where it goes.
pub fn rolls_over(lab: &Lab, chart: &[Value]) -> Result<()> {
    let rendered = agent_pod(chart)?;
    let web = Pod::new("web-1", "server", 1, Driver::Cgroupfs);
    let server = lab.nginx(&web)?;
    let mut old = start_ready(lab, &rendered)?;
    send(server.pid, 30)?;
    wait_for_totals(&[(&web, "30")])?;

    let identity = Pod::new("scope-http-requests-fghij", "agent", 8, Driver::Systemd);
    let mut new = lab.run(&rendered, &identity)?;
    started(&new, &rendered)?;
    ensure!(new.container.log().contains("\"started_from\":\"handover\""), "{}", new.container.log());
    send(server.pid, 12)?;
    let report = wait_for_totals(&[(&web, "42")])?;
    ensure!(total(&report, "Pod", &format!("{};<pod>", identity.uid)).is_some(), "the new pod: {report}");

    // The old one is there still, and is not taken for the new one.
    let own = exec(&old.container, &[ENTRY, "health", "ready", "--own"]);
    ensure!(own.as_ref().is_err_and(|text| text.contains("not of this container")), "{own:?}");
    ensure!(exec(&old.container, &[ENTRY, "health", "ready"]).is_ok(), "the agent that serves is well");

    ensure!(new.container.stop()? == 0, "{}", new.container.log());
    let counts_again = || Ok(exec(&old.container, &[ENTRY, "health", "ready", "--own"]).ok());
    wait_for("the old one to count again", counts_again)?;
    send(server.pid, 5)?;
    wait_for_totals(&[(&web, "5")])?;
    ensure!(old.container.stop()? == 0, "{}", old.container.log());
    Ok(())
}

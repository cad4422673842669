//! Real tools load real servers while agents come and go: counts are the servers' own.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::{Context as _, Result, ensure};

use crate::handover::{UPGRADES, counts};
use crate::lab::Agent;
use crate::load::{By, Load};
use crate::process::free_port;

pub fn upgrades(by: By) -> Result<()> {
    let mut agent = Agent::start()?;
    let mut load = Load::start(by)?;
    for number in 1..=UPGRADES {
        load.wait_for_more(by.some())?;
        let shown = agent.total(&load)?.unwrap_or(0);
        let next = Agent::beside(agent.give_folder()?, &[])?;
        agent.wait_ended()?;
        ensure!(next.started_from()? == "handover", "number {number}: {}", next.said()?);
        let total = next.total(&load)?.context("the server is shown no more")?;
        ensure!(total >= shown, "number {number}: {total} is shown, and {shown} was");
        agent = next;
    }
    let received = load.pause()?;
    agent.wait_for(&load, |total| total == received)?;
    agent.expect_all_answered(&load)?;
    agent.expect_sums()
}

pub fn older(by: By) -> Result<()> {
    let mut load = Load::start(by)?;
    load.wait_for_more(by.some())?;
    let before = load.pause()?;
    let agent = Agent::start()?;
    load.go_on()?;
    load.wait_for_more(by.some())?;
    let since = load.pause()? - before;
    // What is counted of another server by now was received later.
    counts(&agent)?;
    let total = agent.total(&load)?.context("nothing was counted")?;
    let most = by.first_reads();
    ensure!(total <= since && since - total <= most, "{total} of {since}, and at most {most} may be missing");
    println!("  {by:?}: {} of {since} were not counted", since - total);
    // All that came later was.
    load.go_on()?;
    load.wait_for_more(by.some())?;
    let later = load.pause()? - before - since;
    agent.wait_for(&load, |shown| shown == total + later)?;
    agent.expect_all_answered(&load)?;
    agent.expect_sums()
}

/// Killed, and started again while the API server says nothing. Connections stay open.
pub fn killed() -> Result<()> {
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let metrics = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let mut first = Agent::start()?;
    let mut load = Load::start(By::Wrk)?;
    first.wait_for(&load, |total| total > 0)?;
    let before = load.pause()?;
    first.kill()?;
    let mut second = Agent::named_by(first.give_folder()?, silent.local_addr()?, metrics)?;
    second.wait_ready()?;
    load.go_on()?;
    load.wait_for_more(By::Wrk.some())?;
    let since = load.pause()? - before;
    counts(&second)?;
    let total = second.total(&load)?.context("nothing was counted")?;
    let missing = since.checked_sub(total).with_context(|| format!("{total} of {since} that were received"))?;
    let said = joined(metrics)?;
    ensure!(missing <= said, "{missing} of {since} are missing, and joined says {said}");
    // It counted before there was news of pods: there is none.
    let said = second.said()?;
    ensure!(!said.contains("watching "), "{said}");
    Ok(())
}

/// Connections that were already open, each of which may have lost a request.
fn joined(metrics: SocketAddr) -> Result<u64> {
    let mut stream = TcpStream::connect(metrics)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let name = "scope_http_requests_agent_joined_connections_total";
    let value = text.lines().filter(|line| line.starts_with(name)).find_map(|line| line.rsplit(' ').next());
    Ok(value.with_context(|| format!("no {name}: {text:.200}"))?.parse()?)
}

//! The agent, stopped, killed, and beside another one, while requests go on: what it shows is what was
//! received.
//!
//! Needs root and a kernel that takes the probe. What is missing is skipped aloud, or fails where the
//! environment says `REQUIRE_PROBE=1`. `STOP_SECONDS` says for how long the agent is stopped (5). Arguments are parts of the names of the cases to run.

mod handover;
#[path = "../harness/mod.rs"]
mod harness;
mod lab;
mod load;
#[path = "../servers/process.rs"]
#[expect(dead_code, reason = "the cases against real servers use the rest of it")]
mod process;
mod secure;
mod server;
mod tools;

use std::process::ExitCode;
use std::time::Duration;
use std::{env, thread};

use anyhow::{Context as _, Result, ensure};
use harness::caught;
use lab::{Agent, Refused};
use load::By;
use process::Missing;
use rustix::process::Signal;
use server::{MOST_A_SECOND, Server, serve};

type Case = (&'static str, fn() -> Result<()>);

const CASES: &[Case] = &[
    ("stopped under load: totals are whole, rates show no spike", stopped),
    ("stopped under load: each request has its response, to the last one", stopped_among_responses),
    ("killed and started again under load: totals start again, nothing wrong is shown", killed),
    ("two agents: each shows all, with its response", two_agents),
    ("ten agents, one after another, under load: nothing is missed, nothing counted twice", handover::upgrades),
    ("a probe of another layout is loaded beside the one before, whose agent ends", handover::another_layout),
    ("one that does not hand over is replaced, wherever it fails", handover::refusals),
    ("one that does not take what it asked for changes nothing, wherever it fails", handover::vain_takers),
    ("the one before is killed at any moment of a handover: the next one counts", handover::giver_killed),
    (
        "the next one is killed at any moment of a handover: one of both counts, or the one after",
        handover::taker_killed,
    ),
    ("HTTPS: five agents are killed under load: the server answers all, and is counted again", secure::killed),
    ("HTTPS: ten agents, one after another, under load: nothing is missed, nothing counted twice", || {
        secure::handed_over(secure::TLS)
    }),
    ("HTTPS: ten agents, one after another, under load: each request with its response", || {
        secure::handed_over(secure::RESPONSES)
    }),
    ("HTTPS: agents that read other things: nothing is counted twice, the rest goes on", secure::other_settings),
    ("HTTPS: one that does not take what it asked for: nothing is missed", secure::vain_takers),
    ("HTTPS: either agent is killed at any moment of a handover: nothing is counted twice", secure::killed_meanwhile),
    ("HTTPS: a library whose mode has changed is probed once", secure::changed_mode),
    ("in a pod the one before stands by, and counts again where the next one is gone", handover::standing_by),
    ("ten agents, one after another, under wrk: each request of nginx, with its response", || tools::upgrades(By::Wrk)),
    ("ten agents, one after another, under h2load: each request of nginx, with its response", || {
        tools::upgrades(By::H2load)
    }),
    ("ten agents, one after another, under gRPC: each call, with its response", || tools::upgrades(By::Grpc)),
    ("connections of wrk older than the agent: all from their second read on", || tools::older(By::Wrk)),
    ("connections of h2load older than the agent: all from their second read on", || tools::older(By::H2load)),
    ("a connection of gRPC older than the agent: all from its second read on", || tools::older(By::Grpc)),
    ("killed and started again under wrk, the API server silent: what is missing is said", tools::killed),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [flag, pace] = arguments.as_slice()
        && flag == "--serve"
    {
        return serve(pace == "slow").map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    // Asked by cargo and by test runners; there is nothing to list.
    if arguments.iter().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let required = env::var_os("REQUIRE_PROBE").is_some_and(|value| value == "1");
    match Agent::start() {
        Ok(_) => {}
        Err(error) if error.is::<Refused>() => {
            println!("SKIPPED: the agent under load: {error}\n0 passed, 0 failed, {} skipped", CASES.len());
            return if required { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
        Err(error) => {
            println!("FAILED: the agent does not start: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    let (mut failed, mut skipped) = (0, 0);
    let is_wanted = |name: &str| arguments.iter().all(|part| name.contains(part.as_str()));
    let cases: Vec<_> = CASES.iter().filter(|(name, _)| is_wanted(name)).collect();
    for (name, case) in &cases {
        match caught(case).map_err(anyhow::Error::from).flatten() {
            Ok(()) => println!("{name}: passed"),
            Err(error) if error.is::<Missing>() => {
                skipped += 1;
                println!("{name}: SKIPPED: {error}");
            }
            Err(error) => {
                failed += 1;
                println!("{name}: FAILED: {error:#}");
            }
        }
    }
    println!("{} passed, {failed} failed, {skipped} skipped", cases.len() - failed - skipped);
    if failed == 0 && !(required && skipped > 0) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn stopped() -> Result<()> {
    let seconds = env::var("STOP_SECONDS").map_or(Ok(5), |text| text.parse())?;
    let agent = Agent::start()?;
    let (slow, fast) = (Server::start("slow")?, Server::start("fast")?);
    agent.wait_for(&slow, |total| total > 0)?;
    agent.signal(Signal::STOP)?;
    thread::sleep(Duration::from_secs(seconds));
    agent.signal(Signal::CONT)?;
    let (slow, fast) = (slow.finish()?, fast.finish()?);
    for server in [&slow, &fast] {
        agent.wait_for(server, |total| total == server.received)?;
    }
    let rates = agent.rates(&slow)?;
    let highest = rates.iter().copied().fold(0.0, f64::max);
    // A request more or less at a sample's ends, and no more.
    ensure!(
        highest <= MOST_A_SECOND * 1.1,
        "{highest} requests a second where {MOST_A_SECOND} are possible: {rates:?}"
    );
    ensure!(highest > 0.0, "no rate is shown");
    Ok(())
}

/// What is asked at once, again and again: at each look all requests are somewhere.
fn stopped_among_responses() -> Result<()> {
    let agent = Agent::start()?;
    let (first, second) = (Server::start("fast")?, Server::start("fast")?);
    [&first, &second].into_iter().try_for_each(|server| agent.wait_for(server, |total| total > 0))?;
    for _ in 0..3 {
        agent.signal(Signal::STOP)?;
        thread::sleep(Duration::from_secs(1));
        agent.signal(Signal::CONT)?;
        // The ticks behind a stop, one of which has all of it.
        for _ in 0..20 {
            agent.expect_sums()?;
            thread::sleep(Duration::from_millis(100));
        }
    }
    for server in [first.finish()?, second.finish()?] {
        agent.wait_for(&server, |total| total == server.received)?;
        agent.expect_all_answered(&server)?;
    }
    agent.expect_sums()
}

fn killed() -> Result<()> {
    let mut first = Agent::start()?;
    let mut old = Server::start("fast")?;
    first.wait_for(&old, |total| total > 0)?;
    first.kill()?;
    let received_before = old.received_so_far()?;
    let second = Agent::start_in(first.give_folder()?)?;
    let new = Server::start("fast")?;
    second.wait_for(&old, |total| total > 0)?;
    second.wait_for(&new, |total| total > 0)?;
    let (old, new) = (old.finish()?, new.finish()?);
    second.wait_for(&new, |total| total == new.received)?;
    let total = second.total(&old)?.context("the old server is shown no more")?;
    let most = old.received - received_before;
    ensure!(total <= most, "{total} requests shown, and at most {most} received since the start");
    // The old one's connection was open, and is certain from an answer on: so is what is counted of it.
    second.expect_all_answered(&old)?;
    second.expect_all_answered(&new)?;
    second.expect_sums()
}

fn two_agents() -> Result<()> {
    let agents = [Agent::start()?, Agent::start()?];
    let server = Server::start("fast")?;
    agents.iter().try_for_each(|agent| agent.wait_for(&server, |total| total > 0))?;
    let server = server.finish()?;
    agents.iter().try_for_each(|agent| {
        agent.wait_for(&server, |total| total == server.received)?;
        agent.expect_all_answered(&server)?;
        agent.expect_sums()
    })
}

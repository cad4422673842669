//! What the agent's own process uses, at rest and at full load, and whether it counted.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::Figures;
use crate::agent_process::AgentProcess;
use crate::cpu;
use crate::nginx::Nginx;
use crate::table::Figure;
use crate::wrk::Wrk;

const WINDOW: Duration = Duration::from_secs(6);
/// What starting costs is not part of either window.
const SETTLED: Duration = Duration::from_millis(1500);
/// More than a tick: after it the report knows of every request.
const TICKED: Duration = Duration::from_millis(1500);

/// What it used in one window.
struct Usage {
    milliseconds_per_second: f64,
    resident_mib: f64,
}

pub(crate) fn measure() -> Figures {
    let nginx = Nginx::start()?;
    let before = nginx.served()?;
    let agent = AgentProcess::start()?;
    thread::sleep(SETTLED);
    let rest = usage(&agent)?;

    let wrk = Wrk::start(&nginx.url(), (WINDOW + SETTLED * 2).as_secs())?;
    thread::sleep(SETTLED);
    let load = usage(&agent)?;
    let per_second = wrk.finish()?.per_second;
    let served = nginx.served()? - before;
    thread::sleep(TICKED);
    let counted = agent.counted(nginx.workers())?;
    agent.stop()?;

    let at_load = format!("{per_second:.0} requests/s");
    Ok(vec![
        Figure::once("CPU time at rest", "ms/s", rest.milliseconds_per_second).at_most(3.0),
        Figure::once("CPU time at full load", "ms/s", load.milliseconds_per_second).note(at_load),
        Figure::once("resident memory at rest", "MiB", rest.resident_mib).at_most(15.0),
        Figure::once("resident memory at full load", "MiB", load.resident_mib).at_most(15.0),
        Figure::once("requests counted less those nginx served", "", counted as f64 - served as f64)
            .at_most(0.0)
            .note(format!("{counted} - {served}")),
    ])
}

fn usage(agent: &AgentProcess) -> io::Result<Usage> {
    let (started, before) = (Instant::now(), cpu::time(agent.pid())?);
    thread::sleep(WINDOW);
    let used = cpu::time(agent.pid())?.saturating_sub(before);
    Ok(Usage {
        milliseconds_per_second: 1000.0 * used.as_secs_f64() / started.elapsed().as_secs_f64(),
        resident_mib: cpu::resident(agent.pid())?,
    })
}

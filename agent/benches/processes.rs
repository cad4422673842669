//! What the agent's own process uses when many processes have received requests, and how that grows.

use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use agent::config::ProbeConfig;
use agent::kernel::Kernel;
use agent::tick::Probe as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Figures;
use crate::agent_process::AgentProcess;
use crate::cpu;
use crate::spread::Spread;
use crate::table::Figure;

const SOME: usize = 1000;
const MANY: usize = 5000;
/// So many seconds, in each of which every active process receives one request.
const WINDOW_SECONDS: u32 = 6;
/// What starting costs, and the first look at every process, is in no window.
const SETTLED: Duration = Duration::from_millis(2500);
const READINGS: usize = 31;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

/// Real and small: `cat` that reads from a socket, and ends when the other end closes.
struct Receiver {
    requests: UnixStream,
    process: Child,
}

pub(crate) fn measure() -> Figures {
    // A descriptor a process.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    let agent = AgentProcess::start()?;
    thread::sleep(SETTLED);
    let mut figures = vec![usage(&agent, "no process", &mut [])?];
    let mut receivers = Vec::with_capacity(MANY);
    for count in [SOME, MANY] {
        add(&mut receivers, count)?;
        thread::sleep(SETTLED);
        figures.push(usage(&agent, &format!("{count} processes, none active"), &mut [])?);
        figures.push(memory(&agent, count)?);
        if count > SOME {
            figures.push(usage(&agent, &format!("{count} processes, {SOME} active"), &mut receivers[..SOME])?);
        }
        figures.push(usage(&agent, &format!("{count} processes, all active"), &mut receivers)?);
    }
    // More than a tick: the report knows of every request.
    thread::sleep(SETTLED);
    // The report is bounded, and others on this machine are in it too: the busiest are never left out.
    let pids: Vec<u32> = receivers[..SOME].iter().map(|receiver| receiver.process.id()).collect();
    let (counted, sent) = (agent.counted(&pids)?, SOME * (1 + 3 * WINDOW_SECONDS as usize));
    figures.push(
        Figure::once("requests counted less those sent", "", counted as f64 - sent as f64)
            .at_most(0.0)
            .note(format!("{counted} - {sent}, of the first {SOME}")),
    );
    figures.push(memory(&agent, MANY)?);
    agent.stop()?;
    figures.push(reading(&mut receivers)?);
    receivers.into_iter().try_for_each(Receiver::end)?;
    Ok(figures)
}

/// Starts receivers until there are so many; each receives its first request.
fn add(receivers: &mut Vec<Receiver>, count: usize) -> io::Result<()> {
    while receivers.len() < count {
        let mut receiver = Receiver::start()?;
        receiver.requests.write_all(REQUEST)?;
        receivers.push(receiver);
    }
    Ok(())
}

/// The agent's CPU time while these are active.
fn usage(agent: &AgentProcess, name: &str, active: &mut [Receiver]) -> io::Result<Figure> {
    let (started, before) = (Instant::now(), cpu::time(agent.pid())?);
    for second in 1..=WINDOW_SECONDS {
        for receiver in &mut *active {
            receiver.requests.write_all(REQUEST)?;
        }
        thread::sleep((Duration::from_secs(1) * second).saturating_sub(started.elapsed()));
    }
    let used = cpu::time(agent.pid())?.saturating_sub(before);
    Ok(Figure::once(format!("CPU time, {name}"), "ms/s", 1000.0 * used.as_secs_f64() / started.elapsed().as_secs_f64()))
}

fn memory(agent: &AgentProcess, processes: usize) -> io::Result<Figure> {
    Ok(Figure::once(format!("resident memory, {processes} processes"), "MiB", cpu::resident(agent.pid())?))
}

/// What a tick's reading takes of the kernel's counts, without what is made of it.
fn reading(receivers: &mut [Receiver]) -> Result<Figure, Box<dyn std::error::Error>> {
    let mut kernel = Kernel::load(ProbeConfig::of_variables(|name| std::env::var(name).ok()))?;
    for receiver in &mut *receivers {
        // A connection that is older than this probe counts again after an answer, and cat gives none: a new process.
        receiver.restart()?;
        receiver.requests.write_all(REQUEST)?;
    }
    thread::sleep(SETTLED);
    let mut times = Vec::with_capacity(READINGS);
    let mut processes = 0;
    for _ in 0..READINGS {
        let started = Instant::now();
        processes = kernel.read(Duration::ZERO)?.processes.len();
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(Figure::new("reading the kernel's counts", "ms", Spread::of(times)).note(format!("{processes} processes")))
}

impl Receiver {
    fn start() -> io::Result<Self> {
        let (requests, input) = UnixStream::pair()?;
        let process = Command::new("cat").stdin(Stdio::from(OwnedFd::from(input))).stdout(Stdio::null()).spawn()?;
        Ok(Self { requests, process })
    }

    fn restart(&mut self) -> io::Result<()> {
        std::mem::replace(self, Self::start()?).end()
    }

    fn end(self) -> io::Result<()> {
        let Self { requests, mut process } = self;
        drop(requests);
        process.wait().map(drop)
    }
}

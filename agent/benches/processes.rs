//! What the agent's own process uses when many processes have received requests, and how that grows.

use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use agent::counting::tick::Probe as _;
use agent::kernel::Kernel;
use agent::settings::config::probe_of_variables;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Figures;
use crate::agent_process::AgentProcess;
use crate::cpu;
use crate::pods;
use crate::spread::Spread;
use crate::table::Figure;

const SOME: usize = 1000;
const MANY: usize = 5000;
/// So many seconds, in each of which every active process receives one request.
const WINDOW_SECONDS: u32 = 6;
/// What starting costs, and the first look at every process, is in no window.
const SETTLED: Duration = Duration::from_millis(2500);
const READINGS: usize = 31;
/// Enough for every process to have received what was sent to it.
const RECEIVED: Duration = Duration::from_millis(200);
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
    let node = pods::Node::start()?;
    let agent = AgentProcess::start()?;
    thread::sleep(SETTLED);
    let mut figures = vec![usage(&agent, "no process", &mut [])?];
    let mut receivers = Vec::with_capacity(MANY);
    for count in [SOME, MANY] {
        add(&mut receivers, count)?;
        agent.wait_for(count)?;
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
    figures.extend(in_pods(node.as_ref(), &mut receivers)?);
    figures.extend(reading(&mut receivers)?);
    receivers.into_iter().try_for_each(Receiver::end)?;
    drop(node);
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

/// The same processes in pods of a scripted cluster, and what it costs to be asked each second.
fn in_pods(node: Option<&pods::Node>, receivers: &mut [Receiver]) -> io::Result<Vec<Figure>> {
    let Some(node) = node else {
        let why = "no cgroup v2 in which one can be made";
        return Ok(vec![Figure::new("resident memory, in pods", "MiB", None).note(why)]);
    };
    let agent = AgentProcess::start_with(&node.arguments())?;
    agent.wait_until("health/ready", |answer| answer.ends_with("pods: current\n"))?;
    restart(receivers, |index, process| node.take_in(index, process.id()))?;
    agent.wait_for(MANY)?;
    thread::sleep(SETTLED);
    let resident = |name: &str| Ok::<_, io::Error>(Figure::once(name, "MiB", cpu::resident(agent.pid())?));
    let asked = |name: &str, path: &str| usage_while(&agent, name, || agent.ask(path).map(drop));
    let mut figures = vec![usage(&agent, "in pods, none active", &mut [])?, resident("resident memory, in pods")?];
    let report = String::from_utf8_lossy(&agent.ask("/report")?).into_owned();
    let placed = report.matches(r#""http_requests_pod":{"timestamp""#).count();
    figures.push(asked("CPU time, in pods, a report a second", "/report")?);
    figures.push(resident("resident memory, in pods, after it")?);
    figures.push(asked("CPU time, in pods, an overview a second", "/overview")?);
    figures.push(resident("resident memory, in pods, after it")?);
    agent.stop()?;
    let note = format!("{MANY} processes, {placed} of them found in {} pods", pods::PODS);
    Ok(figures.into_iter().map(|figure| figure.note(note.as_str())).collect())
}

/// New processes: a connection that is older than a probe counts again after an answer, and cat gives none.
fn restart(receivers: &mut [Receiver], mut prepare: impl FnMut(usize, &Child) -> io::Result<()>) -> io::Result<()> {
    for (index, receiver) in receivers.iter_mut().enumerate() {
        std::mem::replace(receiver, Receiver::start()?).end()?;
        prepare(index, &receiver.process)?;
        receiver.requests.write_all(REQUEST)?;
    }
    Ok(())
}

/// The agent's CPU time while these are active.
fn usage(agent: &AgentProcess, name: &str, active: &mut [Receiver]) -> io::Result<Figure> {
    usage_while(agent, &format!("CPU time, {name}"), || {
        active.iter_mut().try_for_each(|receiver| receiver.requests.write_all(REQUEST))
    })
}

/// The agent's CPU time while something happens each second.
fn usage_while(agent: &AgentProcess, name: &str, mut happens: impl FnMut() -> io::Result<()>) -> io::Result<Figure> {
    let (started, before) = (Instant::now(), cpu::time(agent.pid())?);
    for second in 1..=WINDOW_SECONDS {
        happens()?;
        thread::sleep((Duration::from_secs(1) * second).saturating_sub(started.elapsed()));
    }
    let used = cpu::time(agent.pid())?.saturating_sub(before);
    Ok(Figure::once(name, "ms/s", 1000.0 * used.as_secs_f64() / started.elapsed().as_secs_f64()))
}

fn memory(agent: &AgentProcess, processes: usize) -> io::Result<Figure> {
    Ok(Figure::once(format!("resident memory, {processes} processes"), "MiB", cpu::resident(agent.pid())?))
}

/// What a tick's reading takes of the kernel's counts, without what is made of it.
fn reading(receivers: &mut [Receiver]) -> Figures {
    let mut kernel = Kernel::load(probe_of_variables(|name| std::env::var(name).ok()))?;
    restart(receivers, |_, _| Ok(()))?;
    thread::sleep(SETTLED);
    let name = "reading the kernel's counts";
    let mut figures = Vec::new();
    for active in [0, SOME, MANY] {
        let mut times = Vec::with_capacity(READINGS);
        let (mut processes, mut read) = (0, 0);
        for _ in 0..READINGS {
            // What one reading has seen is read by the next again.
            (0..2).try_for_each(|_| kernel.read(Duration::ZERO, &[]).map(drop))?;
            receivers[..active].iter_mut().try_for_each(|receiver| receiver.requests.write_all(REQUEST))?;
            thread::sleep(RECEIVED);
            let started = Instant::now();
            let reading = kernel.read(Duration::ZERO, &[])?;
            times.push(started.elapsed().as_secs_f64() * 1e3);
            (processes, read) = (reading.slots_used, reading.processes.len());
        }
        let note = format!("{processes} processes, {read} of them read");
        figures.push(Figure::new(name, "ms", Spread::of(times)).note(note));
    }
    Ok(figures)
}

impl Receiver {
    fn start() -> io::Result<Self> {
        let (requests, input) = UnixStream::pair()?;
        let process = Command::new("cat").stdin(Stdio::from(OwnedFd::from(input))).stdout(Stdio::null()).spawn()?;
        Ok(Self { requests, process })
    }

    fn end(self) -> io::Result<()> {
        let Self { requests, mut process } = self;
        drop(requests);
        process.wait().map(drop)
    }
}

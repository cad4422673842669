//! The agent, stopped, killed, and beside another one, while requests go on: what it shows is what was
//! received.
//!
//! Needs root and a kernel that takes the probe. What is missing is skipped aloud, or fails where the
//! environment says `REQUIRE_PROBE=1`. `STOP_SECONDS` says for how long the agent is stopped (5).

mod harness;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use std::{env, thread};

use agent::scope::plugin::socket_path;
use anyhow::{Context as _, Result, ensure};
use harness::{caught, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

const AGENT: &str = env!("CARGO_BIN_EXE_scope-http-requests");
const HOST: &str = "test-host";
const GET: &[u8] = b"GET /path HTTP/1.1\r\nHost: example\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
/// Between two requests of a slow server's client: it cannot have more than this many a second.
const PAUSE: Duration = Duration::from_millis(5);
const MOST_A_SECOND: f64 = 200.0;
/// What an agent ends with that the kernel does not let count.
const UNAVAILABLE: i32 = 69;

type Case = (&'static str, fn() -> Result<()>);

const CASES: &[Case] = &[
    ("stopped under load: totals are whole, rates show no spike", stopped),
    ("killed and started again under load: totals start again, nothing wrong is shown", killed),
    ("two agents: each shows all", two_agents),
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
    match Agent::start() {
        Ok(_) => {}
        Err(error) if error.is::<Refused>() => {
            println!("SKIPPED: the agent under load: {error}\n0 passed, 0 failed, {} skipped", CASES.len());
            let required = env::var_os("REQUIRE_PROBE").is_some_and(|value| value == "1");
            return if required { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
        Err(error) => {
            println!("FAILED: the agent does not start: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    let mut failed = 0;
    for (name, case) in CASES {
        match caught(case).map_err(anyhow::Error::from).flatten() {
            Ok(()) => println!("{name}: passed"),
            Err(error) => {
                failed += 1;
                println!("{name}: FAILED: {error:#}");
            }
        }
    }
    println!("{} passed, {failed} failed, 0 skipped", CASES.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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

fn killed() -> Result<()> {
    let mut first = Agent::start()?;
    let mut old = Server::start("fast")?;
    first.wait_for(&old, |total| total > 0)?;
    first.signal(Signal::KILL)?;
    first.child.wait()?;
    let received_before = old.received_so_far()?;
    let second = Agent::start_in(first.folder.take().context("a folder")?)?;
    let new = Server::start("fast")?;
    second.wait_for(&old, |total| total > 0)?;
    second.wait_for(&new, |total| total > 0)?;
    let (old, new) = (old.finish()?, new.finish()?);
    second.wait_for(&new, |total| total == new.received)?;
    let total = second.total(&old)?.context("the old server is shown no more")?;
    let most = old.received - received_before;
    ensure!(total <= most, "{total} requests shown, and at most {most} received since the start");
    Ok(())
}

fn two_agents() -> Result<()> {
    let agents = [Agent::start()?, Agent::start()?];
    let server = Server::start("fast")?;
    agents.iter().try_for_each(|agent| agent.wait_for(&server, |total| total > 0))?;
    let server = server.finish()?;
    agents.iter().try_for_each(|agent| agent.wait_for(&server, |total| total == server.received))
}

// ---- The agent --------------------------------------------------------------------------------

/// It ended by itself: the kernel does not let it count.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

struct Agent {
    child: Child,
    folder: Option<TempDir>,
    socket: std::path::PathBuf,
}

impl Agent {
    fn start() -> Result<Self> {
        Self::start_in(tempfile::tempdir()?)
    }

    fn start_in(folder: TempDir) -> Result<Self> {
        let child = Command::new(AGENT)
            .args(["--no-terminal", "--log-level=error", "--hostname", HOST, "--plugins-root"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let socket = socket_path(folder.path());
        let mut agent = Self { child, folder: Some(folder), socket };
        // Readiness is said once the probe is attached and a tick has run.
        wait_for("it to count or to end", || {
            if let Some(status) = agent.child.try_wait()? {
                let mut said = String::new();
                agent.child.stderr.take().context("its errors")?.read_to_string(&mut said)?;
                ensure!(status.code() == Some(UNAVAILABLE), "{status}: {said}");
                return Err(Refused(said).into());
            }
            Ok(agent.ready()?.then_some(()))
        })?;
        Ok(agent)
    }

    fn ready(&self) -> Result<bool> {
        let root = self.folder.as_ref().map(TempDir::path).context("a folder")?;
        Ok(Command::new(AGENT).args(["health", "ready", "--plugins-root"]).arg(root).output()?.status.success())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// What the report says of a process.
    fn node(&self, server: &impl Served) -> Result<Value> {
        let mut report = report(&self.socket)?;
        Ok(report["Process"]["nodes"][format!("{HOST};{}", server.pid())].take())
    }

    fn total(&self, server: &impl Served) -> Result<Option<u64>> {
        let node = self.node(server)?;
        let total = node["latest"]["http_requests_total"]["value"].as_str();
        Ok(total.map(str::parse).transpose()?)
    }

    fn rates(&self, server: &impl Served) -> Result<Vec<f64>> {
        let node = self.node(server)?;
        let samples = node["metrics"]["http_requests_per_second"]["samples"].as_array().context("no samples")?;
        Ok(samples.iter().filter_map(|sample| sample["value"].as_f64()).collect())
    }

    /// Waits for a report in which the process has a total as wanted.
    fn wait_for(&self, server: &impl Served, is_wanted: impl Fn(u64) -> bool) -> Result<()> {
        let mut total = None;
        let waited = wait_for("the total", || {
            total = self.total(server)?;
            Ok(total.is_some_and(&is_wanted).then_some(()))
        });
        waited.with_context(|| format!("the total is {total:?}; {} were received", server.received()))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn report(socket: &Path) -> Result<Value> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(b"GET /report HTTP/1.1\r\nHost: plugin\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    serde_json::from_str(body).with_context(|| format!("no report: {answer}"))
}

// ---- Servers, each in a process of its own -----------------------------------------------------

/// A process that has received requests.
trait Served {
    fn pid(&self) -> u32;
    fn received(&self) -> String;
}

struct Server {
    child: Child,
    output: BufReader<ChildStdout>,
}

/// One that receives no more, but has not ended.
struct Finished {
    server: Server,
    received: u64,
}

impl Served for Server {
    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn received(&self) -> String {
        "more and more".to_owned()
    }
}

impl Served for Finished {
    fn pid(&self) -> u32 {
        self.server.pid()
    }

    fn received(&self) -> String {
        self.received.to_string()
    }
}

impl Server {
    fn start(pace: &str) -> Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .args(["--serve", pace])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = BufReader::new(child.stdout.take().context("its output")?);
        Ok(Self { child, output })
    }

    /// Asks it, and reads the number that it answers.
    fn ask(&mut self, question: &[u8]) -> Result<u64> {
        self.child.stdin.as_mut().context("its input")?.write_all(question)?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().parse()?)
    }

    fn received_so_far(&mut self) -> Result<u64> {
        self.ask(b"how many\n")
    }

    fn finish(mut self) -> Result<Finished> {
        let received = self.ask(b"finish\n")?;
        Ok(Finished { server: self, received })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves a client of its own over TCP until it is told to finish. Each line of input is answered with the
/// number of requests received so far.
fn serve(slowly: bool) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let mut server = listener.accept()?.0;
    let (received, ending) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let asking = thread::spawn({
        let ending = Arc::clone(&ending);
        move || -> Result<()> {
            while !ending.load(Ordering::Acquire) {
                client.write_all(GET)?;
                client.read_exact(&mut [0; ANSWER.len()])?;
                if slowly {
                    thread::sleep(PAUSE);
                }
            }
            Ok(())
        }
    });
    let answering = thread::spawn({
        let received = Arc::clone(&received);
        move || -> Result<()> {
            while server.read_exact(&mut [0; GET.len()]).is_ok() {
                received.fetch_add(1, Ordering::Release);
                server.write_all(ANSWER)?;
            }
            Ok(())
        }
    });
    let mut threads = Some((asking, answering));
    for line in std::io::stdin().lines() {
        if line? == "finish"
            && let Some((asking, answering)) = threads.take()
        {
            ending.store(true, Ordering::Release);
            asking.join().expect("the client does not panic")?;
            answering.join().expect("the server does not panic")?;
        }
        println!("{}", received.load(Ordering::Acquire));
    }
    Ok(())
}

//! nginx with HTTPS under load, which nobody touches, while agents are killed and follow one another.

use std::fs::Permissions;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, thread};

use agent::kernel::{Kernel, ProbeConfig, TlsChoice};
use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::handover::{self, UPGRADES, config, counts};
use crate::harness::wait_for;
use crate::lab::Agent;
use crate::process::{Missing, Process, Tool, free_port, wait_for_port};
use crate::server::Served;

pub const TLS: &[&str] = &["--tls=auto"];
pub const RESPONSES: &[&str] = &["--tls=auto,responses"];
const TLS_CHOICE: TlsChoice = TlsChoice::Auto { go: false, responses: false };
/// Agents that are killed.
const AGENTS: usize = 5;
const CONNECTIONS: u64 = 8;
/// Exactly so many, once nothing else is sent.
const LAST: u64 = 1000;
/// In which nginx writes what it has answered.
const REST: Duration = Duration::from_millis(200);
/// A handover takes less than so many of them.
const MOMENT: Duration = Duration::from_millis(40);
const MOMENTS: u32 = 6;

pub fn killed() -> Result<()> {
    let server = Secure::start()?;
    let mut agent = reading(tempfile::tempdir()?)?;
    let load = server.load()?;
    agent.wait_for(&server, |total| total > 0)?;
    for _ in 0..AGENTS {
        agent.kill()?;
        let received_before = server.received_so_far()?;
        agent = reading(agent.give_folder()?)?;
        // Nobody is looked at before a connection begins.
        server.ask(1)?;
        agent.wait_for(&server, |total| total > 0)?;
        let total = agent.total(&server)?.context("the server is shown no more")?;
        let most = server.received_so_far()? - received_before;
        ensure!(total <= most, "{total} requests shown, and at most {most} received since the start");
    }
    load.finish()?;
    server.is_untouched()?;
    counts_exactly(&agent, &server)
}

/// While a load goes on over connections that are older than each agent but the first, on which nothing is missed.
pub fn handed_over(tls: &[&str]) -> Result<()> {
    let server = Secure::start()?;
    // Connections are counted from their begin.
    let mut agent = probing(&server, tls)?;
    let missed = server.missed(&agent)?;
    let load = server.load()?;
    agent.wait_for(&server, |total| total > LAST)?;
    let links = agent.links()?;
    for number in 1..=UPGRADES {
        let shown = agent.total(&server)?.context("a total")?;
        let next = Agent::beside(agent.give_folder()?, tls)?;
        agent.wait_ended()?;
        ensure!(next.started_from()? == "handover", "number {number}: {}", next.said()?);
        // What it shows first is no less, and then more.
        let before = next.total(&server)?.context("a total")?;
        ensure!(before >= shown, "{before} after {shown}");
        next.wait_for(&server, |total| total > before)?;
        agent = next;
    }
    load.finish()?;
    server.is_untouched()?;
    let received = server.at_rest()?;
    agent.wait_ticks(2)?;
    let total = agent.total(&server)?.context("a total")?;
    ensure!(total + missed == received, "{total} of {received} in TLS are counted, and {missed} came before all that");
    agent.expect_sums()?;
    if tls == RESPONSES {
        // But for those that the load did not wait for.
        let answered = agent.answered(&server)?.context("how many are answered")?;
        ensure!(answered <= total && total - answered <= CONNECTIONS, "{answered} of {total} are answered");
    }
    ensure!(agent.certain_again()? == 0, "a connection was taken for one that is older than the agents");
    ensure!(agent.links()? == links, "{} links where {links} were", agent.links()?);
    // What begins now is counted once, too.
    counts_exactly(&agent, &server)
}

/// Each reads something else than the one before it: nothing is counted twice, and all that is not read in TLS is handed over.
pub fn other_settings() -> Result<()> {
    let server = Secure::start()?;
    let mut agent = probing(&server, TLS)?;
    for (tls, word) in [
        ("--tls=auto,go", Some("does not hand over what it reads in TLS")),
        ("--tls=off", None),
        ("--tls=auto", Some("does not hand over what it reads in TLS")),
        ("--tls=auto,responses", Some("does not hand over what it reads in TLS")),
        ("--tls=auto,responses", Some("goes on with what the agent before this one reads in TLS")),
    ] {
        let next = Agent::beside(agent.give_folder()?, &[tls])?;
        agent.wait_ended()?;
        ensure!(next.started_from()? == "handover", "{tls}: {}", next.said()?);
        counts(&next)?;
        if let Some(word) = word {
            next.wait_said(word, 1)?;
            server.ask(1)?;
            next.wait_ticks(2)?;
            counts_exactly(&next, &server)?;
        }
        agent = next;
    }
    agent.expect_sums()
}

/// What was read in TLS is read on by the agent that gave nothing after all.
pub fn vain_takers() -> Result<()> {
    let server = Secure::start()?;
    let agent = probing(&server, TLS)?;
    let missed = server.missed(&agent)?;
    let load = server.load()?;
    let resumed = |times| agent.wait_said("did not go on with what is counted here", times);
    drop(taker(&agent, TLS_CHOICE)?);
    resumed(1)?;
    let mut reads = taker(&agent, TLS_CHOICE)?;
    reads.read_exact(&mut [0; 100])?;
    drop(reads);
    resumed(2)?;
    let _silent = taker(&agent, TLS_CHOICE)?;
    resumed(3)?;
    // It would go on with something else in TLS.
    drop(taker(&agent, TlsChoice::Off)?);
    resumed(4)?;
    load.finish()?;
    server.is_untouched()?;
    let received = server.at_rest()?;
    agent.wait_for(&server, |total| total + missed == received)?;
    counts_exactly(&agent, &server)
}

/// At any moment of a handover, either of both: who is left counts in TLS, and nothing twice.
pub fn killed_meanwhile() -> Result<()> {
    let server = Secure::start()?;
    for moment in 0..MOMENTS {
        for is_giver in [true, false] {
            let mut agent = probing(&server, TLS)?;
            let mut next = Agent::beside(agent.give_folder()?, TLS)?;
            thread::sleep(MOMENT * moment);
            let after = if is_giver {
                agent.kill()?;
                next.started_from()?;
                next
            } else {
                next.kill()?;
                let folder = next.give_folder()?;
                if next.said()?.contains("started_from") {
                    agent.wait_ended()?;
                }
                let after = Agent::beside(folder, TLS)?;
                after.started_from()?;
                after
            };
            // One that began anew looks at the worker once it is asked.
            wait_for("it to count", || {
                server.ask(1)?;
                after.wait_ticks(1)?;
                Ok(after.total(&server)?.filter(|total| *total > 0))
            })?;
            counts_exactly(&after, &server)?;
        }
    }
    server.is_untouched()
}

/// A library of which nothing but its mode has changed, in a process that begins under the next agent.
pub fn changed_mode() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let library = own_library(folder.path())?;
    let first = Secure::with_libraries(Some(folder.path()))?;
    let mut agent = probing(&first, TLS)?;
    fs::set_permissions(&library, Permissions::from_mode(0o700))?;
    let next = Agent::beside(agent.give_folder()?, TLS)?;
    agent.wait_ended()?;
    ensure!(next.started_from()? == "handover", "{}", next.said()?);
    let links = next.links()?;
    let second = Secure::with_libraries(Some(folder.path()))?;
    second.ask(1)?;
    next.wait_said("requests in its TLS are counted", 1)?;
    ensure!(next.links()? == links, "{} links where {links} were", next.links()?);
    [&first, &second].into_iter().try_for_each(|server| counts_exactly(&next, server))
}

/// A copy of the library that nginx has, where it is found first.
fn own_library(folder: &Path) -> Result<PathBuf> {
    let server = Secure::start()?;
    let maps = fs::read_to_string(format!("/proc/{}/maps", server.worker))?;
    let path = maps.lines().find_map(|line| line.split_whitespace().nth(5).filter(|path| path.contains("/libssl")));
    let path = Path::new(path.ok_or_else(|| Missing("an nginx with libssl".to_owned()))?);
    let copy = folder.join(path.file_name().context("a name")?);
    fs::copy(path, &copy)?;
    Ok(copy)
}

/// Asks for what an agent counts.
fn taker(agent: &Agent, tls: TlsChoice) -> Result<UnixStream> {
    let config = ProbeConfig { tls, ..config() };
    handover::taker(agent, Kernel::tls_layout_of(config).as_deref())
}

/// An agent that has probed the server's library.
fn probing(server: &Secure, tls: &[&str]) -> Result<Agent> {
    let agent = reading_with(tempfile::tempdir()?, tls)?;
    server.ask(1)?;
    agent.wait_said("requests in its TLS are counted", 1)?;
    Ok(agent)
}

/// An agent that reads TLS.
fn reading(folder: TempDir) -> Result<Agent> {
    reading_with(folder, TLS)
}

fn reading_with(folder: TempDir, tls: &[&str]) -> Result<Agent> {
    let agent = Agent::start_with(folder, tls)?;
    if agent.said()?.contains("uprobe_multi") {
        return Err(Missing("a kernel with uprobe_multi (Linux 6.6)".to_owned()).into());
    }
    Ok(agent)
}

/// Of connections that begin now nothing is missed.
fn counts_exactly(agent: &Agent, server: &Secure) -> Result<()> {
    let missed = server.missed(agent)?;
    let received = server.received_so_far()?;
    println!("note: of {received} requests in TLS {missed} were received while this agent did not read them");
    server.ask(LAST)?;
    let received = server.received_so_far()?;
    agent.wait_for(server, |total| total == received - missed)
}

/// nginx with one worker.
pub struct Secure {
    master: Process,
    folder: TempDir,
    worker: u32,
    port: u16,
}

impl Served for Secure {
    fn pid(&self) -> u32 {
        self.worker
    }

    fn received(&self) -> String {
        self.received_so_far().map_or_else(|error| error.to_string(), |received| received.to_string())
    }
}

impl Secure {
    pub fn start() -> Result<Self> {
        Self::with_libraries(None)
    }

    /// With those in this folder, if they are there.
    fn with_libraries(libraries: Option<&Path>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().display().to_string();
        let certify = format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost \
             -keyout {path}/key -out {path}/certificate"
        );
        Process::start(Tool::new("openssl")?.args(&certify), folder.path())?.wait()?;
        let port = free_port()?;
        let configuration = format!(
            "user root; daemon off; worker_processes 1; pid {path}/pid; error_log {path}/errors;
            events {{ }}
            http {{
                access_log {path}/served; keepalive_requests 1000000000; client_body_temp_path {path}/1;
                proxy_temp_path {path}/2; fastcgi_temp_path {path}/3; uwsgi_temp_path {path}/4; scgi_temp_path {path}/5;
                server {{
                    listen 127.0.0.1:{port} ssl; ssl_certificate {path}/certificate; ssl_certificate_key {path}/key;
                    location / {{ return 200 ok; }}
                }}
            }}"
        );
        fs::write(folder.path().join("nginx.conf"), configuration)?;
        let nginx = Tool::new("nginx")?.args(&format!("-e {path}/errors -c {path}/nginx.conf"));
        let nginx = libraries.into_iter().fold(nginx, |nginx, libraries| nginx.env("LD_LIBRARY_PATH", libraries));
        let mut master = Process::start(nginx, folder.path())?;
        wait_for_port(&mut master, port)?;
        let worker = wait_for("nginx's worker", || Ok(master.children().first().copied()))?;
        Ok(Self { folder, master, worker, port })
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}/", self.port)
    }

    fn errors(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().join("errors"))?)
    }

    /// Lines of its log.
    pub fn received_so_far(&self) -> Result<u64> {
        let log = fs::read(self.folder.path().join("served"))?;
        Ok(log.iter().filter(|byte| **byte == b'\n').count() as u64)
    }

    /// How many it has received, once nothing is asked.
    fn at_rest(&self) -> Result<u64> {
        let mut before = self.received_so_far()?;
        wait_for("nginx to be at rest", || {
            thread::sleep(REST);
            let received = self.received_so_far()?;
            let is_at_rest = received == before;
            before = received;
            Ok(is_at_rest.then_some(received))
        })
    }

    /// How many of those that it has received an agent has not counted; nothing is asked.
    fn missed(&self, agent: &Agent) -> Result<u64> {
        agent.wait_ticks(2)?;
        Ok(self.at_rest()? - agent.total(self)?.unwrap_or(0))
    }

    /// So many requests on new connections, each of which is answered.
    fn ask(&self, requests: u64) -> Result<()> {
        let connections = requests.min(10);
        let words = format!("--requests={requests} --clients={connections} --h1 {}", self.url());
        let mut h2load = Process::start(Tool::new("h2load")?.args(&words), self.folder.path())?;
        h2load.wait()?;
        let report = h2load.output()?;
        ensure!(report.contains(&format!(" {requests} succeeded,")), "h2load: {report}");
        Ok(())
    }

    /// Connections that are kept, as fast as it answers.
    fn load(&self) -> Result<Load> {
        let words = format!("--threads 1 --connections {CONNECTIONS} --duration 1h {}", self.url());
        Ok(Load(Process::start(Tool::new("wrk")?.args(&words), self.folder.path())?))
    }

    /// The same worker serves, and has had no trouble.
    fn is_untouched(&self) -> Result<()> {
        let (workers, errors) = (self.master.children(), self.errors()?);
        ensure!(workers == [self.worker], "workers {workers:?} instead of {}", self.worker);
        ensure!(!errors.contains("exited on signal") && !errors.contains("[alert]"), "{errors}");
        Ok(())
    }
}

/// Until it is finished.
struct Load(Process);

impl Load {
    /// Stops it; every request was answered well.
    fn finish(mut self) -> Result<()> {
        self.0.stop(Signal::INT)?;
        let report = self.0.output()?;
        ensure!(report.contains(" requests in "), "wrk has ended before: {report}");
        ensure!(!report.contains("Socket errors") && !report.contains("Non-2xx"), "wrk: {report}");
        Ok(())
    }
}

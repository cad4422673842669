//! nginx with HTTPS under load, which nobody touches, while agents are killed and follow one another.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::wait_for;
use crate::lab::Agent;
use crate::process::{Missing, Process, Tool, free_port, wait_for_port};
use crate::server::Served;

const TLS: &[&str] = &["--tls=auto"];
/// Agents that follow one another.
const AGENTS: usize = 5;
const CONNECTIONS: u64 = 8;
/// Exactly so many, once nothing else is sent.
const LAST: u64 = 1000;

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

pub fn handed_over() -> Result<()> {
    let server = Secure::start()?;
    let mut agent = reading(tempfile::tempdir()?)?;
    let load = server.load()?;
    agent.wait_for(&server, |total| total > 0)?;
    for number in 1..=AGENTS {
        let shown = agent.total(&server)?.context("a total")?;
        let next = Agent::beside(agent.give_folder()?, TLS)?;
        agent.wait_ended()?;
        ensure!(next.started_from()? == "handover", "number {number}: {}", next.said()?);
        // What it shows first is no less, and then more: the load's connections are all older than it.
        next.wait_for(&server, |total| total >= shown)?;
        next.wait_said("requests in its TLS are counted", 1)?;
        let before = next.total(&server)?.context("a total")?;
        ensure!(before >= shown, "{before} after {shown}");
        next.wait_for(&server, |total| total > before)?;
        let (total, received) = (next.total(&server)?.context("a total")?, server.received_so_far()?);
        ensure!(total <= received, "{total} of {received}");
        // That they were open is said.
        let open = number as u64 * CONNECTIONS;
        let again = || Ok(Some(next.certain_again()?).filter(|again| *again >= open));
        wait_for("its connections to be certain again", again)?;
        agent = next;
    }
    load.finish()?;
    server.is_untouched()?;
    agent.expect_sums()?;
    counts_exactly(&agent, &server)
}

/// An agent that reads TLS.
fn reading(folder: TempDir) -> Result<Agent> {
    let agent = Agent::start_with(folder, TLS)?;
    if agent.said()?.contains("uprobe_multi") {
        return Err(Missing("a kernel with uprobe_multi (Linux 6.6)".to_owned()).into());
    }
    Ok(agent)
}

/// Of connections that begin now nothing is missed.
fn counts_exactly(agent: &Agent, server: &Secure) -> Result<()> {
    agent.wait_ticks(2)?;
    let received = server.received_so_far()?;
    let missed = received - agent.total(server)?.context("a total")?;
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

//! nginx with HTTPS under load, which nobody touches, while agents are killed and follow one another.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::harness::wait_for;
use crate::lab::Agent;
use crate::process::Missing;
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
    folder: TempDir,
    master: Child,
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
        run("openssl", &certify.split_whitespace().collect::<Vec<_>>())?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
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
        let words = ["-e", &format!("{path}/errors"), "-c", &format!("{path}/nginx.conf")];
        let master = tool("nginx").args(words).stdin(Stdio::null()).spawn().map_err(|error| missing("nginx", error))?;
        let mut server = Self { folder, master, worker: 0, port };
        server.worker = wait_for("nginx to serve", || {
            ensure!(server.master.try_wait()?.is_none(), "nginx has ended: {}", server.errors()?);
            let serves = TcpStream::connect(("127.0.0.1", port)).is_ok();
            Ok(server.workers()?.first().copied().filter(|_| serves))
        })?;
        Ok(server)
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}/", self.port)
    }

    fn workers(&self) -> Result<Vec<u32>> {
        let pid = self.master.id();
        let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        Ok(text.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>()?)
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
        let words = [&format!("--requests={requests}"), &format!("--clients={connections}"), "--h1", &self.url()];
        let report = run("h2load", &words.map(AsRef::as_ref))?;
        ensure!(report.contains(&format!(" {requests} succeeded,")), "h2load: {report}");
        Ok(())
    }

    /// Connections that are kept, as fast as it answers.
    fn load(&self) -> Result<Load<'_>> {
        let log = fs::File::create(self.folder.path().join("wrk"))?;
        let words = format!("--threads 1 --connections {CONNECTIONS} --duration 1h {}", self.url());
        let wrk = tool("wrk").args(words.split_whitespace()).stdin(Stdio::null()).stdout(log).spawn();
        Ok(Load { wrk: wrk.map_err(|error| missing("wrk", error))?, server: self })
    }

    /// The same worker serves, and has had no trouble.
    fn is_untouched(&self) -> Result<()> {
        let (workers, errors) = (self.workers()?, self.errors()?);
        ensure!(workers == [self.worker], "workers {workers:?} instead of {}", self.worker);
        ensure!(!errors.contains("exited on signal") && !errors.contains("[alert]"), "{errors}");
        Ok(())
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = kill_process(Pid::from_child(&self.master), Signal::TERM);
        let _ = self.master.wait();
    }
}

/// Until it is finished.
struct Load<'a> {
    wrk: Child,
    server: &'a Secure,
}

impl Load<'_> {
    /// Stops it; every request was answered well.
    fn finish(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.wrk), Signal::INT)?;
        self.wrk.wait()?;
        let report = fs::read_to_string(self.server.folder.path().join("wrk"))?;
        ensure!(report.contains(" requests in "), "wrk has ended before: {report}");
        ensure!(!report.contains("Socket errors") && !report.contains("Non-2xx"), "wrk: {report}");
        Ok(())
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        let _ = self.wrk.kill();
        let _ = self.wrk.wait();
    }
}

/// Servers live in sbin, which an ordinary PATH leaves out.
fn tool(name: &str) -> Command {
    let usual = Path::new("/usr/sbin").join(name);
    if usual.is_file() { Command::new(usual) } else { Command::new(name) }
}

fn missing(name: &str, error: std::io::Error) -> anyhow::Error {
    match error.kind() {
        std::io::ErrorKind::NotFound => Missing(name.to_owned()).into(),
        _ => error.into(),
    }
}

/// Runs a program to its end, and gives what it printed.
fn run(name: &str, words: &[&str]) -> Result<String> {
    let output = tool(name).args(words).stdin(Stdio::null()).output().map_err(|error| missing(name, error))?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

//! An agent, a Prometheus that scrapes it, and a server whose requests are known.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::wait_for;

const AGENT: &str = env!("CARGO_BIN_EXE_scope-http-requests");
/// The agent's exit code where the kernel cannot count.
const UNAVAILABLE: i32 = 69;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
/// Every so manieth answer, the first one among them.
const FAILURE_EACH: u64 = 50;
const FAILURE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

/// What a machine lacks.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Missing(pub String);

/// A process that is ended with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

/// Everything that the checks look at.
pub struct Lab {
    /// Where the agent serves its metrics.
    pub agent: SocketAddr,
    prometheus: SocketAddr,
    /// Where the agent has its plugin socket.
    pub plugins: PathBuf,
    _prometheus_process: Running,
    _agent_process: Running,
    _folder: TempDir,
}

/// The project's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs a program with this input.
pub fn run(program: &str, arguments: &[&str], input: &[u8]) -> Result<Output> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| Missing(format!("{program}: {error}")))?;
    let mut stdin = child.stdin.take().context("no input")?;
    stdin.write_all(input)?;
    drop(stdin);
    Ok(child.wait_with_output()?)
}

/// What a program prints; it must succeed.
pub fn output(program: &str, arguments: &[&str], input: &[u8]) -> Result<String> {
    let output = run(program, arguments, input)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {arguments:?}: {} {errors}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// An address of the loopback that nobody listens on.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

impl Lab {
    /// Starts agent and Prometheus, and waits until the one scrapes the other.
    pub fn start() -> Result<Self> {
        for program in ["prometheus", "promtool", "curl"] {
            run(program, &["--version"], b"")?;
        }
        let folder = tempfile::tempdir()?;
        let (agent, agent_process) = start_agent(folder.path())?;
        let (prometheus, prometheus_process) = start_prometheus(folder.path(), agent)?;
        let lab = Self {
            agent,
            prometheus,
            plugins: folder.path().join("plugins"),
            _prometheus_process: prometheus_process,
            _agent_process: agent_process,
            _folder: folder,
        };
        wait_for("Prometheus to scrape the agent", || Ok(lab.value("up")?.filter(|up| *up == 1.0)))?;
        Ok(lab)
    }

    /// A URL of the agent's.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.agent)
    }

    /// What Prometheus answers to a GET below `/api/v1`.
    pub fn api(&self, path: &str, query: &str) -> Result<Value> {
        let url = format!("http://{}/api/v1/{path}", self.prometheus);
        let query = format!("query={query}");
        let text = output("curl", &["--silent", "--get", "--data-urlencode", &query, &url], b"")?;
        let answer: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
        ensure!(answer["status"] == "success", "{query}: {}", answer["error"]);
        Ok(answer["data"].clone())
    }

    /// The samples of a query.
    pub fn query(&self, query: &str) -> Result<Vec<Value>> {
        Ok(self.api("query", query)?["result"].as_array().context("no result")?.clone())
    }

    /// The value of a query's only sample; `None` without any.
    pub fn value(&self, query: &str) -> Result<Option<f64>> {
        let samples = self.query(query)?;
        ensure!(samples.len() <= 1, "{query}: {} samples", samples.len());
        samples.first().map(|sample| Ok(sample["value"][1].as_str().context("no value")?.parse()?)).transpose()
    }
}

fn start_agent(folder: &Path) -> Result<(SocketAddr, Running)> {
    let address = free_address()?;
    let log = folder.join("agent.log");
    let mut command = Command::new(AGENT);
    command
        .env_clear()
        .args(["--no-terminal", "--log-format=json", "--node-name=node-1", "--metrics-by=process"])
        .arg(format!("--metrics-address={address}"))
        .arg("--plugins-root")
        .arg(folder.join("plugins"))
        .stdin(Stdio::null())
        .stderr(File::create(&log)?);
    let mut agent = Running(command.spawn()?);
    let words = || fs::read_to_string(&log).unwrap_or_default();
    wait_for("the agent to serve metrics", || {
        // If it cannot load the probe it tells Scope so for a while, and then ends.
        if words().contains("telling Scope so") {
            return Err(Missing(format!("the probe does not load: {}", words())).into());
        }
        match agent.0.try_wait()?.map(|exit| exit.code()) {
            Some(Some(UNAVAILABLE)) => Err(Missing(format!("the agent cannot count: {}", words())).into()),
            Some(code) => bail!("the agent ended with {code:?}: {}", words()),
            None => Ok(TcpStream::connect(address).ok().map(drop)),
        }
    })?;
    Ok((address, agent))
}

fn start_prometheus(folder: &Path, agent: SocketAddr) -> Result<(SocketAddr, Running)> {
    let address = free_address()?;
    let rules = root().join("deploy/prometheus/scope-http-requests.rules.yml").canonicalize()?;
    let configuration = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
         rule_files: ['{}']\n\
         scrape_configs:\n\
         - job_name: scope-http-requests\n  static_configs: [{{targets: ['{agent}']}}]\n",
        rules.display()
    );
    let file = folder.join("prometheus.yml");
    fs::write(&file, configuration)?;
    let mut command = Command::new("prometheus");
    command
        .arg("--config.file")
        .arg(&file)
        .arg("--storage.tsdb.path")
        .arg(folder.join("data"))
        .arg(format!("--web.listen-address={address}"))
        .stdin(Stdio::null())
        .stderr(File::create(folder.join("prometheus.log"))?);
    let mut prometheus = Running(command.spawn()?);
    wait_for("Prometheus to listen", || {
        if let Some(exit) = prometheus.0.try_wait()? {
            bail!("prometheus ended with {exit}: {}", fs::read_to_string(folder.join("prometheus.log"))?);
        }
        let ready = format!("http://{address}/-/ready");
        Ok(run("curl", &["--silent", "--fail", &ready], b"")?.status.success().then_some(()))
    })?;
    Ok((address, prometheus))
}

/// A server and its client in this process, on one connection.
pub struct Load {
    client: TcpStream,
    server: TcpStream,
    /// Requests so far.
    pub sent: u64,
}

impl Load {
    /// Nothing sent yet.
    pub fn new() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let client = TcpStream::connect(listener.local_addr()?)?;
        let (server, _) = listener.accept()?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        Ok(Self { client, server, sent: 0 })
    }

    /// How many of its answers were failures.
    pub fn failed(&self) -> u64 {
        self.sent.div_ceil(FAILURE_EACH)
    }

    /// The PID that receives.
    pub fn pid(&self) -> u32 {
        process::id()
    }

    /// One request and its answer.
    pub fn exchange(&mut self) -> Result<()> {
        self.client.write_all(REQUEST)?;
        self.server.read_exact(&mut [0; REQUEST.len()])?;
        let answer = if self.sent.is_multiple_of(FAILURE_EACH) { FAILURE } else { ANSWER };
        self.server.write_all(answer)?;
        self.client.read_exact(&mut vec![0; answer.len()])?;
        self.sent += 1;
        Ok(())
    }

    /// So many requests a second, for so long; gives the rate that it really was.
    pub fn steady(&mut self, per_second: u32, duration: Duration) -> Result<f64> {
        let (begun, before) = (Instant::now(), self.sent);
        let mut due = begun;
        while begun.elapsed() < duration {
            self.exchange()?;
            due += Duration::from_secs(1) / per_second;
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        Ok((self.sent - before) as f64 / begun.elapsed().as_secs_f64())
    }
}

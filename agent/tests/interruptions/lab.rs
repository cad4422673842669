//! An agent in a process of its own, and what it reports.

use std::fs;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use agent::scope::plugin::socket_path;
use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::wait_for;
use crate::server::Served;

const AGENT: &str = env!("CARGO_BIN_EXE_scope-http-requests");
const HOST: &str = "test-host";
/// What an agent ends with that the kernel does not let count.
const UNAVAILABLE: i32 = 69;

/// It ended by itself: the kernel does not let it count.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

/// Ended with the case.
pub struct Agent {
    child: Child,
    folder: Option<TempDir>,
    socket: PathBuf,
    log: PathBuf,
}

impl Agent {
    pub fn start() -> Result<Self> {
        Self::start_in(tempfile::tempdir()?)
    }

    pub fn start_in(folder: TempDir) -> Result<Self> {
        Self::start_with(folder, &[])
    }

    /// With further arguments.
    pub fn start_with(folder: TempDir, more: &[&str]) -> Result<Self> {
        let mut agent = Self::beside(folder, more)?;
        agent.wait_ready()?;
        Ok(agent)
    }

    /// Starts one where another may serve.
    pub fn beside(folder: TempDir, more: &[&str]) -> Result<Self> {
        Self::spawn(folder, more, &mut Command::new(AGENT))
    }

    /// The same in what looks like a pod.
    pub fn in_pod(folder: TempDir) -> Result<Self> {
        Self::spawn(folder, &[], Command::new(AGENT).env("KUBERNETES_SERVICE_HOST", "127.0.0.1"))
    }

    /// The same beside an API server at this address, and with metrics at another.
    pub fn named_by(folder: TempDir, api_server: SocketAddr, metrics: SocketAddr) -> Result<Self> {
        let file = folder.path().join("kubeconfig");
        let text = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{api_server}")}}],
            "users": [{"name": "u", "user": {}}],
        });
        fs::write(&file, text.to_string())?;
        let (kubeconfig, metrics) =
            (format!("--kubeconfig={}", file.display()), format!("--metrics-address={metrics}"));
        Self::beside(folder, &["--node-name=node-1", &kubeconfig, &metrics])
    }

    fn spawn(folder: TempDir, more: &[&str], command: &mut Command) -> Result<Self> {
        let log = (1..).map(|number| folder.path().join(format!("{number}.log"))).find(|log| !log.exists());
        let log = log.context("a name for its log")?;
        let child = command
            .args(["--no-terminal", "--log-level=info", "--log-format=json", "--hostname", HOST, "--plugins-root"])
            .arg(folder.path())
            .args(more)
            .stdin(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()?;
        let socket = socket_path(folder.path());
        Ok(Self { child, folder: Some(folder), socket, log })
    }

    /// The folder, for the next one.
    pub fn give_folder(&mut self) -> Result<TempDir> {
        self.folder.take().context("a folder")
    }

    /// What its counts started from, once it counts.
    pub fn started_from(&self) -> Result<String> {
        let origin = wait_for("what it started from", || {
            let lines: Vec<Value> = self.said()?.lines().map_while(|line| serde_json::from_str(line).ok()).collect();
            Ok(lines.iter().find_map(|line| line["started_from"].as_str().map(str::to_owned)))
        });
        origin.with_context(|| self.said().unwrap_or_default())
    }

    /// Where it serves.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Waits until it has said this so often.
    pub fn wait_said(&self, line: &str, times: usize) -> Result<()> {
        wait_for(line, || Ok((self.said()?.matches(line).count() >= times).then_some(())))
    }

    /// Waits until it has ended by itself, as it should.
    pub fn wait_ended(&mut self) -> Result<()> {
        let status = wait_for("it to end", || Ok(self.child.try_wait()?))?;
        ensure!(status.success(), "it ended with {status}: {}", self.said()?);
        Ok(())
    }

    /// Ends it now, and waits until it is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.child.wait()?;
        Ok(())
    }

    /// Readiness is said once the probe is attached and a tick has run.
    pub fn wait_ready(&mut self) -> Result<()> {
        wait_for("it to count or to end", || {
            if let Some(status) = self.child.try_wait()? {
                let said = self.said()?;
                ensure!(status.code() == Some(UNAVAILABLE), "{status}: {said}");
                return Err(Refused(said).into());
            }
            Ok(self.ready()?.then_some(()))
        })
    }

    /// How many links it has to files in which TLS ends.
    pub fn links(&self) -> Result<usize> {
        let mut links = 0;
        for descriptor in fs::read_dir(format!("/proc/{}/fdinfo", self.child.id()))? {
            let about = fs::read_to_string(descriptor?.path()).unwrap_or_default();
            links += usize::from(about.contains("link_type:\tuprobe_multi"));
        }
        Ok(links)
    }

    /// What it said.
    pub fn said(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }

    fn ready(&self) -> Result<bool> {
        let root = self.folder.as_ref().map(TempDir::path).context("a folder")?;
        Ok(Command::new(AGENT).args(["health", "ready", "--plugins-root"]).arg(root).output()?.status.success())
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// What the report says of a process.
    fn node(&self, server: &impl Served) -> Result<Value> {
        let mut report = get(&self.socket, "/report")?;
        Ok(report["Process"]["nodes"][format!("{HOST};{}", server.pid())].take())
    }

    pub fn total(&self, server: &impl Served) -> Result<Option<u64>> {
        let node = self.node(server)?;
        let total = node["latest"]["http_requests_total"]["value"].as_str();
        Ok(total.map(str::parse).transpose()?)
    }

    /// Requests of all processes that ever were.
    pub fn total_of_host(&self) -> Result<u64> {
        let mut report = get(&self.socket, "/report")?;
        let node = report["Host"]["nodes"][format!("{HOST};<host>")].take();
        Ok(node["latest"]["http_requests_total"]["value"].as_str().context("no total")?.parse()?)
    }

    /// Connections of the machine that were open before, and are certain again.
    pub fn certain_again(&self) -> Result<u64> {
        let overview = get(&self.socket, "/overview")?;
        let certainty = overview["certainty"].as_str().context("how certain it is")?;
        let (_, rest) = certainty.split_once("certain again ").unwrap_or_default();
        let digits =
            rest.split(|character: char| !character.is_ascii_digit()).next().filter(|digits| !digits.is_empty());
        Ok(digits.map_or(Ok(0), str::parse)?)
    }

    /// Waits for so many readings.
    pub fn wait_ticks(&self, ticks: usize) -> Result<()> {
        let mut last = get(&self.socket, "/overview")?["at"].take();
        for _ in 0..ticks {
            last = wait_for("a tick", || {
                let at = get(&self.socket, "/overview")?["at"].take();
                Ok((at != last).then_some(at))
            })?;
        }
        Ok(())
    }

    pub fn rates(&self, server: &impl Served) -> Result<Vec<f64>> {
        let node = self.node(server)?;
        let samples = node["metrics"]["http_requests_per_second"]["samples"].as_array().context("no samples")?;
        Ok(samples.iter().filter_map(|sample| sample["value"].as_f64()).collect())
    }

    /// `None` where responses are not counted.
    pub fn answered(&self, server: &impl Served) -> Result<Option<u64>> {
        let overview = get(&self.socket, "/overview")?;
        if overview["answered"].is_null() {
            return Ok(None);
        }
        let rows = overview["tables"][0]["rows"].as_array().context("rows of processes")?;
        let row = rows.iter().find(|row| row["pid"] == server.pid()).context("the server's row")?;
        Ok(Some(row["answered"]["responses"].as_u64().unwrap_or(0)))
    }

    /// Each request of a server that receives no more has its response.
    pub fn expect_all_answered(&self, server: &impl Served) -> Result<()> {
        let total = self.total(server)?.context("the server is shown no more")?;
        let mut answered = None;
        let waited = wait_for("the responses", || {
            answered = self.answered(server)?;
            Ok(answered.is_none_or(|answered| answered == total).then_some(()))
        });
        waited.with_context(|| format!("{answered:?} responses to {total} requests"))
    }

    /// All requests of the machine are answered, unanswered, lost by name or in flight, at any tick.
    pub fn expect_sums(&self) -> Result<()> {
        let overview = get(&self.socket, "/overview")?;
        let number = |value: &Value| value.as_u64().context("a number");
        if overview["answered"].is_null() {
            return Ok(());
        }
        let total = number(&overview["total"])?;
        let answered = number(&overview["answered"]["responses"])?;
        let [unanswered, lost, in_flight] = ["unanswered", "lost_responses", "in_flight"].map(|name| &overview[name]);
        let (unanswered, lost, in_flight) = (number(unanswered)?, number(lost)?, number(in_flight)?);
        ensure!(
            total == answered + unanswered + lost + in_flight,
            "{total} requests, and {answered} answered, {unanswered} not, {lost} lost, {in_flight} in flight"
        );
        let rows = overview["tables"][0]["rows"].as_array().context("rows of processes")?;
        for row in rows.iter().filter(|row| !row["answered"].is_null()) {
            let (total, answered) = (number(&row["total"])?, number(&row["answered"]["responses"])?);
            ensure!(answered <= total, "{answered} responses of {total} requests: {}", row["name"]);
        }
        Ok(())
    }

    /// Waits for a report in which the process has a total as wanted.
    pub fn wait_for(&self, server: &impl Served, is_wanted: impl Fn(u64) -> bool) -> Result<()> {
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

fn get(socket: &Path, path: &str) -> Result<Value> {
    let mut stream = UnixStream::connect(socket)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: plugin\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    serde_json::from_str(body).with_context(|| format!("no report: {answer}"))
}

//! The agent as it is delivered: its own process.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_scope-http-requests");
const PATIENCE: Duration = Duration::from_secs(20);

/// A running agent whose probe is attached. Ended when dropped.
pub(crate) struct AgentProcess {
    child: Child,
    folder: PathBuf,
    _owned: Option<TempDir>,
}

impl AgentProcess {
    pub(crate) fn start() -> io::Result<Self> {
        Self::start_with(&[])
    }

    /// With further arguments.
    pub(crate) fn start_with(arguments: &[OsString]) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut agent = Self::spawn(folder.path(), arguments)?;
        agent._owned = Some(folder);
        let deadline = Instant::now() + PATIENCE;
        while !agent.is_attached() {
            agent.ensure_running(deadline)?;
            thread::sleep(Duration::from_millis(10));
        }
        Ok(agent)
    }

    /// One that has just begun to start, in a folder that is there for as long as it runs.
    pub(crate) fn spawn(folder: &Path, arguments: &[OsString]) -> io::Result<Self> {
        let log = File::create(folder.join("log"))?;
        let child = Command::new(BINARY)
            .args(["--no-terminal", "--log-level=warn", "--hostname=bench", "--plugins-root"])
            .arg(folder)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Self { child, folder: folder.to_owned(), _owned: None })
    }

    /// Fails if it has ended, or is at work beyond the deadline.
    pub(crate) fn ensure_running(&mut self, deadline: Instant) -> io::Result<()> {
        if Instant::now() > deadline || self.child.try_wait()?.is_some() {
            let log = fs::read_to_string(self.folder.join("log"))?;
            return Err(io::Error::other(format!("the agent does not count: {log}")));
        }
        Ok(())
    }

    /// Kills it, and waits until it is gone. It leaves what it has in its folder.
    pub(crate) fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Whether it says that it counts.
    pub(crate) fn is_ready(&self) -> bool {
        self.exchange("/health/ready").is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200 "))
    }

    /// Waits until it knows of so many processes.
    pub(crate) fn wait_for(&self, processes: usize) -> io::Result<()> {
        let known = |json: &str| serde_json::from_str::<Value>(json).ok()?["processes"].as_u64();
        self.wait_until("overview", |answer| known(answer).is_some_and(|known| known >= processes as u64))
    }

    /// Waits until it answers so.
    pub(crate) fn wait_until(&self, path: &str, is_so: impl Fn(&str) -> bool) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = String::from_utf8_lossy(&self.ask(&format!("/{path}"))?).into_owned();
            if is_so(&answer) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let start: String = answer.chars().take(300).collect();
                return Err(io::Error::other(format!("the agent's last answer at /{path}: {start}")));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until it has counted so many requests of these processes.
    pub(crate) fn wait_until_counted(&self, pids: &[u32], requests: u64) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let counted = self.counted(pids)?;
            if counted >= requests {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("the agent has counted {counted} of {requests}")));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(mut self) -> io::Result<()> {
        self.end();
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("the agent ended with {status}"))) }
    }

    /// Requests by these processes, as its report has them.
    pub(crate) fn counted(&self, pids: &[u32]) -> io::Result<u64> {
        let report: Value = serde_json::from_slice(&self.ask("/report")?)?;
        let total = |pid: &u32| {
            let node = &report["Process"]["nodes"][format!("bench;{pid}")];
            node["latest"]["http_requests_total"]["value"].as_str()?.parse::<u64>().ok()
        };
        Ok(pids.iter().filter_map(total).sum())
    }

    /// What it answers on the plugin socket.
    pub(crate) fn ask(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut answer = self.exchange(path)?;
        let body = answer.windows(4).position(|end| end == b"\r\n\r\n").map(|end| answer.split_off(end + 4));
        body.ok_or_else(|| io::Error::other("the agent's answer has no end of its head"))
    }

    fn exchange(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut socket = UnixStream::connect(self.folder.join("http-requests/http-requests.sock"))?;
        write!(socket, "GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer)?;
        Ok(answer)
    }

    /// Whether it holds the link of an attached program.
    fn is_attached(&self) -> bool {
        let Ok(entries) = fs::read_dir(format!("/proc/{}/fdinfo", self.pid())) else { return false };
        let is_link = |path| fs::read_to_string(path).is_ok_and(|text| text.contains("\nlink_type:"));
        entries.flatten().any(|entry| is_link(entry.path()))
    }

    fn end(&self) {
        if let Some(pid) = Pid::from_raw(self.pid().cast_signed()) {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        // Once waited for, its number may be another's.
        if let Ok(None) = self.child.try_wait() {
            self.end();
            let _ = self.child.wait();
        }
    }
}

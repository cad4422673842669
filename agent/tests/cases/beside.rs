//! The whole agent, in a process beside a case: this binary in another role, so that it runs inside other kernels, too.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};

use agent::kernel::{Kernel, LoadError};
use agent::processes::ProcessTable;
use agent::run::run;
use agent::scope::plugin::socket_path;
use agent::settings::cli::{self, Call};
use agent::settings::environment;
use agent::telemetry;
use agent::watchdog::Watched;
use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::wait_for;

pub const ROLE: &str = "agent";
const HOST: &str = "test-host";
/// Where it moves itself before it begins; what follows are its arguments.
const SAME_CGROUP: &str = "-";

/// What the agent's `main` does.
pub fn play(arguments: &[String]) -> io::Result<()> {
    let [cgroup, arguments @ ..] = arguments else { return Err(io::Error::other("no cgroup")) };
    if cgroup != SAME_CGROUP {
        fs::write(format!("{cgroup}/cgroup.procs"), "0")?;
    }
    let arguments = ["agent".into()].into_iter().chain(arguments.iter().map(OsString::from));
    let Ok(Call::Count(config)) = cli::parse(arguments.collect::<Vec<_>>(), environment::of_process()) else {
        return Err(io::Error::other("these arguments do not ask it to count"));
    };
    let _ = telemetry::start(&config, false);
    let probe = config.probe;
    let hung = |line: String| {
        eprintln!("{line}");
        std::process::abort();
    };
    let load = |_| Ok::<_, LoadError>(Watched::new(Kernel::load(probe)?, hung));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime
        .block_on(run(*config, None, load, ProcessTable::new()))
        .map(drop)
        .map_err(|failure| io::Error::other(failure.to_string()))
}

/// It, counting.
pub struct Beside {
    child: Child,
    folder: TempDir,
    /// How many requests it was sent: they count as well.
    pub asked: u64,
}

/// A rate that was reported, and when it was.
pub struct Sample {
    pub at: Timestamp,
    pub rate: f64,
}

/// What it says of this process.
pub struct Said {
    pub total: u64,
    pub samples: Vec<Sample>,
}

impl Beside {
    pub fn start() -> Result<Self> {
        Self::start_in(SAME_CGROUP)
    }

    /// In a cgroup, by its folder.
    pub fn start_in(cgroup: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let own = ["--no-terminal", "--log-format=human", "--hostname", HOST, "--plugins-root"];
        let mut arguments = vec![cgroup.to_owned()];
        arguments.extend(own.map(str::to_owned));
        arguments.push(folder.path().display().to_string());
        let log = File::create(folder.path().join("log"))?;
        let mut command = crate::processes::in_role(ROLE, &arguments);
        let child = command.stdin(Stdio::null()).stderr(log).spawn()?;
        let mut beside = Self { child, folder, asked: 0 };
        // Not before its probe is attached: it marks Unix sockets that are open by then, and the cases' probe sees the mark.
        wait_for("a word of the agent", || {
            ensure!(beside.child.try_wait()?.is_none(), "the agent ended: {}", beside.log());
            Ok(beside.log().contains("counting").then_some(()))
        })?;
        wait_for("the agent to count", || Ok(beside.is_ready()?.then_some(())))?;
        Ok(beside)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub fn is_ready(&mut self) -> Result<bool> {
        Ok(self.get("/health/ready")?.is_some_and(|answer| answer.starts_with("HTTP/1.1 200")))
    }

    /// `None` before it listens.
    fn get(&mut self, path: &str) -> Result<Option<String>> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the agent ended with {status}: {}", self.log());
        }
        let Ok(mut stream) = UnixStream::connect(socket_path(self.folder.path())) else { return Ok(None) };
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: plugin\r\nConnection: close\r\n\r\n").as_bytes())?;
        self.asked += 1;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(Some(answer))
    }

    /// What it says of this process; `None` before it has counted for it.
    pub fn said(&mut self) -> Result<Option<Said>> {
        let answer = self.get("/report")?.context("it listens no more")?;
        let report: Value = serde_json::from_str(answer.split_once("\r\n\r\n").context("no answer")?.1)?;
        let node = &report["Process"]["nodes"][format!("{HOST};{}", std::process::id())];
        let Some(total) = node["latest"]["http_requests_total"]["value"].as_str() else { return Ok(None) };
        let samples = node["metrics"]["http_requests_per_second"]["samples"].as_array().context("no samples")?;
        let sample = |sample: &Value| {
            let at = sample["date"].as_str().context("no date")?.parse()?;
            Ok(Sample { at, rate: sample["value"].as_f64().context("no value")? })
        };
        Ok(Some(Said { total: total.parse()?, samples: samples.iter().map(sample).collect::<Result<_>>()? }))
    }

    /// Waits until it says of this process what is wanted.
    pub fn until(&mut self, what: &str, is_wanted: impl Fn(&Said) -> bool) -> Result<Said> {
        let mut last = String::new();
        let found = wait_for(what, || {
            let said = self.said()?;
            if let Some(said) = &said {
                let samples = said.samples.iter().map(|sample| format!("{} {}", sample.at, sample.rate));
                last = format!("total {}, {}", said.total, samples.collect::<Vec<_>>().join(", "));
            }
            Ok(said.filter(&is_wanted))
        });
        found.with_context(|| format!("it said {last}"))
    }

    /// Ends it as Kubernetes does, and returns its log.
    pub fn finish(mut self) -> Result<String> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the agent ended with {status}: {}", self.log());
        Ok(self.log())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! Which machine, kernel and state of the sources the figures belong to.

use std::fmt::{self, Display, Formatter};
use std::process::Command;
use std::{env, fs, thread};

use jiff::Timestamp;
use serde::Serialize;

/// Above this load average at the start, others were using the processors.
const BUSY: f64 = 0.3;

#[derive(Serialize)]
pub(crate) struct Machine {
    date: String,
    /// The commit, with a `+` if the sources differ from it.
    commit: String,
    cpu: String,
    cpus: usize,
    kernel: String,
    /// Over the minute before.
    load_average: f64,
    /// `kernel.bpf_stats_enabled`: 1 makes every program dearer, in every figure.
    bpf_stats: bool,
}

impl Machine {
    pub(crate) fn look() -> Self {
        Self {
            date: Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            commit: commit(),
            cpu: cpu_model(),
            cpus: thread::available_parallelism().map_or(0, usize::from),
            kernel: format!("{} {}", read("/proc/sys/kernel/osrelease"), env::consts::ARCH),
            load_average: read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
            bpf_stats: read("/proc/sys/kernel/bpf_stats_enabled") == "1",
        }
    }
}

impl Display for Machine {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "date     {}, commit {}", self.date, self.commit)?;
        writeln!(f, "machine  {}, {} CPUs", self.cpu, self.cpus)?;
        writeln!(f, "kernel   Linux {}", self.kernel)?;
        write!(f, "load     {} over the last minute", self.load_average)?;
        if self.load_average > BUSY {
            write!(f, ": NOISY, others use this machine")?;
        }
        if self.bpf_stats {
            write!(f, "\nkernel.bpf_stats_enabled is 1: every program costs more than it does without")?;
        }
        Ok(())
    }
}

/// Programs are loaded into the kernel by root only.
pub(crate) fn lacks_root() -> Option<&'static str> {
    (!rustix::process::geteuid().is_root()).then_some("needs root")
}

pub(crate) fn has_command(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

fn cpu_model() -> String {
    let text = read("/proc/cpuinfo");
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| "unknown processor".to_owned(), |(_, model)| model.to_owned())
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|changes| !changes.is_empty());
    if changed { format!("{commit}+") } else { commit }
}

/// Empty if it cannot be read.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

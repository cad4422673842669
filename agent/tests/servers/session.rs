//! What one case starts and expects.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::probe::Count;
use crate::process::{Process, Tool};

/// A program that is not installed, or something that this machine lacks.
#[derive(Debug, thiserror::Error)]
#[error("{0} is missing here (.ci/setup test installs what the tests use)")]
pub struct Missing(pub String);

/// A running case: its files, its processes and what they should have counted.
pub struct Session {
    folder: TempDir,
    expected: BTreeMap<u32, Expected>,
    sent: Option<u64>,
    may_lose_sync: Vec<u32>,
}

struct Expected {
    name: String,
    requests: u64,
}

/// Expectation and count of one process.
struct Row {
    pid: u32,
    name: String,
    expected: u64,
    counted: Count,
    may_lose_sync: bool,
}

/// Expectation and count of a case.
pub struct Outcome {
    rows: Vec<Row>,
    sent: Option<u64>,
}

impl Session {
    /// With a folder of its own. This process is watched, too: clients in it count nothing.
    pub fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("servers-").tempdir()?;
        // Servers that give up root want to read in it.
        let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), everyone)?;
        let mut session = Self { folder, expected: BTreeMap::new(), sent: None, may_lose_sync: Vec::new() };
        session.watch("this test", process::id());
        Ok(session)
    }

    /// Files of this case.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a server. Whatever it and its children are not said to count, they count 0.
    pub fn start(&mut self, tool: Tool) -> Result<Process> {
        let process = Process::start(tool, self.folder())?;
        self.watch(&process.name, process.pid());
        Ok(process)
    }

    /// Runs a client to its end, which counts nothing; returns what it printed.
    pub fn run(&mut self, tool: Tool) -> Result<String> {
        let mut process = self.start(tool)?;
        process.wait()?;
        process.output()
    }

    /// Runs several clients at a time.
    pub fn run_all(&mut self, tools: impl IntoIterator<Item = Tool>) -> Result<()> {
        let started: Vec<_> = tools.into_iter().map(|tool| self.start(tool)).collect::<Result<_>>()?;
        started.into_iter().try_for_each(|mut process| process.wait())
    }

    /// A process of this case that counts nothing, unless something else is expected of it.
    pub fn watch(&mut self, name: &str, pid: u32) {
        self.expected.entry(pid).or_insert_with(|| Expected { name: name.to_owned(), requests: 0 });
    }

    /// A process should have counted so many requests more.
    pub fn expect(&mut self, name: &str, pid: u32, requests: u64) {
        self.watch(name, pid);
        if let Some(expected) = self.expected.get_mut(&pid) {
            name.clone_into(&mut expected.name);
            expected.requests += requests;
        }
    }

    /// An access log of which each line is the PID that served a request, or `-`; the server has
    /// stopped.
    pub fn expect_log(&mut self, name: &str, log: &Path) -> Result<u64> {
        let text = std::fs::read_to_string(log).with_context(|| format!("{}", log.display()))?;
        let mut requests = 0;
        for line in text.lines().filter(|line| *line != "-") {
            self.expect(name, line.trim().parse().with_context(|| format!("line {line:?} of the log"))?, 1);
            requests += 1;
        }
        Ok(requests)
    }

    /// How many requests the clients know they sent, over all servers.
    pub fn sent(&mut self, requests: u64) {
        *self.sent.get_or_insert(0) += requests;
    }

    /// A process may miss bytes, because it lets the kernel move them; it still says so.
    pub fn may_lose_sync(&mut self, pid: u32) {
        self.may_lose_sync.push(pid);
    }

    /// Compares with what was counted.
    pub fn outcome(self, counted: &HashMap<u32, Count>) -> Outcome {
        let row = |(pid, expected): (u32, Expected)| Row {
            pid,
            name: expected.name,
            expected: expected.requests,
            counted: counted.get(&pid).copied().unwrap_or_default(),
            may_lose_sync: self.may_lose_sync.contains(&pid),
        };
        Outcome { rows: self.expected.into_iter().map(row).collect(), sent: self.sent }
    }
}

impl Outcome {
    /// Over all processes.
    pub fn expected(&self) -> u64 {
        self.rows.iter().map(|row| row.expected).sum()
    }

    /// Over all processes of the case.
    pub fn counted(&self) -> u64 {
        self.rows.iter().map(|row| row.counted.requests).sum()
    }

    /// What is wrong; nothing if the case has passed.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        match self.sent {
            Some(sent) if sent != self.expected() => {
                complaints.push(format!("the clients sent {sent}, the servers say {}", self.expected()));
            }
            None if self.expected() == 0 => complaints.push("no server says that it received anything".to_owned()),
            _ => {}
        }
        for row in &self.rows {
            if row.expected != row.counted.requests {
                let Row { pid, name, expected, counted, .. } = row;
                complaints.push(format!("{name} ({pid}) expected {expected}, counted {}", counted.requests));
            }
            if row.counted.unsynced > 0 && !row.may_lose_sync {
                complaints.push(format!("{} ({}) unsynced {}", row.name, row.pid, row.counted.unsynced));
            }
        }
        complaints
    }

    /// What is wrong may be calls that the kernel skipped: no process has more than it should, but for those
    /// of which a connection stopped being certain (of Unix sockets, a body of requests may then count).
    pub fn may_lack_calls(&self) -> bool {
        self.rows.iter().all(|row| row.counted.requests <= row.expected || row.counted.unsynced > 0)
    }

    /// Counts by name: `nginx 10+12, curl 0`.
    pub fn summary(&self) -> String {
        let mut by_name: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for row in &self.rows {
            by_name.entry(&row.name).or_default().push(row.counted.requests);
        }
        let summary = by_name.iter().map(|(name, counts)| {
            let mut counts = counts.clone();
            counts.sort_unstable();
            counts.dedup_by(|next, kept| *next == 0 && *kept == 0);
            if counts.len() > 8 {
                return format!("{name} {} processes", counts.len());
            }
            let counts: Vec<_> = counts.iter().map(u64::to_string).collect();
            format!("{name} {}", counts.join("+"))
        });
        summary.collect::<Vec<_>>().join(", ")
    }
}

/// Fails as [`Missing`] unless this machine has IPv6 on loopback.
pub fn need_ipv6() -> Result<()> {
    match std::net::TcpListener::bind("[::1]:0") {
        Ok(_) => Ok(()),
        Err(error) => Err(Missing(format!("IPv6 on loopback ({error})")).into()),
    }
}

//! What one case starts and expects.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process;

use agent::counting::plaintext::{Look, Plaintext, Receiver};
use agent::kernel::LoadError;
use anyhow::{Context as _, Result, bail};
use common::maps::ProcessKey;
use tempfile::TempDir;

use crate::probe::Count;
use crate::process::{Missing, Process, Tool};

/// Something that this kernel cannot do. What is to be installed would not change it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Lacking(pub LoadError);

/// A running case: its files, its processes and what they should have counted.
pub struct Session {
    folder: TempDir,
    expected: BTreeMap<u32, Expected>,
    sent: Option<u64>,
    may_lose_sync: Vec<u32>,
    may_miss: Vec<u32>,
    plaintext: Option<Box<dyn Plaintext>>,
    reads_tls: bool,
}

#[derive(Default)]
struct Expected {
    name: String,
    requests: u64,
    tls_connections: u64,
    /// By status, where the server says so.
    responses: BTreeMap<u32, u64>,
}

/// Expectation and count of one process.
struct Row {
    pid: u32,
    name: String,
    expected: u64,
    tls_connections: u64,
    responses: BTreeMap<u32, u64>,
    counted: Count,
    may_lose_sync: bool,
    may_miss: bool,
}

/// Expectation and count of a case.
pub struct Outcome {
    rows: Vec<Row>,
    sent: Option<u64>,
    reads_tls: bool,
}

impl Session {
    /// With a folder of its own. This process is watched, too: clients in it count nothing.
    pub fn new(plaintext: Option<Box<dyn Plaintext>>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("servers-").tempdir()?;
        // Servers that give up root want to read in it.
        let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), everyone)?;
        let (expected, may_lose_sync) = (BTreeMap::new(), Vec::new());
        let mut session =
            Self { folder, expected, sent: None, may_lose_sync, may_miss: Vec::new(), plaintext, reads_tls: false };
        session.watch("this test", process::id());
        Ok(session)
    }

    /// Files of this case.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Reads requests in TLS from now on, of this process and all that use the same library.
    pub fn read_tls(&mut self, name: &str, pid: u32) -> Result<()> {
        let plaintext = self.plaintext.as_mut().context("TLS is not read in this case")?;
        self.reads_tls = true;
        let receiver = Receiver { key: ProcessKey::default(), pid: Some(pid), command: name.to_owned() };
        match plaintext.look_at(&receiver) {
            Look::Read(_) => Ok(()),
            Look::Unread { reason, detail } => bail!("TLS of {name} is not read: {reason}: {detail}"),
        }
    }

    /// A process has received so many requests, of which some may have been missed.
    pub fn at_most(&mut self, name: &str, pid: u32, requests: u64) {
        self.expect(name, pid, requests);
        self.may_miss.push(pid);
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
        self.expected.entry(pid).or_insert_with(|| Expected { name: name.to_owned(), ..Expected::default() });
    }

    /// A process should have counted so many requests more.
    pub fn expect(&mut self, name: &str, pid: u32, requests: u64) {
        self.watch(name, pid);
        if let Some(expected) = self.expected.get_mut(&pid) {
            name.clone_into(&mut expected.name);
            expected.requests += requests;
        }
    }

    /// A process should have received so many TLS connections more.
    pub fn expect_tls(&mut self, name: &str, pid: u32, connections: u64) {
        self.expect(name, pid, 0);
        if let Some(expected) = self.expected.get_mut(&pid) {
            expected.tls_connections += connections;
        }
    }

    /// An access log of which each line is the PID that served a request, or `-`, and perhaps the status; the server has
    /// stopped.
    pub fn expect_log(&mut self, name: &str, log: &Path) -> Result<u64> {
        let text = std::fs::read_to_string(log).with_context(|| format!("{}", log.display()))?;
        let mut requests = 0;
        for line in text.lines().filter(|line| !line.starts_with('-')) {
            let number = |text: &str| text.parse().with_context(|| format!("line {line:?} of the log"));
            let mut words = line.split_whitespace();
            let pid = number(words.next().unwrap_or_default())?;
            self.expect(name, pid, 1);
            if let (Some(status), Some(expected)) = (words.next(), self.expected.get_mut(&pid)) {
                *expected.responses.entry(number(status)?).or_default() += 1;
            }
            requests += 1;
        }
        Ok(requests)
    }

    /// A process should have answered all of its requests so, as its clients saw.
    pub fn expect_answers(&mut self, pid: u32, status: u32) {
        if let Some(expected) = self.expected.get_mut(&pid) {
            expected.responses = BTreeMap::from([(status, expected.requests)]);
        }
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
            tls_connections: expected.tls_connections,
            responses: expected.responses,
            counted: counted.get(&pid).cloned().unwrap_or_default(),
            may_lose_sync: self.may_lose_sync.contains(&pid),
            may_miss: self.may_miss.contains(&pid),
        };
        Outcome { rows: self.expected.into_iter().map(row).collect(), sent: self.sent, reads_tls: self.reads_tls }
    }
}

impl Row {
    /// Each request has a response, or is said to have none that is known; and each status is what the server logged.
    fn complaint_of_responses(&self) -> Option<String> {
        let Count { requests, unanswered, lost, untimed, responses, .. } = &self.counted;
        let answered = self.counted.answered();
        let adds_up = answered + unanswered + lost == *requests;
        let as_logged = self.responses.is_empty() || *lost > 0 || self.responses == *responses;
        if adds_up && as_logged {
            return None;
        }
        let Self { name, pid, .. } = self;
        Some(format!(
            "{name} ({pid}) of {requests} requests {answered} answered, {unanswered} not, {lost} lost, {untimed} untimed; \
             logged {:?}, counted {responses:?}",
            self.responses
        ))
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
        let lost: u64 = self.rows.iter().map(|row| row.counted.lost).sum();
        if lost > 0 {
            complaints.push(format!("{lost} responses lost"));
        }
        for row in &self.rows {
            complaints.extend(row.complaint_of_responses());
            if row.may_miss && (1..=row.expected).contains(&row.counted.requests) {
                continue;
            }
            if row.expected != row.counted.requests {
                let Row { pid, name, expected, counted, .. } = row;
                complaints.push(format!("{name} ({pid}) expected {expected}, counted {}", counted.requests));
            }
            // Each connection is a session.
            let Count { requests, tls_sessions, tls_connections, .. } = row.counted;
            let is_read = requests > 0 || tls_sessions > 0;
            if self.reads_tls && is_read && tls_sessions != tls_connections {
                complaints.push(format!(
                    "{} ({}) {tls_sessions} sessions in {tls_connections} connections",
                    row.name, row.pid
                ));
            }
            if row.counted.unsynced > 0 && !row.may_lose_sync {
                complaints.push(format!("{} ({}) unsynced {}", row.name, row.pid, row.counted.unsynced));
            }
            if self.reads_tls {
                continue;
            }
            if row.tls_connections != row.counted.tls_connections {
                let Row { pid, name, tls_connections, counted, .. } = row;
                let counted = counted.tls_connections;
                complaints
                    .push(format!("{name} ({pid}) expected {tls_connections} TLS connections, counted {counted}"));
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

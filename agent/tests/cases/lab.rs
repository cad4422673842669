//! Runs cases one after another and compares what they expect with what the probe counted.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use agent::counting::counts::{Pid, Reading};
use agent::counting::responses::Responses;
use agent::counting::tick::Probe as _;
use agent::kernel::{Kernel, LoadError, Sends, Uprobes};
use common::exchange::Untold;
use common::failure::Failure;
use common::maps::ProcessKey;

use crate::MOST_VERIFIED;
use crate::harness::caught;

/// What a case expects the probe to have counted since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Requests of this process.
    pub here: u64,
    /// Requests of processes that this one started.
    pub elsewhere: u64,
    /// TLS connections of all of these.
    pub tls: u64,
    /// TLS sessions of all of these.
    pub sessions: u64,
    /// Losses of the whole machine, by cause: other processes may add to them.
    pub losses: Vec<(Failure, u64)>,
    /// Connections of the whole machine that became certain again, likewise.
    pub resynced: u64,
    /// Losses of the whole machine that would be many more if the case went wrong; others may add to them, too.
    pub fewer_than: Vec<(Failure, u64)>,
    /// On a kernel that preempts tasks inside the probe, calls may be skipped; then they must show.
    pub may_be_skipped: bool,
}

impl Expected {
    fn sum(&self) -> u64 {
        self.here + self.elsewhere + self.tls
    }

    fn is_met_by(&self, counted: &Counted) -> bool {
        // A connection that has carried no request belongs to no process yet.
        let of_nobody = [Failure::Joined, Failure::StorageFull, Failure::NoRequestLine];
        let is_own = |cause| self.here + self.elsewhere > 0 && !of_nobody.contains(&cause);
        let own: u64 = self.losses.iter().filter(|(cause, _)| is_own(*cause)).map(|(_, count)| count).sum();
        let losses = self.losses.iter().all(|(cause, count)| counted.failures[*cause as usize] >= *count);
        let few = self.fewer_than.iter().all(|(cause, count)| counted.failures[*cause as usize] < *count);
        let requests = (counted.here, counted.elsewhere, counted.tls, counted.sessions)
            == (self.here, self.elsewhere, self.tls, self.sessions);
        // What the kernel skipped is lost; that it is said is what can be asked for.
        let skipped = counted.skipped_calls > 0 && self.may_be_skipped;
        if skipped && counted.here <= self.here {
            return true;
        }
        requests && losses && few && counted.unsynced == own && counted.resynced >= self.resynced
    }
}

/// So many requests of this process, and nothing else.
pub fn here(requests: u64) -> Expected {
    Expected { here: requests, ..Expected::default() }
}

/// So many requests of other processes, and nothing else.
pub fn elsewhere(requests: u64) -> Expected {
    Expected { elsewhere: requests, ..Expected::default() }
}

/// So many TLS connections of this process, and nothing else.
pub fn tls(connections: u64) -> Expected {
    Expected { tls: connections, ..Expected::default() }
}

/// What a case does.
type Action = Box<dyn FnOnce(&mut Lab) -> io::Result<()>>;

/// One case: what it does, and what that must count as.
pub struct Case {
    pub name: String,
    pub expected: Expected,
    pub run: Action,
}

impl Case {
    pub fn new(
        name: impl Into<String>,
        expected: Expected,
        run: impl FnOnce(&mut Lab) -> io::Result<()> + 'static,
    ) -> Self {
        Self { name: name.into(), expected, run: Box::new(run) }
    }
}

/// The probe, and the sums at the last look.
pub struct Lab {
    kernel: Kernel,
    seen: Counted,
    expected: Option<Expected>,
    uprobes: Option<Uprobes>,
}

/// Whether a process of this name is this binary, started again.
pub fn is_this_binary(command: &str) -> bool {
    command == "exe" || command.starts_with("cases")
}

/// Sums at one look, or what was added since another.
#[derive(Clone, Debug, Default)]
struct Counted {
    here: u64,
    elsewhere: u64,
    tls: u64,
    sessions: u64,
    /// How often connections of this process became unsynced.
    unsynced: u64,
    failures: [u64; Failure::COUNT],
    resynced: u64,
    skipped_calls: u64,
}

impl Counted {
    fn of(reading: &Reading) -> Self {
        let pid = Some(Pid(std::process::id()));
        let (mut here, mut elsewhere, mut tls, mut sessions, mut unsynced) = (0, 0, 0, 0, 0);
        for process in &reading.processes {
            let requests = process.counts.requests.iter().sum::<u64>();
            if process.pid == pid || is_this_binary(&process.command) {
                tls += process.counts.tls_connections;
                sessions += process.counts.tls_sessions;
            }
            if process.pid == pid {
                here += requests;
                unsynced += process.counts.unsynced;
            } else if is_this_binary(&process.command) {
                elsewhere += requests;
            }
        }
        let Reading { failures, resynced, skipped_calls, .. } = *reading;
        Self { here, elsewhere, tls, sessions, unsynced, failures, resynced, skipped_calls }
    }

    fn since(&self, before: &Self) -> Self {
        let mut failures = self.failures;
        for (now, before) in failures.iter_mut().zip(before.failures) {
            *now -= before;
        }
        Self {
            here: self.here - before.here,
            elsewhere: self.elsewhere - before.elsewhere,
            tls: self.tls - before.tls,
            sessions: self.sessions - before.sessions,
            unsynced: self.unsynced - before.unsynced,
            failures,
            resynced: self.resynced - before.resynced,
            skipped_calls: self.skipped_calls - before.skipped_calls,
        }
    }
}

impl Lab {
    pub fn new(kernel: Kernel) -> Self {
        Self { kernel, seen: Counted::default(), expected: None, uprobes: None }
    }

    /// What was counted since the last call.
    fn since(&mut self) -> io::Result<Counted> {
        let now = Counted::of(&self.read()?);
        let added = now.since(&self.seen);
        self.seen = now;
        if added.skipped_calls > 0 {
            println!("note: the kernel skipped {} calls", added.skipped_calls);
        }
        Ok(added)
    }

    /// What the running case expects, where it learns that only now.
    pub fn expect(&mut self, expected: Expected) {
        self.expected = Some(expected);
    }

    /// Calls of the probe that the kernel skipped so far, at receives and at sends.
    pub fn skipped_calls(&mut self) -> io::Result<u64> {
        let sends = self.kernel.send_statistics()?.map_or(0, |sends| sends.skipped_calls);
        Ok(sends + self.read()?.skipped_calls)
    }

    /// The program for TLS libraries, loaded when it is first asked for.
    pub fn uprobes(&mut self) -> io::Result<&mut Uprobes> {
        let uprobes = match self.uprobes.take() {
            Some(uprobes) => uprobes,
            None => {
                let uprobes = self.kernel.uprobes().map_err(|error| match error {
                    LoadError::NoUprobes => io::Error::new(io::ErrorKind::Unsupported, error),
                    error => io::Error::other(error),
                })?;
                for (program, of) in uprobes.statistics()? {
                    let verified = of.verified_instructions;
                    println!("verified instructions of {program}: {verified}");
                    if verified > MOST_VERIFIED {
                        let text = format!("more than {MOST_VERIFIED} verified instructions of {program}");
                        return Err(io::Error::other(text));
                    }
                }
                uprobes
            }
        };
        Ok(self.uprobes.insert(uprobes))
    }

    /// Whether responses are counted here.
    pub fn counts_responses(&self) -> bool {
        matches!(self.kernel.sends(), Sends::Counted(_))
    }

    /// Whether the ends of Unix connections are seen here.
    pub fn sees_unix_closes(&self) -> bool {
        self.kernel.sees_unix_closes()
    }

    /// Responses of all processes, and who this one is; `None` where they are not counted.
    pub fn responses(&mut self) -> io::Result<Option<(Responses, ProcessKey)>> {
        let pid = Some(Pid(std::process::id()));
        let reading = self.read()?;
        let own = reading.processes.iter().find(|process| process.pid == pid);
        let key = own.map_or_else(ProcessKey::default, |process| process.key);
        Ok(self.kernel.read_responses()?.map(|responses| (responses, key)))
    }

    /// The same; an error where they are not counted.
    pub fn need_responses(&mut self) -> io::Result<(Responses, ProcessKey)> {
        let unsupported = || io::Error::new(io::ErrorKind::Unsupported, "this kernel tells nothing of sends");
        self.responses()?.ok_or_else(unsupported)
    }

    /// The process with this PID as the kernel knows it, if it has counted; the youngest.
    pub fn process(&mut self, pid: u32) -> io::Result<Option<ProcessKey>> {
        let reading = self.read()?;
        let of_pid = reading.processes.iter().filter(|process| process.pid == Some(Pid(pid)));
        Ok(of_pid.map(|process| process.key).max())
    }

    /// The youngest process of this binary that has counted.
    pub fn youngest(&mut self) -> io::Result<Option<ProcessKey>> {
        let reading = self.read()?;
        let ours = reading.processes.iter().filter(|process| is_this_binary(&process.command));
        Ok(ours.map(|process| process.key).max())
    }

    /// Where the probe reads what is sent.
    pub fn hook(&self) -> String {
        match self.kernel.sends() {
            Sends::Counted(hook) => hook.name(),
            _ => String::new(),
        }
    }

    /// Gives the slots of processes back that have ended, as the agent does.
    pub fn release(&mut self, ended: &[ProcessKey]) -> io::Result<()> {
        self.kernel.release(ended)
    }

    /// Events so far for which something of a response is not known, for this cause.
    pub fn untold(&mut self, cause: Untold) -> io::Result<u64> {
        Ok(self.kernel.read_responses()?.map_or(0, |responses| responses.untold[cause as usize]))
    }

    /// Whether the probe keeps state of this socket's connection.
    pub fn has_state(&self, socket: &impl AsRawFd) -> io::Result<bool> {
        self.kernel.has_state(socket)
    }

    pub fn read(&mut self) -> io::Result<Reading> {
        self.kernel.read_all(Duration::ZERO)
    }

    /// Runs every case; prints a table.
    pub fn run(&mut self, cases: Vec<Case>) -> ExitCode {
        println!("{:66} {:>8} {:>8}", "case", "expected", "counted");
        let (mut passed, mut failed, mut skipped) = (0, 0, 0);
        for case in cases {
            // What other processes of this machine received meanwhile is none of the case's.
            self.since().expect("the counts can be read");
            let done = caught(|| (case.run)(self)).map_err(io::Error::other).flatten();
            let counted = self.since().expect("the counts can be read");
            let expectation = self.expected.take().unwrap_or(case.expected);
            let (expected, total) = (expectation.sum(), counted.here + counted.elsewhere + counted.tls);
            let (verdict, count) = match done {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => (format!("SKIPPED: {error}"), &mut skipped),
                Err(error) => (format!("FAILED: {error}"), &mut failed),
                Ok(()) if expectation.is_met_by(&counted) => (String::new(), &mut passed),
                Ok(()) => (format!("FAILED: expected {expectation:?}, counted {counted:?}"), &mut failed),
            };
            *count += 1;
            println!("{:66} {expected:>8} {total:>8} {verdict}", case.name);
        }
        println!("{passed} passed, {failed} failed, {skipped} skipped");
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// One end of a connection.
pub trait End: Read + Write + std::os::fd::AsFd + Send {}
impl End for TcpStream {}
impl End for UnixStream {}

/// A new connection: the client's end, and the server's.
#[derive(Clone, Copy, Debug)]
pub enum Transport {
    V4,
    V6,
    /// An IPv4 client of a dual-stack socket.
    Mapped,
    Unix,
}

impl Transport {
    pub const ALL: [Self; 4] = [Self::V4, Self::V6, Self::Mapped, Self::Unix];

    /// For the name of a case.
    pub const fn suffix(self) -> &'static str {
        if matches!(self, Self::Unix) { ", over a Unix socket" } else { "" }
    }

    pub fn connect(self) -> io::Result<(Box<dyn End>, Box<dyn End>)> {
        let (listen, connect) = match self {
            Self::V4 => ("127.0.0.1:0", "127.0.0.1"),
            Self::V6 => ("[::1]:0", "::1"),
            Self::Mapped => ("[::]:0", "127.0.0.1"),
            Self::Unix => {
                let (client, server) = UnixStream::pair()?;
                return Ok((Box::new(client), Box::new(server)));
            }
        };
        let (client, server) = tcp(listen, connect)?;
        Ok((Box::new(client), Box::new(server)))
    }
}

fn tcp(listen: &str, connect: &str) -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind(listen)?;
    let client = TcpStream::connect((connect, listener.local_addr()?.port()))?;
    client.set_nodelay(true)?;
    Ok((client, listener.accept()?.0))
}

/// A TCP connection on loopback: the client's end, and the server's.
pub fn loopback() -> io::Result<(TcpStream, TcpStream)> {
    tcp("127.0.0.1:0", "127.0.0.1")
}

//! Processes that a case starts, and ends by their own PIDs.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, process};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::wait_for;

/// What is left for a process that a failed case leaves behind.
const LAST_WORD: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(2);
/// Below the ports that the kernel gives to clients, so that none of them is in the way.
const PORTS: std::ops::Range<u16> = 12_000..30_000;

/// A program that is not installed, or something that this machine lacks.
#[derive(Debug, thiserror::Error)]
#[error("{0} is missing here (.ci/setup test installs what the tests use)")]
pub struct Missing(pub String);

/// A program and its arguments.
pub struct Tool {
    name: String,
    command: Command,
}

/// A running program.
pub struct Process {
    /// The program's name.
    pub name: String,
    child: Child,
    output: PathBuf,
    errors: PathBuf,
    exit: Option<ExitStatus>,
}

/// A port that nobody listens on, on either loopback address.
pub fn free_port() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let count = PORTS.end - PORTS.start;
    let first = (process::id() % u32::from(count)) as u16;
    for _ in 0..count {
        let offset = (first + NEXT.fetch_add(1, Ordering::Relaxed) % count) % count;
        let port = PORTS.start + offset;
        let taken = |address: &str| {
            TcpListener::bind((address, port)).is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
        };
        if !taken("127.0.0.1") && !taken("::1") {
            return Ok(port);
        }
    }
    bail!("no port is free")
}

/// Waits until somebody accepts connections; this one says nothing.
pub fn wait_for_port(process: &mut Process, port: u16) -> Result<()> {
    let what = format!("{} to listen", process.name);
    wait_for(&what, || {
        process.ensure_running()?;
        Ok(TcpStream::connect(("127.0.0.1", port)).ok().map(drop))
    })
}

/// Where a program is; servers live in sbin, which an ordinary PATH leaves out.
fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(usual).map(|folder| folder.join(name)).find(|program| program.is_file())
}

impl Tool {
    /// A program that is installed.
    pub fn new(name: &str) -> Result<Self> {
        let program = find(name).ok_or_else(|| Missing(name.to_owned()))?;
        Ok(Self { name: name.to_owned(), command: Command::new(program) })
    }

    /// A program of a test's own.
    pub fn at(name: &str, program: &Path) -> Self {
        Self { name: name.to_owned(), command: Command::new(program) }
    }

    /// With one more argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// With arguments as one would type them; blanks part them.
    pub fn args(mut self, arguments: &str) -> Self {
        self.command.args(arguments.split_ascii_whitespace().map(OsString::from));
        self
    }

    /// In a process group of its own: Apache signals all of its group.
    pub fn apart(mut self) -> Self {
        self.command.process_group(0);
        self
    }

    /// With a variable in its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }
}

/// An interpreter that can import a module: the first in PATH, or the system's own.
pub fn python_with(module: &str) -> Option<PathBuf> {
    let candidates = ["python3", "/usr/bin/python3"];
    candidates.into_iter().map(PathBuf::from).find(|python| {
        let import = Tool::at("python3", Path::new(python)).arg("-c").arg(format!("import {module}"));
        output(import).is_ok_and(|status| status.success())
    })
}

/// Runs a program that is no part of a case.
pub fn output(mut tool: Tool) -> Result<ExitStatus> {
    let done = tool.command.stdin(Stdio::null()).output().with_context(|| tool.name.clone())?;
    Ok(done.status)
}

impl Process {
    /// Starts a program whose output goes to files in `folder`.
    pub fn start(mut tool: Tool, folder: &Path) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (output, errors) = (folder.join(format!("{number}.out")), folder.join(format!("{number}.err")));
        let child = tool
            .command
            .stdin(Stdio::piped())
            .stdout(File::create(&output)?)
            .stderr(File::create(&errors)?)
            .spawn()
            .with_context(|| format!("{} does not start", tool.name))?;
        Ok(Self { name: tool.name, child, output, errors, exit: None })
    }

    /// Its PID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The PIDs of its children.
    pub fn children(&self) -> Vec<u32> {
        let pid = self.pid();
        let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        text.split_ascii_whitespace().filter_map(|child| child.parse().ok()).collect()
    }

    /// What it has printed so far.
    pub fn output(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.output)?).into_owned())
    }

    /// The number after `word` at the start of a line that it prints, now or later.
    pub fn printed(&mut self, word: &str) -> Result<u64> {
        let what = format!("{} to print {word:?}", self.name);
        wait_for(&what, || {
            let ended = self.has_ended()?;
            let output = self.output()?;
            let (complete, _) = output.rsplit_once('\n').unwrap_or_default();
            match complete.lines().find_map(|line| line.strip_prefix(word)) {
                Some(number) => Ok(Some(number.trim().parse()?)),
                None if ended => bail!("{} ended and has not printed {word:?}: {}", self.name, self.complaint()),
                None => Ok(None),
            }
        })
    }

    /// Waits for its end, which must be a good one.
    pub fn wait(&mut self) -> Result<()> {
        let what = format!("{} to end", self.name);
        wait_for(&what, || Ok(self.has_ended()?.then_some(())))?;
        let good = self.exit.is_some_and(|exit| exit.success());
        ensure!(good, "{} ended with {:?}: {}", self.name, self.exit, self.complaint());
        Ok(())
    }

    /// Writes this to its input.
    pub fn say(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.child.stdin.as_mut().context("its input was closed")?.write_all(bytes)?)
    }

    /// Tells it to end gracefully by the end of its input, and waits.
    pub fn close_input(&mut self) -> Result<()> {
        drop(self.child.stdin.take());
        self.wait()
    }

    /// Tells it to end gracefully by a signal, and waits.
    pub fn stop(&mut self, signal: Signal) -> Result<()> {
        self.signal(signal);
        let what = format!("{} to end", self.name);
        wait_for(&what, || Ok(self.has_ended()?.then_some(())))
    }

    /// Fails if it has ended.
    pub fn ensure_running(&mut self) -> Result<()> {
        ensure!(!self.has_ended()?, "{} has ended: {}", self.name, self.complaint());
        Ok(())
    }

    fn has_ended(&mut self) -> Result<bool> {
        if self.exit.is_none() {
            self.exit = self.child.try_wait()?;
        }
        Ok(self.exit.is_some())
    }

    fn signal(&self, signal: Signal) {
        kill(self.pid(), signal);
    }

    /// The last lines of what it wrote about errors.
    fn complaint(&self) -> String {
        let text = fs::read(&self.errors).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().rev().take(4).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }
}

fn kill(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may just have ended by itself.
        let _ = kill_process(pid, signal);
    }
}

impl Drop for Process {
    /// What a failed case leaves is ended, workers included.
    fn drop(&mut self) {
        if self.has_ended().unwrap_or(true) {
            return;
        }
        let children = self.children();
        self.signal(Signal::TERM);
        let deadline = Instant::now() + LAST_WORD;
        while !self.has_ended().unwrap_or(true) {
            if Instant::now() > deadline {
                children.iter().for_each(|child| kill(*child, Signal::KILL));
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(POLL);
        }
    }
}

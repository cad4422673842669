//! Containers of runc: made, started, asked, ended, and gone with their test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, WaitOptions, set_child_subreaper, waitpid};
use serde_json::Value;

use crate::harness::wait_for;

/// Where runc keeps what it knows of its containers.
pub struct Runc {
    state: PathBuf,
}

impl Runc {
    /// Here, if there is a runc. Its containers become children of this process, which learns how they end.
    pub fn find(state: PathBuf) -> Result<Self> {
        let version = Command::new("runc").arg("--version").output().context("no runc: .ci/setup containers")?;
        ensure!(version.status.success(), "runc does not start");
        set_child_subreaper(Some(rustix::process::getpid()))?;
        Ok(Self { state })
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("runc");
        command.arg("--root").arg(&self.state).args(words);
        command
    }

    fn run(&self, words: &[&str]) -> Result<()> {
        let output = self.command(words).output()?;
        ensure!(output.status.success(), "runc {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

/// A container that waits to be started, or runs.
pub struct Container<'a> {
    runc: &'a Runc,
    pub id: String,
    /// Its first process, as the node numbers it.
    pub pid: u32,
    log: PathBuf,
    has_ended: bool,
}

impl<'a> Container<'a> {
    /// Everything is there but its program, which waits for [`Self::start`].
    pub fn create(runc: &'a Runc, id: &str, bundle: &Path, config: &Value) -> Result<Self> {
        fs::write(bundle.join("config.json"), config.to_string())?;
        let (log, pid_file) = (bundle.join("log"), bundle.join("pid"));
        let output = File::create(&log)?;
        let bundle = bundle.to_str().context("a path in UTF-8")?;
        let mut command =
            runc.command(&["create", "--bundle", bundle, "--pid-file", pid_file.to_str().context("UTF-8")?, id]);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let status = command.status()?;
        ensure!(status.success(), "runc create {id}: {}", fs::read_to_string(&log)?);
        let pid = fs::read_to_string(&pid_file)?.parse()?;
        Ok(Self { runc, id: id.to_owned(), pid, log, has_ended: false })
    }

    pub fn start(&self) -> Result<()> {
        self.runc.run(&["start", &self.id])
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Runs a command in it, as `kubectl exec` and the kubelet's probes do.
    pub fn exec(&self, words: &[&str]) -> Result<Output> {
        Ok(self.runc.command(&[&["exec", self.id.as_str()], words].concat()).stdin(Stdio::null()).output()?)
    }

    /// Asks it to end, and gives its exit code.
    pub fn stop(&mut self) -> Result<i32> {
        self.runc.run(&["kill", &self.id, "TERM"])?;
        self.wait()
    }

    /// Its exit code, once it has ended.
    pub fn wait(&mut self) -> Result<i32> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).context("a PID")?;
        let ended = wait_for("its end", || Ok(waitpid(Some(pid), WaitOptions::NOHANG)?));
        let Ok((_, status)) = ended else { bail!("{} does not end: {}", self.id, self.log()) };
        self.has_ended = true;
        status.exit_status().with_context(|| format!("{} was ended by a signal: {}", self.id, self.log()))
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.runc.run(&["delete", "--force", &self.id]) {
            eprintln!("{} stays behind: {error:#}", self.id);
        }
        if !self.has_ended {
            let _ = self.wait();
        }
    }
}

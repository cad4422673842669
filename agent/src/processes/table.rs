//! Which processes live, and who they are: /proc and pidfds. EDGE.
//!
//! A pidfd becomes readable when its process has ended, so one `epoll_wait` a tick tells of all of them
//! and processes that live cost nothing. Where no pidfd can be had (no descriptors left, a kernel
//! that lacks them), the start time in /proc is compared at each tick instead.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use common::maps::ProcessKey;
use rustix::process::{PidfdFlags, Resource, Rlimit, getrlimit, pidfd_open, setrlimit};

use super::pidfds::Pidfds;
use crate::counting::counts::{Pid, ProcessCounts};
use crate::counting::identity::{COMMAND_LINE_BYTES, Identity, command_line, start_ticks, ticks};
use crate::counting::tick::Processes;
use crate::pods::cgroup::{Candidate, MAX_TEXT_BYTES, candidates};
use crate::pods::cgroup_ids::CgroupIds;
use crate::pods::cgroup_tree;

/// A line of /proc/PID/stat is shorter: 16 bytes of command and 51 numbers.
const STAT_BYTES: usize = 2048;
/// The processes that are counted.
pub struct ProcessTable {
    pidfds: Pidfds,
    /// Those for which there is no descriptor: their /proc entry is compared at each tick.
    compared: Vec<(Pid, ProcessKey)>,
    /// Those that had ended before they were looked at.
    gone: Vec<ProcessKey>,
    unreadable: u64,
    cgroup_ids: CgroupIds,
    /// The cgroup v2 hierarchy, where there is one to be seen.
    cgroup_root: Option<PathBuf>,
    /// What the time between two walks is measured from.
    started: Instant,
    /// Whether it was said that descriptors have run out.
    said: bool,
}

/// How the end of a process is noticed.
#[derive(Debug, PartialEq, Eq)]
enum Watch {
    /// A descriptor tells.
    Pidfd,
    /// Its /proc entry is compared.
    Proc,
    /// It had ended before it was looked at.
    Gone,
    /// The agent's PID namespace does not show it, so its end cannot be seen.
    Invisible,
}

impl ProcessTable {
    /// Nothing watched yet. Lifts the limit of open files as far as it may go, one is needed per
    /// process.
    #[must_use]
    pub fn new() -> Self {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
            tracing::debug!(%error, "the limit of open files stays as it is");
        }
        Self {
            pidfds: Pidfds::default(),
            compared: Vec::new(),
            gone: Vec::new(),
            unreadable: 0,
            cgroup_ids: CgroupIds::default(),
            cgroup_root: None,
            started: Instant::now(),
            said: false,
        }
    }

    /// Finds the cgroups of processes that end within a tick in the cgroup v2 hierarchy at or below `mount`.
    #[must_use]
    pub fn with_cgroups(self, mount: &Path) -> Self {
        let cgroup_root = cgroup_tree::unified(mount);
        if cgroup_root.is_none() {
            tracing::info!(mount = %mount.display(), "no cgroup v2: processes that live for less than a second have no pod");
        }
        Self { cgroup_root, ..self }
    }

    fn watch(&mut self, process: &ProcessCounts) -> Watch {
        let Some(pid) = process.pid else { return Watch::Invisible };
        // First the descriptor, then the start time: if that matches, the descriptor is the
        // process's and not one of a later process with the same PID.
        let pidfd = open(pid);
        if matches!(pidfd, Err(rustix::io::Errno::SRCH)) || !lives(pid, &process.key) {
            self.gone.push(process.key);
            return Watch::Gone;
        }
        match pidfd.and_then(|pidfd| self.pidfds.watch(pidfd, process.key)) {
            Ok(()) => Watch::Pidfd,
            Err(error) => {
                self.say_once(error);
                self.compared.push((pid, process.key));
                Watch::Proc
            }
        }
    }

    fn say_once(&mut self, error: rustix::io::Errno) {
        if !std::mem::replace(&mut self.said, true) {
            tracing::warn!(%error, watched = self.pidfds.watched.len(),
                "no descriptor for the end of further processes: they are looked up in /proc each second; raise the limit of open files");
        }
    }

    /// What the process's cgroup says, or, once it has ended, what its cgroup's id is known to stand for.
    fn candidates(&mut self, process: &ProcessCounts, watch: &Watch) -> Box<[Candidate]> {
        let id = process.cgroup_id;
        if let (Watch::Pidfd | Watch::Proc, Some(pid)) = (watch, process.pid) {
            match read(pid, "cgroup", MAX_TEXT_BYTES) {
                // A process that ended after it was looked at leaves its text empty or at the root.
                Ok(text) if !text.is_empty() && lives(pid, &process.key) => {
                    let text = String::from_utf8_lossy(&text);
                    let found = candidates(&text);
                    // A runtime gives a container a cgroup namespace, in which the agent's own cgroup is called "/":
                    // what it is to the node only its id tells.
                    let is_own = found.is_empty() && text.lines().any(|line| line == "0::/");
                    if !is_own || self.cgroup_root.is_none() {
                        self.cgroup_ids.learn(id, &found);
                        return found.into();
                    }
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(pid = pid.0, %error, "no cgroup"),
            }
        }
        if let Some(root) = &self.cgroup_root
            && self.cgroup_ids.wants_walk(id, self.started.elapsed())
        {
            let ids = &mut self.cgroup_ids;
            cgroup_tree::walk(root, |id, found| ids.learn(id, found));
        }
        self.cgroup_ids.candidates(id).unwrap_or_default().into()
    }

    fn command_line(&mut self, pid: Pid) -> String {
        match read(pid, "cmdline", COMMAND_LINE_BYTES) {
            Ok(arguments) => command_line(&arguments),
            Err(error) => {
                self.unreadable += 1;
                tracing::debug!(pid = pid.0, %error, "no command line");
                String::new()
            }
        }
    }
}

impl Default for ProcessTable {
    fn default() -> Self {
        Self::new()
    }
}

impl Processes for ProcessTable {
    fn ended(&mut self) -> Vec<ProcessKey> {
        let mut ended = self.pidfds.ended();
        ended.append(&mut self.gone);
        ended.extend(self.compared.extract_if(.., |(pid, key)| !lives(*pid, key)).map(|(_, key)| key));
        ended
    }

    fn forget(&mut self, given_up: &[ProcessKey]) {
        self.pidfds.forget(given_up);
        self.compared.retain(|(_, key)| !given_up.contains(key));
    }

    fn track(&mut self, process: &ProcessCounts) -> Identity {
        let mut identity = Identity::from_counts(process);
        let watch = self.watch(process);
        if let (Watch::Pidfd | Watch::Proc, Some(pid)) = (&watch, process.pid) {
            identity.command_line = self.command_line(pid);
        }
        identity.candidates = self.candidates(process, &watch);
        identity
    }

    fn unreadable(&self) -> u64 {
        self.unreadable
    }
}

fn open(pid: Pid) -> Result<OwnedFd, rustix::io::Errno> {
    let number = i32::try_from(pid.0).ok().and_then(rustix::process::Pid::from_raw);
    pidfd_open(number.ok_or(rustix::io::Errno::SRCH)?, PidfdFlags::empty())
}

/// Whether the process of this PID is the one that the key names, and not a later one.
fn lives(pid: Pid, key: &ProcessKey) -> bool {
    let stat = read(pid, "stat", STAT_BYTES).ok();
    stat.and_then(|stat| start_ticks(&stat)) == Some(ticks(key.start_ns))
}

fn read(pid: Pid, name: &str, limit: usize) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(format!("/proc/{}/{name}", pid.0))?.take(limit as u64).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::super::pidfds::ENDS_AT_ONCE;
    use super::*;
    use common::maps::Counts;
    use std::process::{Child, Command, Stdio};

    /// A process that is gone when its test is, even one that fails.
    struct Sleeper(Child);

    impl Sleeper {
        fn end(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            self.end();
        }
    }

    fn sleeper() -> (Sleeper, ProcessCounts) {
        let child = Command::new("sleep").arg("1000").stdout(Stdio::piped()).spawn().unwrap();
        let process = counted(child.id());
        // Between its start and its first instruction it has no command line.
        while read(Pid(child.id()), "cmdline", STAT_BYTES).unwrap() != b"sleep\x001000\0" {}
        (Sleeper(child), process)
    }

    fn counted(pid: u32) -> ProcessCounts {
        let ticks = start_ticks(&read(Pid(pid), "stat", STAT_BYTES).unwrap()).unwrap();
        ProcessCounts {
            key: ProcessKey { start_ns: ticks * 10_000_000 + 1234, tgid: pid, reserved: 0 },
            pid: Some(Pid(pid)),
            command: "sleep".into(),
            cgroup_id: 7,
            counts: Counts::default(),
        }
    }

    #[test]
    fn a_process_is_named_and_its_end_noticed_once() {
        let (mut child, process) = sleeper();
        let mut table = ProcessTable::new();
        let identity = table.track(&process);
        assert_eq!((identity.command.as_str(), identity.cgroup_id), ("sleep", 7));
        assert_eq!(identity.command_line, "sleep 1000");
        assert_eq!((table.pidfds.watched.len(), table.compared.len()), (1, 0));
        assert_eq!(table.ended(), []);
        child.end();
        assert_eq!(table.ended(), [process.key]);
        assert_eq!(table.ended(), []);
    }

    #[test]
    fn more_ends_than_one_call_tells_of() {
        let mut table = ProcessTable::new();
        let mut sleepers: Vec<_> = (0..ENDS_AT_ONCE + 1).map(|_| sleeper()).collect();
        for (_, process) in &sleepers {
            table.track(process);
        }
        sleepers.iter_mut().for_each(|(child, _)| child.end());
        let mut expected: Vec<_> = sleepers.iter().map(|(_, process)| process.key).collect();
        let mut ended = table.ended();
        expected.sort_unstable();
        ended.sort_unstable();
        assert_eq!(ended, expected);
        assert!(table.pidfds.watched.is_empty());
    }

    #[test]
    fn a_zombie_has_ended() {
        let (mut child, process) = sleeper();
        let mut table = ProcessTable::new();
        table.track(&process);
        child.0.kill().unwrap();
        let (pidfd, _) = table.pidfds.watched.values().next().unwrap();
        rustix::event::poll(&mut [rustix::event::PollFd::new(pidfd, rustix::event::PollFlags::IN)], None).unwrap();
        assert_eq!(table.ended(), [process.key]);
    }

    #[test]
    fn a_process_gone_before_it_is_seen_ends_at_the_next_tick_with_the_kernels_name() {
        let (mut child, process) = sleeper();
        child.end();
        let mut table = ProcessTable::new();
        let identity = table.track(&process);
        assert_eq!((identity.command.as_str(), identity.command_line.as_str()), ("sleep", ""));
        assert_eq!(table.ended(), [process.key]);
        assert_eq!(table.unreadable(), 0);
    }

    #[test]
    fn a_pid_that_has_returned_is_not_mistaken_for_the_process() {
        let (_child, mut process) = sleeper();
        process.key.start_ns -= 1_000_000_000;
        let mut table = ProcessTable::new();
        assert_eq!(table.track(&process).command_line, "");
        assert_eq!(table.ended(), [process.key]);
    }

    #[test]
    fn what_a_cgroup_calls_its_container_is_told_of_the_living_and_of_the_dead() {
        use std::os::unix::fs::MetadataExt as _;
        let (mut child, mut process) = sleeper();
        let mut table = ProcessTable::new();
        let own = read(Pid(child.0.id()), "cgroup", MAX_TEXT_BYTES).unwrap();
        let expected = candidates(std::str::from_utf8(&own).unwrap());
        assert_eq!(table.track(&process).candidates.to_vec(), expected);
        assert_eq!(table.cgroup_ids.candidates(7), Some(&expected[..]));
        let root = tempfile::tempdir().unwrap();
        let container = root.path().join("kubepods/pod44c76ce5-f953-4bd3-bc89-12621681af49").join("a".repeat(64));
        std::fs::create_dir_all(&container).unwrap();
        table.cgroup_root = Some(root.path().into());
        process.cgroup_id = std::fs::metadata(&container).unwrap().ino();
        child.end();
        let walked = table.track(&process).candidates;
        assert_eq!(walked[0].container.unwrap().to_string(), "a".repeat(64));
        assert!(walked[0].pod.is_some());
        // Unknown, and a walk is not due again so soon.
        process.cgroup_id = 1;
        assert_eq!(table.track(&process).candidates.to_vec(), []);
    }

    #[test]
    fn without_descriptors_proc_is_compared() {
        let (mut child, process) = sleeper();
        let mut table = ProcessTable::new();
        table.compared.push((Pid(child.0.id()), process.key));
        assert_eq!(table.ended(), []);
        child.end();
        assert_eq!(table.ended(), [process.key]);
    }

    #[test]
    fn a_process_of_a_foreign_namespace_stays() {
        let mut process = counted(std::process::id());
        process.pid = None;
        let mut table = ProcessTable::new();
        assert_eq!(table.track(&process).pid, None);
        assert_eq!(table.ended(), []);
    }
}

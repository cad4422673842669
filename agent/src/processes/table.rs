//! Which processes live, and who they are: /proc and pidfds. EDGE.
//!
//! A pidfd becomes readable when its process has ended, so one `epoll_wait` a tick tells of all of them
//! and processes that live cost nothing. Where no pidfd can be had (no descriptors left, a kernel
//! that lacks them), it is looked for at each tick instead.

use std::os::fd::OwnedFd;

use common::maps::ProcessKey;
use rustix::io::Errno;
use rustix::process::{PidfdFlags, Resource, Rlimit, getrlimit, pidfd_open, setrlimit};

use super::life::{Life, Shift, life, read, rustix_pid};
use super::pidfds::Pidfds;
use crate::counting::counts::{Pid, ProcessCounts};
use crate::counting::identity::{COMMAND_LINE_BYTES, Identity, command_line};
use crate::counting::rates::Looked;
use crate::counting::tick::Processes;

/// The processes that are counted.
pub struct ProcessTable {
    pidfds: Pidfds,
    /// Those for which there is no descriptor: they are looked for at each tick.
    looked_for: Vec<(Pid, ProcessKey)>,
    shift: Shift,
    /// Those that had ended before they were looked at.
    gone: Vec<ProcessKey>,
    unreadable: u64,
    /// Whether it was said that descriptors have run out.
    said: bool,
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
        let shift = Shift::of_this_namespace();
        Self { pidfds: Pidfds::default(), looked_for: Vec::new(), shift, gone: Vec::new(), unreadable: 0, said: false }
    }

    /// Watches a process of which this is known.
    fn watch(&mut self, pid: Pid, key: ProcessKey) -> Life {
        let (life, watched) = self.try_watch(pid, key);
        match (life, watched) {
            (Life::Ended, _) => self.gone.push(key),
            (_, Ok(())) => {}
            (_, Err(error)) => {
                self.say_once(error);
                self.looked_for.push((pid, key));
            }
        }
        life
    }

    /// First the descriptor, then the start time: if that matches, the descriptor is the process's and not one of a later
    /// process with the same PID.
    fn try_watch(&mut self, pid: Pid, key: ProcessKey) -> (Life, Result<(), Errno>) {
        let pidfd = open(pid);
        let life = life(pid, &key, self.shift);
        let watched = match life {
            Life::Alive => pidfd.and_then(|pidfd| self.pidfds.watch(pidfd, key)),
            Life::Ended | Life::NotKnown => Err(pidfd.err().unwrap_or(Errno::AGAIN)),
        };
        (life, watched)
    }

    /// Those of which nothing but a look tells whether they have ended; only who surely has is given up. Who can be
    /// watched now is.
    fn look(&mut self) -> Vec<ProcessKey> {
        let (mut ended, mut may_watch) = (Vec::new(), true);
        for (pid, key) in std::mem::take(&mut self.looked_for) {
            let (life, watched) =
                if may_watch { self.try_watch(pid, key) } else { (life(pid, &key, self.shift), Err(Errno::MFILE)) };
            may_watch &= watched.is_ok() || life != Life::Alive;
            match life {
                Life::Ended => ended.push(key),
                Life::Alive if watched.is_ok() => {}
                Life::Alive | Life::NotKnown => self.looked_for.push((pid, key)),
            }
        }
        ended
    }

    fn say_once(&mut self, error: Errno) {
        if !std::mem::replace(&mut self.said, true) {
            tracing::warn!(%error, watched = self.pidfds.watched.len(),
                "no descriptor for the end of further processes: they are looked for in /proc each second; raise the limit of open files");
        }
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
        ended.extend(self.look());
        ended
    }

    fn forget(&mut self, given_up: &[ProcessKey]) {
        self.pidfds.forget(given_up);
        self.looked_for.retain(|(_, key)| !given_up.contains(key));
    }

    fn track(&mut self, process: &ProcessCounts) -> Looked {
        let mut identity = Identity::from_counts(process);
        // The end of one that the agent's PID namespace does not show cannot be seen.
        let Some(pid) = process.pid else { return identity.into() };
        let life = self.watch(pid, process.key);
        match life {
            Life::Alive => identity.command_line = self.command_line(pid),
            Life::NotKnown => self.unreadable += 1,
            Life::Ended => {}
        }
        Looked { identity, has_ended: life == Life::Ended }
    }

    fn unreadable(&self) -> u64 {
        self.unreadable
    }
}

fn open(pid: Pid) -> Result<OwnedFd, Errno> {
    pidfd_open(rustix_pid(pid).ok_or(Errno::SRCH)?, PidfdFlags::empty())
}

#[cfg(test)]
mod tests {
    use super::super::life::STAT_BYTES;
    use super::super::pidfds::ENDS_AT_ONCE;
    use super::*;
    use crate::counting::identity::start_ticks;
    use common::maps::Counts;
    use std::process::{Child, Command, Stdio};
    use std::sync::Arc;

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
            candidates: Arc::default(),
            counts: Counts::default(),
        }
    }

    #[test]
    fn a_process_is_named_and_its_end_noticed_once() {
        let (mut child, process) = sleeper();
        let mut table = ProcessTable::new();
        let identity = table.track(&process).identity;
        assert_eq!(identity.command, "sleep");
        assert_eq!(identity.command_line, "sleep 1000");
        assert_eq!((table.pidfds.watched.len(), table.looked_for.len()), (1, 0));
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
        let Looked { identity, has_ended } = table.track(&process);
        assert_eq!((identity.command.as_str(), identity.command_line.as_str()), ("sleep", ""));
        assert!(has_ended);
        let (_living, other) = sleeper();
        assert!(!table.track(&other).has_ended);
        assert_eq!(table.ended(), [process.key]);
        assert_eq!(table.unreadable(), 0);
    }

    #[test]
    fn a_pid_that_has_returned_is_not_mistaken_for_the_process() {
        let (_child, mut process) = sleeper();
        process.key.start_ns -= 1_000_000_000;
        let mut table = ProcessTable::new();
        assert_eq!(table.track(&process).identity.command_line, "");
        assert_eq!(table.ended(), [process.key]);
    }

    #[test]
    fn without_descriptors_processes_are_looked_for() {
        let (mut child, process) = sleeper();
        let mut table = ProcessTable::new();
        table.looked_for.push((Pid(child.0.id()), process.key));
        assert_eq!(table.ended(), []);
        // There is one now.
        assert_eq!((table.pidfds.watched.len(), table.looked_for.len()), (1, 0));
        child.end();
        assert_eq!(table.ended(), [process.key]);
    }

    #[test]
    fn an_agent_in_a_time_namespace_knows_processes_by_the_kernels_time() {
        let (_child, mut process) = sleeper();
        let mut table = ProcessTable::new();
        // To this one /proc is a second ahead of the kernel.
        table.shift = Shift::of_ns(1_000_000_000);
        process.key.start_ns -= 1_000_000_000;
        assert_eq!(table.track(&process).identity.command_line, "sleep 1000");
        assert_eq!(table.ended(), []);
    }

    #[test]
    fn a_process_of_a_foreign_namespace_stays() {
        let mut process = counted(std::process::id());
        process.pid = None;
        let mut table = ProcessTable::new();
        assert_eq!(table.track(&process).identity.pid, None);
        assert_eq!(table.ended(), []);
    }
}

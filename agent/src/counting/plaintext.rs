//! What reads the requests of processes that receive TLS, and what it says of each. PURE.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::fd::BorrowedFd;

use common::maps::ProcessKey;

use crate::counting::identity::Identity;
use crate::counting::snapshot::Snapshot;

/// Between two looks at who has ended, in ticks.
const SWEEP_TICKS: u64 = 60;

/// What is between a process's TLS and the probe, as the loop that drives it needs it.
pub trait Plaintext: Send {
    /// Looks at a process that has received TLS, and reads what is within from now on, if it can.
    fn look_at(&mut self, process: &Receiver) -> Look;

    /// Forgets what processes had that have ended.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    fn sweep(&mut self) -> io::Result<()>;

    /// What another agent goes on with: what the descriptors are, and these, still its own.
    ///
    /// # Errors
    ///
    /// What cannot be written.
    fn hand_over(&self) -> io::Result<(serde_json::Value, Vec<BorrowedFd<'_>>)>;

    /// Another agent goes on with it: what it has in the kernel stays as it is.
    fn given(self: Box<Self>);
}

/// A process that has received TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// Who it is.
    pub key: ProcessKey,
    /// Its PID, where the agent sees it.
    pub pid: Option<u32>,
    /// Its name.
    pub command: String,
}

/// What a look at it found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// Requests in its TLS are read, in this file.
    Read(String),
    /// They are not.
    Unread {
        /// Why, as a metric's label.
        reason: &'static str,
        /// The same in a sentence.
        detail: String,
    },
}

/// Whether requests in TLS are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// Nobody asked for it.
    #[default]
    Off,
    /// Of processes whose library is understood.
    On,
    /// The kernel cannot, or does not allow it.
    Refused(String),
}

impl Reading {
    /// What it may be, as a metric's label.
    pub const NAMES: [&'static str; 3] = ["off", "on", "refused"];

    /// What it is, likewise.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Off => Self::NAMES[0],
            Self::On => Self::NAMES[1],
            Self::Refused(_) => Self::NAMES[2],
        }
    }
}

/// How it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plain {
    /// Whether it is done at all.
    pub reading: Reading,
    /// Living processes whose requests in TLS are read.
    pub read: u64,
    /// Living processes of which they are not, by reason.
    pub unread: BTreeMap<&'static str, u32>,
}

/// What is to be done after a tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// These have begun to receive TLS.
    Receive(Vec<Receiver>),
    /// These are all that live and have received some.
    Live(HashSet<ProcessKey>),
}

/// Says what is to be done after each tick.
#[derive(Debug, Default)]
pub struct Watch {
    ticks: u64,
}

impl Watch {
    /// Of this tick. Of the first one all that live count as new.
    pub fn news(&mut self, snapshot: &Snapshot) -> Vec<News> {
        let mut news = Vec::new();
        let is_first = self.ticks == 0;
        self.ticks += 1;
        let grown = snapshot.grown.iter().filter(|grown| grown.counts.tls_connections > 0).map(|grown| &grown.process);
        let living = snapshot.processes.iter().filter(|process| process.totals.tls_connections > 0);
        let receivers: Vec<Receiver> = if is_first {
            living.clone().map(|process| receiver(process.key, &process.identity)).collect()
        } else {
            grown.map(|process| receiver(process.key, &process.identity)).collect()
        };
        if !receivers.is_empty() {
            news.push(News::Receive(receivers));
        }
        if self.ticks.is_multiple_of(SWEEP_TICKS) {
            news.push(News::Live(living.map(|process| process.key).collect()));
        }
        news
    }
}

fn receiver(key: ProcessKey, identity: &Identity) -> Receiver {
    Receiver { key, pid: identity.pid.map(|pid| pid.0), command: identity.command.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counting::snapshot::tests_support::{process, snapshot, with_tls};

    fn pids(news: &[News]) -> Vec<Option<u32>> {
        let receivers = news.iter().filter_map(|news| match news {
            News::Receive(receivers) => Some(receivers),
            News::Live(_) => None,
        });
        receivers.flatten().map(|receiver| receiver.pid).collect()
    }

    #[test]
    fn who_receives_tls_is_looked_at_also_where_it_did_before_the_first_tick() {
        let mut watch = Watch::default();
        let mut state = snapshot(vec![with_tls(process(1, &[], 0), 2), process(2, &[], 1)]);
        state.grown.clear();
        assert_eq!(pids(&watch.news(&state)), [Some(1)]);
        assert_eq!(watch.news(&state), []);
        let state = snapshot(vec![process(2, &[], 1), with_tls(process(3, &[], 0), 1)]);
        assert_eq!(pids(&watch.news(&state)), [Some(3)]);
    }

    #[test]
    fn once_a_minute_it_is_said_who_lives() {
        let mut watch = Watch::default();
        let state = snapshot(vec![with_tls(process(1, &[], 0), 2), process(2, &[], 1)]);
        let said = (0..2 * SWEEP_TICKS).flat_map(|_| watch.news(&state));
        let live: Vec<_> = said.filter(|news| matches!(news, News::Live(keys) if keys.len() == 1)).collect();
        assert_eq!(live.len(), 2);
    }
}

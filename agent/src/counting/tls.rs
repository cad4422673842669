//! Which processes have begun to receive TLS, each named once. PURE.

use std::collections::HashSet;

use crate::counting::snapshot::Snapshot;

/// So many are named; of a server that makes a process for each connection there would be no end.
const MAX_NAMED: usize = 100;

/// Those that were named.
#[derive(Debug, Default)]
pub struct Named {
    /// By command, and by the name of its pod where that was known.
    seen: HashSet<(Box<str>, Box<str>)>,
}

/// What is to be said of a tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newcomer {
    /// The process's name.
    pub command: String,
    /// Its PID, where the agent sees it.
    pub pid: Option<u32>,
    /// Its namespace and pod, where they are known.
    pub pod: String,
}

impl Named {
    /// Processes of this tick that receive TLS and were not named before: of the same command in the same pod the first.
    pub fn take(&mut self, snapshot: &Snapshot) -> Vec<Newcomer> {
        let mut newcomers = Vec::new();
        for grown in snapshot.grown.iter().filter(|grown| grown.counts.tls_connections > 0) {
            let (process, place) = (&grown.process, grown.process.place.as_deref());
            let pod = place.map_or_else(String::new, |place| format!("{}/{}", place.namespace, place.pod));
            let key = (process.identity.command.as_str().into(), pod.as_str().into());
            if self.seen.len() >= MAX_NAMED || !self.seen.insert(key) {
                continue;
            }
            let command = process.identity.command.clone();
            newcomers.push(Newcomer { command, pid: process.identity.pid.map(|pid| pid.0), pod });
        }
        newcomers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counting::snapshot::tests_support::{placed, process, snapshot, with_tls};

    #[test]
    fn each_is_named_once() {
        let mut named = Named::default();
        let tick = || snapshot(vec![with_tls(placed(process(1, &[], 0), "web-1", None), 2), process(2, &[], 1)]);
        let newcomers = named.take(&tick());
        assert_eq!(newcomers.len(), 1);
        assert_eq!((newcomers[0].command.as_str(), newcomers[0].pid), ("server-1", Some(1)));
        assert!(newcomers[0].pod.ends_with("/web-1"), "{newcomers:?}");
        assert_eq!(named.take(&tick()), []);
    }

    #[test]
    fn there_is_an_end() {
        let mut named = Named::default();
        let processes = (1..=2 * MAX_NAMED as u32).map(|pid| with_tls(process(pid, &[], 0), 1));
        assert_eq!(named.take(&snapshot(processes.collect())).len(), MAX_NAMED);
    }
}

//! The processes that live, as one snapshot after another shares them. PURE.

use std::sync::Arc;

use common::maps::{Counts, ProcessKey};
use serde::{Deserialize, Serialize};

use crate::counting::counts::requests;
use crate::counting::history::History;
use crate::counting::identity::Identity;
use crate::counting::responded::Responded;
use crate::pods::cgroup::ContainerId;
use crate::pods::index;

/// Processes in a page. A snapshot copies the list of pages, and a tick the pages in which something has changed: some
/// hundred references each.
const PAGE: usize = 64;

/// One process, at one tick.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Process {
    /// Which one it is.
    pub key: ProcessKey,
    /// Who it is for people.
    pub identity: Arc<Identity>,
    /// Its pod and container, where they are known.
    pub place: Option<Arc<Place>>,
    /// Whether they are, and why not.
    pub standing: Standing,
    /// What it received since it was first counted, by version, and how often it went unsynced.
    pub totals: Counts,
    /// Its rates at the last ticks.
    pub history: History,
    /// What it answered, once there was something.
    pub responded: Option<Arc<Responded>>,
}

impl Process {
    /// One that has received nothing yet.
    #[must_use]
    pub fn new(key: ProcessKey, identity: Identity) -> Self {
        let (totals, history) = (Counts::default(), History::default());
        let (place, standing, responded) = (None, Standing::default(), None);
        Self { key, identity: Arc::new(identity), place, standing, totals, history, responded }
    }

    /// Requests since it was first counted.
    #[must_use]
    pub fn requests(&self) -> u64 {
        requests(&self.totals)
    }
}

/// What is known of the pod of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// Which it is.
    Found,
    /// Its cgroup names one of which there may be news yet.
    Awaited,
    /// Its cgroup names one that is not known, and nobody waits for it.
    Unknown,
    /// Its cgroup names none.
    #[default]
    Outside,
}

/// Where in a Kubernetes cluster a process runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// What Scope calls the pod: its UID, or the config hash of a static one. No two pods have the same.
    pub scope_uid: Box<str>,
    /// The pod's namespace.
    pub namespace: Box<str>,
    /// The pod's name.
    pub pod: Box<str>,
    /// The container's id; `None` for a process in the pod's own cgroup.
    pub container_id: Option<ContainerId>,
    /// The container's name; `None` until the API server tells it, and for pause containers.
    pub container: Option<Box<str>>,
}

impl Place {
    /// Whether it is a container that may have a name later.
    #[must_use]
    pub fn awaits_name(&self) -> bool {
        self.container_id.is_some() && self.container.is_none()
    }
}

impl From<index::Place<'_>> for Place {
    fn from(place: index::Place<'_>) -> Self {
        Self {
            scope_uid: if place.has_scope_uid { place.pod.scope_uid.clone() } else { place.pod.uid.to_string().into() },
            namespace: place.pod.namespace.clone(),
            pod: place.pod.name.clone(),
            container_id: place.container_id,
            container: place.container.map(|container| container.name.clone()),
        }
    }
}

/// Processes by index, in pages. A copy shares all of them, and goes on sharing those that are not replaced later.
#[derive(Clone, Debug, Default)]
pub struct Processes {
    /// All are full but the last, and none is empty.
    pages: Vec<Arc<Vec<Arc<Process>>>>,
}

impl Processes {
    /// In the order of their indexes, which means nothing.
    pub fn iter(&self) -> impl Iterator<Item = &Process> + Clone {
        self.pages.iter().flat_map(|page| page.iter()).map(|process| &**process)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pages.last().map_or(0, |last| (self.pages.len() - 1) * PAGE + last.len())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// Adds a process and returns its index.
    pub fn push(&mut self, process: Arc<Process>) -> usize {
        let index = self.len();
        if index.is_multiple_of(PAGE) {
            self.pages.push(Arc::default());
        }
        Arc::make_mut(&mut self.pages[index / PAGE]).push(process);
        index
    }

    /// Puts a newer state of the process with this index in place of the older.
    ///
    /// # Panics
    ///
    /// There is none with this index.
    pub fn set(&mut self, index: usize, process: Arc<Process>) {
        Arc::make_mut(&mut self.pages[index / PAGE])[index % PAGE] = process;
    }

    /// Takes out the process with this index. The last one gets the index, if it is another: it is returned.
    ///
    /// # Panics
    ///
    /// There is none with this index.
    pub fn remove(&mut self, index: usize) -> Option<&Process> {
        assert!(index < self.len(), "no process has this index");
        let last = self.pages.last_mut().and_then(|page| Arc::make_mut(page).pop()).expect("there is one, at least");
        if self.pages.last().is_some_and(|page| page.is_empty()) {
            self.pages.pop();
        }
        if index == self.len() {
            return None;
        }
        self.set(index, last);
        Some(&self.pages[index / PAGE][index % PAGE])
    }
}

impl FromIterator<Process> for Processes {
    fn from_iter<I: IntoIterator<Item = Process>>(processes: I) -> Self {
        let mut collected = Self::default();
        processes.into_iter().for_each(|process| {
            collected.push(Arc::new(process));
        });
        collected
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counting::snapshot::tests_support::process;

    fn pids(processes: &Processes) -> Vec<u32> {
        processes.iter().map(|process| process.key.tgid).collect()
    }

    #[test]
    fn the_last_takes_the_place_of_one_that_goes() {
        let mut processes: Processes = (0..2 * PAGE as u32 + 1).map(|pid| process(pid, &[], 1)).collect();
        assert_eq!(processes.len(), 2 * PAGE + 1);
        assert_eq!(processes.remove(5).map(|moved| moved.key.tgid), Some(2 * PAGE as u32));
        assert_eq!((processes.len(), pids(&processes)[5]), (2 * PAGE, 2 * PAGE as u32));
        assert!(processes.remove(2 * PAGE - 1).is_none(), "it was the last");
        while !processes.is_empty() {
            processes.remove(0);
        }
        assert_eq!(processes.len(), 0);
        assert_eq!(processes.push(Arc::new(process(7, &[], 1))), 0);
    }

    #[test]
    fn a_copy_shares_the_pages_in_which_nothing_changes() {
        let mut processes: Processes = (0..3 * PAGE as u32).map(|pid| process(pid, &[], 1)).collect();
        let copy = processes.clone();
        processes.set(PAGE + 1, Arc::new(process(999, &[], 1)));
        let is_shared = |page: usize| Arc::ptr_eq(&processes.pages[page], &copy.pages[page]);
        assert_eq!([is_shared(0), is_shared(1), is_shared(2)], [true, false, true]);
        assert_eq!((pids(&copy)[PAGE + 1], pids(&processes)[PAGE + 1]), (PAGE as u32 + 1, 999));
        assert_eq!(copy.len(), processes.len());
    }
}

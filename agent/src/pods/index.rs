//! This node's pods, and the one a process belongs to. PURE.
//!
//! One task feeds it what the API server says; the tick asks. Nothing about a process is remembered here: whenever the
//! version has changed, all are asked for anew, so a miss lasts no longer than it is true and a PID cannot inherit a name.

use crate::pods::cgroup::{Candidate, ConfigHash, ContainerId, PodKey, PodUid};
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long a deleted pod keeps its name: the last counts of its processes still belong to it.
pub const DELETED_KEPT: Duration = Duration::from_secs(5 * 60);
/// Deleted pods beyond this lose their names early, the oldest first: at 3 deletions a second after five minutes, at 10
/// after 100 s. Each takes half a kilobyte.
pub const MAX_DELETED: usize = 1_024;
/// Pods of one node beyond this are not taken in. A kubelet runs 110 by default and 500 at most in practice.
pub const MAX_PODS: usize = 4_096;
/// Containers of one pod beyond this are not taken in, and past instances are dropped first.
pub const MAX_CONTAINERS: usize = 64;

/// In which list of the pod's status a container stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerKind {
    /// `containerStatuses`
    Regular,
    /// `initContainerStatuses`: those that run before the others, and sidecars
    Init,
    /// `ephemeralContainerStatuses`: `kubectl debug`
    Ephemeral,
}

/// A container that has or had an id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its name in the pod.
    pub name: Box<str>,
    /// Its id; a restart gives it another.
    pub id: ContainerId,
    /// Where it stands in the pod's status.
    pub kind: ContainerKind,
}

/// What is kept of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// `metadata.uid`
    pub uid: PodUid,
    /// What a static pod's cgroup is called instead of its UID; only the kubelet's mirror pods have one.
    pub config_hash: Option<ConfigHash>,
    /// What Scope calls the pod: of a mirror pod the annotation `kubernetes.io/config.hash`, else its UID
    /// (`probe/kubernetes/pod.go`; Scope believes the annotation on any pod, and anyone may write it on one of theirs).
    pub scope_uid: Box<str>,
    /// `metadata.namespace`
    pub namespace: Box<str>,
    /// `metadata.name`
    pub name: Box<str>,
    /// Its containers now and, after them, past instances that restarted since.
    pub containers: Vec<Container>,
}

impl Pod {
    fn container(&self, id: ContainerId) -> Option<&Container> {
        self.containers.iter().find(|container| container.id == id)
    }

    /// Keeps the past instances of the version before: what a restarted container did last still has its name.
    fn remember(&mut self, before: &Self) {
        for past in &before.containers {
            if self.containers.len() < MAX_CONTAINERS && self.container(past.id).is_none() {
                self.containers.push(past.clone());
            }
        }
    }
}

/// Where a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Its pod.
    pub pod: &'a Pod,
    /// Its container's id; `None` in the pod's own cgroup.
    pub container_id: Option<ContainerId>,
    /// Its container as the pod's status has it. `None` for a pause container, which stands in no status, and for
    /// the first instants of any other, whose id arrives after its process runs.
    pub container: Option<&'a Container>,
    /// Whether the pod is still there, and not merely its name.
    pub is_live: bool,
    /// Whether Scope is told the pod's `scope_uid`: no other pod has a better right to it. Else its UID.
    pub has_scope_uid: bool,
}

/// The pods of this node, by everything a cgroup may call them.
#[derive(Clone, Debug, Default)]
pub struct Pods {
    by_uid: HashMap<PodUid, Box<Entry>>,
    by_hash: HashMap<ConfigHash, PodUid>,
    by_container: HashMap<ContainerId, PodUid>,
    /// When each deleted pod was deleted, the oldest first.
    deleted: VecDeque<(Duration, PodUid)>,
    refused: u64,
    version: u64,
    is_watched: bool,
    is_nested: bool,
}

#[derive(Clone, Debug)]
struct Entry {
    pod: Pod,
    deleted_at: Option<Duration>,
}

impl Pods {
    /// None yet. `is_nested`: the node is itself a container (kind, k3s in a pod), so that cgroups may name pods of
    /// another cluster above its own.
    #[must_use]
    pub fn new(is_nested: bool) -> Self {
        Self { is_nested, ..Self::default() }
    }

    /// What another agent on this node goes on with until it has a list of its own: each pod, and when it was deleted.
    #[must_use]
    pub fn carried(&self) -> Vec<(Pod, Option<Duration>)> {
        let mut pods: Vec<_> = self.by_uid.values().map(|entry| (entry.pod.clone(), entry.deleted_at)).collect();
        // In this order they are taken in.
        pods.sort_by_key(|(_, deleted_at)| *deleted_at);
        pods
    }

    /// Takes in what another agent knew.
    pub fn resume(&mut self, pods: Vec<(Pod, Option<Duration>)>) {
        for (pod, deleted_at) in pods {
            let uid = pod.uid;
            self.apply(pod);
            deleted_at.into_iter().for_each(|at| self.delete(uid, at));
        }
    }

    /// Whether somebody asks for pods: what is not known may be known later.
    pub fn set_watched(&mut self, is_watched: bool) {
        self.is_watched = is_watched;
    }

    /// Whether somebody asks for pods.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.is_watched
    }

    /// Takes in a pod that was added or changed.
    pub fn apply(&mut self, mut pod: Pod) {
        pod.containers.truncate(MAX_CONTAINERS);
        match self.by_uid.get(&pod.uid) {
            Some(before) => pod.remember(&before.pod),
            None if self.live() >= MAX_PODS => {
                self.refused += 1;
                return;
            }
            None => {}
        }
        if self.by_uid.get(&pod.uid).is_some_and(|before| before.pod == pod && before.deleted_at.is_none()) {
            return;
        }
        let hash = pod.config_hash;
        let held = hash.filter(|hash| self.by_hash.get(hash) == Some(&pod.uid));
        self.forget(pod.uid);
        self.by_hash.extend(held.map(|hash| (hash, pod.uid)));
        for container in &pod.containers {
            self.by_container.insert(container.id, pod.uid);
        }
        pod.containers.shrink_to_fit();
        let entry = Box::new(Entry { pod, deleted_at: None });
        self.by_uid.insert(entry.pod.uid, entry);
        self.version += 1;
        hash.into_iter().for_each(|hash| self.give(hash));
    }

    /// Gives a hash to a live pod that claims it, unless one has it: anybody may write it on a pod of theirs.
    fn give(&mut self, hash: ConfigHash) {
        let claims = |entry: &Entry| entry.pod.config_hash == Some(hash) && entry.deleted_at.is_none();
        let holder = self.by_hash.get(&hash).and_then(|uid| self.by_uid.get(uid));
        if holder.is_some_and(|entry| claims(entry)) {
            return;
        }
        if let Some((uid, _)) = self.by_uid.iter().find(|(_, entry)| claims(entry)) {
            self.by_hash.insert(hash, *uid);
            self.version += 1;
        }
    }

    /// Notes that a pod is gone. It keeps its name for [`DELETED_KEPT`].
    pub fn delete(&mut self, uid: PodUid, now: Duration) {
        if let Some(entry) = self.by_uid.get_mut(&uid)
            && entry.deleted_at.is_none()
        {
            entry.deleted_at = Some(now);
            let hash = entry.pod.config_hash;
            self.deleted.push_back((now, uid));
            hash.into_iter().for_each(|hash| self.give(hash));
        }
        self.sweep(now);
    }

    /// Takes in a fresh list: what it lacks was deleted while nobody watched.
    pub fn replace(&mut self, list: Vec<Pod>, now: Duration) {
        let listed: HashSet<PodUid> = list.iter().map(|pod| pod.uid).collect();
        let gone: Vec<PodUid> = self.by_uid.keys().copied().filter(|uid| !listed.contains(uid)).collect();
        for uid in gone {
            self.delete(uid, now);
        }
        for pod in list {
            self.apply(pod);
        }
    }

    /// Forgets the pods that were deleted long ago.
    pub fn sweep(&mut self, now: Duration) {
        while let Some(&(at, uid)) = self.deleted.front() {
            if now.saturating_sub(at) < DELETED_KEPT && self.deleted.len() <= MAX_DELETED {
                break;
            }
            self.deleted.pop_front();
            // A pod that came back under its UID is live again, or was deleted again later.
            if self.by_uid.get(&uid).is_some_and(|entry| entry.deleted_at == Some(at)) {
                self.forget(uid);
            }
        }
    }

    /// The place of the first candidate; on a nested node, of the first that is known. A pod key decides before a
    /// container id: the pod arrives before its process runs, the container's id 10 - 30 ms after.
    ///
    /// Candidates behind the first may be names that a container gave itself: what is not known yet must not be booked
    /// on whoever is named there.
    pub fn resolve(&self, candidates: &[Candidate]) -> Option<Place<'_>> {
        let asked = if self.is_nested { candidates.len() } else { 1 };
        candidates.iter().take(asked).find_map(|candidate| self.place(*candidate))
    }

    fn place(&self, candidate: Candidate) -> Option<Place<'_>> {
        let by_key = candidate.pod.and_then(|key| match key {
            PodKey::Uid(uid) if self.by_uid.contains_key(&uid) => Some(uid),
            PodKey::Uid(uid) => self.by_hash.get(&ConfigHash::of_uid(uid)).copied(),
            PodKey::Hash(hash) => self.by_hash.get(&hash).copied(),
        });
        let by_container = || self.by_container.get(&candidate.container?).copied();
        let entry = by_key.and_then(|uid| self.by_uid.get(&uid)).or_else(|| self.by_uid.get(&by_container()?))?;
        Some(Place {
            pod: &entry.pod,
            container_id: candidate.container,
            container: candidate.container.and_then(|id| entry.pod.container(id)),
            is_live: entry.deleted_at.is_none(),
            has_scope_uid: self.has_scope_uid(&entry.pod),
        })
    }

    fn has_scope_uid(&self, pod: &Pod) -> bool {
        let Some(hash) = pod.config_hash else { return true };
        let is_other =
            PodUid::parse(&pod.scope_uid).is_some_and(|uid| uid != pod.uid && self.by_uid.contains_key(&uid));
        !is_other && self.by_hash.get(&hash) == Some(&pod.uid)
    }

    /// Another one whenever [`resolve`](Self::resolve) may answer otherwise, but for whether a pod is live.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Live pods.
    pub fn live(&self) -> usize {
        // A pod that came back leaves its old note in `deleted`: count, do not subtract.
        self.by_uid.values().filter(|entry| entry.deleted_at.is_none()).count()
    }

    /// Pods that were not taken in because of [`MAX_PODS`].
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Removes a pod from every index.
    fn forget(&mut self, uid: PodUid) {
        let Some(entry) = self.by_uid.remove(&uid) else {
            return;
        };
        self.version += 1;
        // Only what is still this pod's: a new mirror pod may have taken the hash over.
        if let Some(hash) = entry.pod.config_hash
            && self.by_hash.get(&hash) == Some(&uid)
        {
            self.by_hash.remove(&hash);
        }
        for container in &entry.pod.containers {
            if self.by_container.get(&container.id) == Some(&uid) {
                self.by_container.remove(&container.id);
            }
        }
    }
}

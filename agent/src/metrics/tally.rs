//! Requests by pod and container, or by process if asked: bounded, and no series ever falls. PURE.
//!
//! What a process received between two ticks is added to the series that it belongs to at the second: so a series goes
//! on when its processes end, its pod is deleted, or a pod of the same name comes back. What has a pod without a name yet
//! waits for it (`waiting`). At the limit those make room that can grow no more: of processes that have ended,
//! and of containers without any.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use common::maps::Counts;

use super::waiting::{Named, Waiting};
use crate::counting::counts::add;
use crate::counting::rates::Located;
use crate::counting::snapshot::{Process, Snapshot, Standing};
use crate::pods::index::Pods;

/// Label sets kept at a time. What finds no room is counted as [`OTHER`].
pub const MAX_SERIES: usize = 5_000;

/// A series that did not grow for so many ticks (15 minutes) makes room for new ones once the limit is reached. Longer
/// than Prometheus looks back (5 minutes), so that a series that returns is taken for a new one.
pub const IDLE_TICKS: u64 = 15 * 60;

/// The namespace under which requests are counted that found no room; no real one has such a name.
pub const OTHER: &str = "_other";

/// The namespace under which requests are counted whose pod is not known and is no longer waited for.
pub const UNKNOWN: &str = "_unknown";

/// By what requests are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// By namespace, pod and container.
    Container,
    /// By PID and command, too.
    Process,
}

/// What tells series apart. Empty is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels {
    /// The pod's namespace.
    pub namespace: Box<str>,
    /// The pod's name.
    pub pod: Box<str>,
    /// The container's name in the pod.
    pub container: Box<str>,
    /// The process's PID as the agent sees it.
    pub pid: Box<str>,
    /// The process's name.
    pub command: Box<str>,
}

impl Labels {
    /// With what is not of the process itself left empty.
    fn of(process: &Process, grouping: Grouping) -> Self {
        let mut labels = Self::default();
        if grouping == Grouping::Process {
            let identity = &process.identity;
            labels.pid = identity.pid.map_or_else(Box::default, |pid| pid.0.to_string().into());
            labels.command = identity.command.as_str().into();
        }
        labels
    }

    fn placed(self, process: &Process) -> Self {
        match (&process.place, process.standing) {
            (Some(place), _) => Self {
                namespace: place.namespace.clone(),
                pod: place.pod.clone(),
                container: place.container.clone().unwrap_or_default(),
                ..self
            },
            (None, Standing::Outside) => self,
            (None, _) => Self { namespace: UNKNOWN.into(), ..self },
        }
    }
}

/// One series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// What was received.
    pub counts: Counts,
    /// The tick at which it last grew.
    grown_at: u64,
}

/// Everything counted so far.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// By labels.
    pub series: HashMap<Arc<Labels>, Series>,
    /// What found no room.
    pub other: Counts,
    /// What waits for the name of its pod or container.
    pub waiting: Counts,
    /// What the series had that made room.
    pub retired: Counts,
    /// How many these were.
    pub retired_series: u64,
    /// Where live processes were found, added up over all ticks.
    pub lookups: Located,
}

/// Adds up, tick by tick.
#[derive(Debug)]
pub struct Tally {
    grouping: Grouping,
    limit: usize,
    /// Copied by a tick only while somebody renders it.
    totals: Arc<Totals>,
    waiting: Waiting,
    /// The tick at which idle and dead series were last looked for.
    searched_at: u64,
    /// Those found dead then, the one last that did not grow for longest.
    dead: Vec<Arc<Labels>>,
    /// The labels of processes that lived then.
    living: HashSet<Labels>,
}

impl Tally {
    /// Nothing yet.
    #[must_use]
    pub fn new(grouping: Grouping) -> Self {
        Self {
            grouping,
            limit: MAX_SERIES,
            totals: Arc::default(),
            waiting: Waiting::default(),
            searched_at: 0,
            dead: Vec::new(),
            living: HashSet::new(),
        }
    }

    /// Everything so far.
    #[must_use]
    pub fn totals(&self) -> &Arc<Totals> {
        &self.totals
    }

    /// Adds what a tick brought. Each tick must be given, once.
    pub fn take(&mut self, snapshot: &Snapshot, pods: &Pods) {
        for Named { labels, counts } in self.waiting.released(pods, snapshot.sequence) {
            add(self.place_for(&labels, snapshot), &counts);
        }
        for grown in &snapshot.grown {
            let labels = Labels::of(&grown.process, self.grouping);
            if !self.waiting.takes(&grown.process, &labels, &grown.counts, snapshot.sequence) {
                add(self.place_for(&labels.placed(&grown.process), snapshot), &grown.counts);
            }
        }
        (self.dead, self.living) = Default::default();
        let totals = Arc::make_mut(&mut self.totals);
        totals.waiting = self.waiting.sum();
        let Located { found, awaited, unknown, outside } = snapshot.located;
        let lookups = &mut totals.lookups;
        lookups.found += found;
        lookups.awaited += awaited;
        lookups.unknown += unknown;
        lookups.outside += outside;
    }

    /// Where requests with these labels are counted.
    fn place_for(&mut self, labels: &Labels, snapshot: &Snapshot) -> &mut Counts {
        if !self.totals.series.contains_key(labels) {
            if self.totals.series.len() >= self.limit {
                self.make_room(labels, snapshot);
            }
            if self.totals.series.len() >= self.limit {
                return &mut Arc::make_mut(&mut self.totals).other;
            }
            Arc::make_mut(&mut self.totals).series.insert(Arc::new(labels.clone()), Series::default());
        }
        let series = Arc::make_mut(&mut self.totals).series.get_mut(labels);
        let series = series.expect("it is there or was put there");
        series.grown_at = snapshot.sequence;
        &mut series.counts
    }

    /// Takes out what has been idle for long, or else, for one that lives, one that is dead. Looking costs time, so once
    /// a tick is enough.
    fn make_room(&mut self, labels: &Labels, snapshot: &Snapshot) {
        if std::mem::replace(&mut self.searched_at, snapshot.sequence) != snapshot.sequence {
            self.retire_idle(snapshot.sequence);
            self.find_dead(snapshot);
        }
        if self.totals.series.len() >= self.limit
            && self.living.contains(labels)
            && let Some(dead) = self.dead.pop()
        {
            let totals = Arc::make_mut(&mut self.totals);
            if let Some(series) = totals.series.remove(&dead) {
                add(&mut totals.retired, &series.counts);
                totals.retired_series += 1;
            }
        }
    }

    fn retire_idle(&mut self, tick: u64) {
        let Totals { series, retired, retired_series, .. } = Arc::make_mut(&mut self.totals);
        series.retain(|_, series| {
            let idle = tick.saturating_sub(series.grown_at) >= IDLE_TICKS;
            if idle {
                add(retired, &series.counts);
                *retired_series += 1;
            }
            !idle
        });
    }

    fn find_dead(&mut self, snapshot: &Snapshot) {
        let labels = |process: &Process| Labels::of(process, self.grouping).placed(process);
        self.living = snapshot.processes.iter().map(labels).collect();
        // What grows at this tick may not have been added yet, and would come back at once.
        let growing: HashSet<_> = snapshot.grown.iter().map(|grown| labels(&grown.process)).collect();
        let is_dead = |labels: &Labels| !self.living.contains(labels) && !growing.contains(labels);
        let dead = self.totals.series.iter().filter(|(labels, _)| is_dead(labels));
        let mut dead: Vec<_> = dead.map(|(labels, series)| (series.grown_at, Arc::clone(labels))).collect();
        dead.sort_unstable_by(|a, b| b.cmp(a));
        self.dead = dead.into_iter().map(|(_, labels)| labels).collect();
    }
}

#[cfg(test)]
#[path = "tally_tests.rs"]
mod tests;

//! Sums by labels: bounded, and none ever falls. PURE.
//!
//! At the limit those make room that can grow no more: of processes that have ended, and of containers without any.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::labels::{Grouping, Labels};
use crate::counting::carried;
use crate::counting::snapshot::{Process, Snapshot};

/// A series that did not grow for so many ticks (15 minutes) makes room for new ones once the limit is reached. Longer
/// than Prometheus looks back (5 minutes), so that a series that returns is taken for a new one.
pub const IDLE_TICKS: u64 = 15 * 60;

/// What is added up.
pub trait Amount: Clone + Default {
    /// Adds `more`.
    fn add(&mut self, more: &Self);
}

/// What tells series apart.
pub trait Key: Clone + Hash + Eq + Ord {
    /// Whose they are.
    fn labels(&self) -> &Labels;
}

/// One series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series<V> {
    /// What was received.
    pub counts: V,
    /// The tick at which it last grew.
    grown_at: u64,
}

/// Series by what tells them apart.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(
    serialize = "K: Serialize, V: Serialize",
    deserialize = "K: Deserialize<'de> + Eq + Hash, V: Deserialize<'de>"
))]
pub struct Bounded<K, V> {
    /// By labels.
    #[serde(with = "carried::pairs")]
    pub series: HashMap<Arc<K>, Series<V>>,
    /// What found no room.
    pub other: V,
    /// What the series had that made room.
    pub retired: V,
    /// How many these were.
    pub retired_series: u64,
}

impl<K, V: Default> Default for Bounded<K, V> {
    fn default() -> Self {
        Self { series: HashMap::new(), other: V::default(), retired: V::default(), retired_series: 0 }
    }
}

/// Makes room at the limit.
#[derive(Debug)]
pub struct Room<K> {
    pub(super) limit: usize,
    /// The tick at which idle and dead series were last looked for.
    searched_at: u64,
    /// Those found dead then, the one last that did not grow for longest.
    dead: Vec<Arc<K>>,
    /// The labels of processes that lived then.
    living: HashSet<Labels>,
}

impl<K: Key> Room<K> {
    /// For so many series.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, searched_at: 0, dead: Vec::new(), living: HashSet::new() }
    }

    /// Adds to the series of these labels, or to the others where there is no room for it.
    pub(super) fn add<V: Amount>(
        &mut self,
        bounded: &mut Bounded<K, V>,
        (key, more): (&K, &V),
        tick: (&Snapshot, Grouping),
    ) {
        if !bounded.series.contains_key(key) {
            if bounded.series.len() >= self.limit {
                self.make(bounded, key, tick);
            }
            if bounded.series.len() >= self.limit {
                bounded.other.add(more);
                return;
            }
            bounded.series.insert(Arc::new(key.clone()), Series { counts: V::default(), grown_at: 0 });
        }
        let series = bounded.series.get_mut(key).expect("it is there or was put there");
        series.grown_at = tick.0.sequence;
        series.counts.add(more);
    }

    /// The tick has ended.
    pub(super) fn end(&mut self) {
        (self.dead, self.living) = Default::default();
    }

    /// Takes out what has been idle for long, or else, for one that lives, one that is dead. Looking costs time, so once
    /// a tick is enough.
    fn make<V: Amount>(&mut self, bounded: &mut Bounded<K, V>, key: &K, (snapshot, grouping): (&Snapshot, Grouping)) {
        if std::mem::replace(&mut self.searched_at, snapshot.sequence) != snapshot.sequence {
            bounded.retire_idle(snapshot.sequence);
            self.find_dead(bounded, snapshot, grouping);
        }
        if bounded.series.len() >= self.limit
            && self.living.contains(key.labels())
            && let Some(dead) = self.dead.pop()
            && let Some(series) = bounded.series.remove(&dead)
        {
            bounded.retired.add(&series.counts);
            bounded.retired_series += 1;
        }
    }

    fn find_dead<V>(&mut self, bounded: &Bounded<K, V>, snapshot: &Snapshot, grouping: Grouping) {
        let labels = |process: &Process| Labels::of(process, grouping).placed(process);
        self.living = snapshot.processes.iter().map(labels).collect();
        // What grows at this tick may not have been added yet, and would come back at once.
        let growing: HashSet<_> = snapshot.grown.iter().map(|grown| labels(&grown.process)).collect();
        let is_dead = |labels: &Labels| !self.living.contains(labels) && !growing.contains(labels);
        let dead = bounded.series.iter().filter(|(key, _)| is_dead(key.labels()));
        let mut dead: Vec<_> = dead.map(|(key, series)| (series.grown_at, Arc::clone(key))).collect();
        dead.sort_unstable_by(|a, b| b.cmp(a));
        self.dead = dead.into_iter().map(|(_, key)| key).collect();
    }
}

impl<K: Key, V: Amount> Bounded<K, V> {
    fn retire_idle(&mut self, tick: u64) {
        let Self { series, retired, retired_series, .. } = self;
        series.retain(|_, series| {
            let idle = tick.saturating_sub(series.grown_at) >= IDLE_TICKS;
            if idle {
                retired.add(&series.counts);
                *retired_series += 1;
            }
            !idle
        });
    }
}

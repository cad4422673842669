//! From cumulative readings to rates and to totals that never fall. PURE.
//!
//! Only processes of which there is news are looked at: what is idle stays as it is, and is shared by all snapshots.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use common::maps::{Counts, ProcessKey};
use serde::{Deserialize, Serialize};

use crate::counting::counts::{ProcessCounts, Reading, add, less, more, requests};
use crate::counting::ended::Graveyard;
use crate::counting::history::REPEATED_TICKS;
use crate::counting::identity::Identity;
use crate::counting::living::{Process, Processes, Standing};
pub use crate::counting::placing::Located;
use crate::counting::placing::{Outcome, Placing, Rest};
use crate::counting::responded::Responded;
use crate::counting::responding::{News, Responding};
use crate::counting::responses::{Durations, Kind};
use crate::counting::snapshot::PlacedRemains;
use crate::pods::index::Pods;

/// Everything known of one process over time.
#[derive(Clone, Debug)]
struct Series {
    process: Arc<Process>,
    /// Among those that live; `None` once it has ended.
    index: Option<usize>,
    /// Requests that are already part of a rate.
    rated: u64,
    /// The tick of its last rate; 0 before the first.
    rated_at: u64,
    /// Where it was found, once it was looked for.
    outcome: Option<Outcome>,
}

/// A process that has ended.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Departed {
    key: ProcessKey,
    /// What of its totals is part of the remains of its cgroup.
    buried: Counts,
    /// Whether its rates are.
    rates_buried: bool,
}

/// What processes that are gone had received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How many they were.
    pub processes: u64,
    /// Their counts, summed.
    pub totals: Counts,
}

/// What one process received between two readings.
#[derive(Clone, Debug)]
pub struct Growth {
    /// The process after it.
    pub process: Arc<Process>,
    /// What is new of requests.
    pub counts: Counts,
    /// What is new of responses.
    pub kinds: Vec<(Kind, Durations)>,
}

/// A process that was looked at for the first time.
#[derive(Clone, Debug)]
pub struct Looked {
    /// Who it is.
    pub identity: Identity,
    /// Whether it was too late: it leaves its counts and is at no time one of those that live.
    pub has_ended: bool,
}

impl From<Identity> for Looked {
    fn from(identity: Identity) -> Self {
        Self { identity, has_ended: false }
    }
}

/// Rates and totals of all processes.
#[derive(Debug)]
pub struct Rates {
    /// Until the kernel has forgotten them: the counts of a process would be taken for those of a new one.
    series: HashMap<ProcessKey, Box<Series>>,
    live: Processes,
    /// What the last reading brought, by process.
    grown: Vec<(ProcessKey, Counts)>,
    /// What it brought of responses.
    answered: Vec<News>,
    responding: Responding,
    /// Responses of all processes; `None` where they are not counted.
    responded: Option<Arc<Responded>>,
    /// Those that received something at a tick without rates.
    unrated: Vec<ProcessKey>,
    /// Those that have ended.
    departed: Vec<Departed>,
    /// Those whose pod was not looked for yet.
    newcomers: Vec<ProcessKey>,
    /// Those whose pod is not known yet.
    awaited: Vec<ProcessKey>,
    placing: Placing,
    ended: Ended,
    graveyard: Graveyard,
    totals: Counts,
    /// Requests of all processes that are already part of the overall rate.
    rated: u64,
    rate: f32,
    /// Number of the last tick that has rates.
    now: u64,
    measured_at: Duration,
}

impl Rates {
    /// Starts at the moment from which the probe counts, at 0.
    #[must_use]
    pub fn new(started_at: Duration) -> Self {
        Self {
            series: HashMap::new(),
            live: Processes::default(),
            grown: Vec::new(),
            answered: Vec::new(),
            responding: Responding::default(),
            responded: None,
            unrated: Vec::new(),
            departed: Vec::new(),
            newcomers: Vec::new(),
            awaited: Vec::new(),
            placing: Placing::default(),
            ended: Ended::default(),
            graveyard: Graveyard::default(),
            totals: Counts::default(),
            rated: 0,
            rate: 0.0,
            now: 0,
            measured_at: started_at,
        }
    }

    /// Takes one reading in and returns how much time its rates stand for: zero if the clock has
    /// not moved since the last one, and then the counts wait for the next rate.
    ///
    /// `ended` are processes for which this reading is the last word, until they are told to be
    /// [forgotten](Self::forget). `identify` is asked once for every process not seen before.
    pub fn advance<I: Into<Looked>>(
        &mut self,
        reading: &Reading,
        ended: &[ProcessKey],
        mut identify: impl FnMut(&ProcessCounts) -> I,
    ) -> Duration {
        let elapsed = reading.at.saturating_sub(self.measured_at);
        let is_measured = !elapsed.is_zero();
        if is_measured {
            self.now += 1;
            self.measured_at = reading.at;
            self.graveyard.next_tick();
        }
        self.grown.clear();
        let mut unrated = std::mem::take(&mut self.unrated);
        let mut gone = Vec::new();
        for read in &reading.processes {
            let mut is_new = false;
            let series = self.series.entry(read.key).or_insert_with(|| {
                is_new = true;
                let Looked { identity, has_ended } = identify(read).into();
                gone.extend(has_ended.then_some(read.key));
                let process = Arc::new(Process::new(read.key, identity));
                self.newcomers.push(read.key);
                Box::new(Series::new(Arc::clone(&process), self.live.push(process)))
            });
            let counts = more(&read.counts, &series.process.totals);
            if counts != Counts::default() {
                add(&mut Arc::make_mut(&mut series.process).totals, &counts);
                add(&mut self.totals, &counts);
                self.grown.push((read.key, counts));
            } else if !is_new {
                continue;
            }
            if is_measured {
                series.rate(self.now, elapsed);
            } else {
                unrated.push(read.key);
            }
            series.publish(&mut self.live);
        }
        if is_measured {
            self.rate_waiting(&unrated, elapsed);
        } else {
            self.unrated = unrated;
        }
        self.answered.clear();
        if let Some(responses) = &reading.responses {
            self.respond(responses, elapsed);
        }
        ended.iter().chain(&gone).for_each(|key| self.end(key));
        self.bury(is_measured);
        elapsed
    }

    /// Looks for the pods of processes: of those that are new or wait, and of all if the pods have changed. Processes of one
    /// container share the answer.
    pub fn locate(&mut self, pods: &Pods) {
        let mut asked = std::mem::take(&mut self.newcomers);
        asked.append(&mut self.awaited);
        let all_anew = self.placing.begin(pods, self.now);
        if all_anew {
            asked = self.series.keys().copied().collect();
        }
        for key in asked {
            let Some(series) = self.series.get_mut(&key) else { continue };
            let before = series.outcome.take().filter(|_| !all_anew);
            let (outcome, place) = self.placing.find(&series.process.identity.candidates, pods);
            series.outcome = Some(outcome);
            if series.index.is_some() {
                before.into_iter().for_each(|before| self.placing.leave(before));
                self.placing.enter(outcome);
            }
            let standing = outcome.standing();
            if standing == Standing::Awaited {
                self.awaited.push(key);
            }
            if series.process.place != place || series.process.standing != standing {
                let process = Arc::make_mut(&mut series.process);
                (process.place, process.standing) = (place, standing);
                series.publish(&mut self.live);
            }
        }
        self.placing.end();
    }

    /// Forgets processes that have ended, as the kernel has.
    pub fn forget(&mut self, released: &[ProcessKey]) {
        let released: HashSet<&ProcessKey> = released.iter().collect();
        let gone: Vec<_> = self.departed.extract_if(.., |departed| released.contains(&departed.key)).collect();
        for departed in gone {
            let Some(series) = self.series.remove(&departed.key) else { continue };
            if !departed.rates_buried {
                bury_rates(&mut self.graveyard, &series.process, self.now, REPEATED_TICKS);
            }
            self.ended.processes += 1;
            add(&mut self.ended.totals, &series.process.totals);
            let process = &*series.process;
            self.forget_responses(&process.key, process.responded.as_deref(), process.requests());
            if let Some(outcome) = series.outcome {
                self.placing.forget(outcome);
            }
        }
    }

    /// Processes that have not ended.
    #[must_use]
    pub fn live(&self) -> &Processes {
        &self.live
    }

    /// What the last reading brought, of processes that have ended too.
    pub fn grown(&self) -> impl Iterator<Item = Growth> {
        let process = |key| self.series.get(key).map(|series| Arc::clone(&series.process));
        let requests = self.grown.iter().filter_map(move |(key, counts)| {
            Some(Growth { process: process(key)?, counts: *counts, kinds: Vec::new() })
        });
        requests.chain(self.answered())
    }

    /// Where live processes were found.
    #[must_use]
    pub fn located(&self) -> Located {
        self.placing.located()
    }

    /// The number of the last tick that has rates: histories are asked as of it.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// The sum over all processes that ever were; no field of it ever falls.
    #[must_use]
    pub fn totals(&self) -> Counts {
        self.totals
    }

    /// The moment up to which there are rates.
    #[must_use]
    pub fn measured_at(&self) -> Duration {
        self.measured_at
    }

    /// Requests per second over all processes, ended ones too.
    #[must_use]
    pub fn rate(&self) -> f32 {
        self.rate
    }

    /// The sum over processes that are gone.
    #[must_use]
    pub fn ended(&self) -> Ended {
        let mut ended = self.ended;
        for series in self.departed.iter().filter_map(|departed| self.series.get(&departed.key)) {
            ended.processes += 1;
            add(&mut ended.totals, &series.process.totals);
        }
        ended
    }

    /// What is left of ended processes, by cgroup, and where that belongs.
    pub fn remains(&self, pods: &Pods) -> impl Iterator<Item = PlacedRemains> {
        self.graveyard.iter().map(|remains| {
            let Rest { place, standing, is_there } = self.placing.of_ended(&remains.candidates, pods);
            PlacedRemains { remains: remains.clone(), place, standing, is_there }
        })
    }

    /// What is left of the cgroups of which too many were to be kept.
    #[must_use]
    pub fn forgotten(&self) -> Counts {
        self.graveyard.forgotten()
    }

    /// Takes a process out of those that live, once.
    fn end(&mut self, key: &ProcessKey) {
        let Some(series) = self.series.get_mut(key) else { return };
        let Some(index) = series.index.take() else { return };
        if let Some(outcome) = series.outcome {
            self.placing.leave(outcome);
        }
        if let Some(responded) = &series.process.responded {
            self.graveyard.add_responded(&series.process.identity.candidates, responded);
        }
        self.departed.push(Departed { key: *key, buried: Counts::default(), rates_buried: false });
        let moved = self.live.remove(index).map(|moved| moved.key);
        if let Some(series) = moved.and_then(|key| self.series.get_mut(&key)) {
            series.index = Some(index);
        }
    }

    /// Leaves to their cgroups what ended processes received since it last did, and their rates if the newest belong to
    /// this tick.
    fn bury(&mut self, is_measured: bool) {
        for departed in &mut self.departed {
            let Some(series) = self.series.get(&departed.key) else { continue };
            let process = &*series.process;
            self.graveyard.add(&process.identity.candidates, &less(&process.totals, &departed.buried));
            departed.buried = process.totals;
            if is_measured {
                let ticks = if departed.rates_buried { 1 } else { REPEATED_TICKS };
                bury_rates(&mut self.graveyard, process, self.now, ticks);
                departed.rates_buried = true;
            }
        }
    }

    /// Those that received something at ticks without a rate, and all together.
    fn rate_waiting(&mut self, waiting: &[ProcessKey], elapsed: Duration) {
        for key in waiting {
            if let Some(series) = self.series.get_mut(key)
                && series.rated_at < self.now
            {
                series.rate(self.now, elapsed);
                series.publish(&mut self.live);
            }
        }
        let total = requests(&self.totals);
        self.rate = per_second(total - self.rated, elapsed);
        self.rated = total;
    }
}

impl Series {
    fn new(process: Arc<Process>, index: usize) -> Self {
        Self { process, index: Some(index), rated: 0, rated_at: 0, outcome: None }
    }

    fn rate(&mut self, now: u64, elapsed: Duration) {
        let process = Arc::make_mut(&mut self.process);
        let total = process.requests();
        process.history.note(now, per_second(total - self.rated, elapsed));
        self.rated = total;
        self.rated_at = now;
    }

    /// Shows what has changed to the snapshots to come.
    fn publish(&self, live: &mut Processes) {
        if let Some(index) = self.index {
            live.set(index, Arc::clone(&self.process));
        }
    }
}

fn bury_rates(graveyard: &mut Graveyard, process: &Process, now: u64, ticks: usize) {
    graveyard.add_rates(&process.identity.candidates, process.history.last(now, ticks));
}

fn per_second(count: u64, elapsed: Duration) -> f32 {
    (count as f64 / elapsed.as_secs_f64()) as f32
}

#[path = "rates_carried.rs"]
mod carried;
#[path = "rates_responses.rs"]
mod responses;

pub use carried::CarriedRates;

#[cfg(test)]
#[path = "rates_tests.rs"]
mod tests;

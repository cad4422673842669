//! From cumulative readings to rates and to totals that never fall. PURE.

use std::collections::HashMap;
use std::time::Duration;

use common::maps::{Counts, ProcessKey};

use crate::counts::{ProcessCounts, Reading, add, less, raise, requests};
use crate::history::{History, REPEATED_TICKS};
use crate::process::Identity;
use crate::remains::{Graveyard, Remains};
use std::sync::Arc;

/// Everything known of one process over time.
#[derive(Clone, Debug)]
pub struct Series {
    /// Who it is.
    pub identity: Arc<Identity>,
    /// What it received since it was first counted.
    pub totals: Counts,
    /// Its rates at the last ticks.
    pub history: History,
    /// Requests that are already part of a rate.
    rated: u64,
    alive: bool,
    /// What of its totals is part of the remains of its cgroup.
    buried: Counts,
    /// Whether its rates are.
    rates_buried: bool,
    /// The number of the last reading that named it.
    seen: u64,
}

/// What processes that are gone had received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// How many they were.
    pub processes: u64,
    /// Their counts, summed.
    pub totals: Counts,
}

/// Rates and totals of all processes.
#[derive(Debug)]
pub struct Rates {
    series: HashMap<ProcessKey, Series>,
    ended: Ended,
    graveyard: Graveyard,
    totals: Counts,
    /// Requests of all processes that are already part of the overall rate.
    rated: u64,
    rate: f32,
    readings: u64,
    measured_at: Duration,
}

impl Rates {
    /// Starts at the moment from which the probe counts, at 0.
    #[must_use]
    pub fn new(started_at: Duration) -> Self {
        Self {
            series: HashMap::new(),
            ended: Ended::default(),
            graveyard: Graveyard::default(),
            totals: Counts::default(),
            rated: 0,
            rate: 0.0,
            readings: 0,
            measured_at: started_at,
        }
    }

    /// Takes one reading in and returns how much time its rates stand for: zero if the clock has
    /// not moved since the last one, and then the counts wait for the next rate.
    ///
    /// `ended` are processes for which this reading is the last word. `identify` is asked once for
    /// every process not seen before.
    pub fn advance(
        &mut self,
        reading: &Reading,
        ended: &[ProcessKey],
        mut identify: impl FnMut(&ProcessCounts) -> Identity,
    ) -> Duration {
        self.readings += 1;
        for process in &reading.processes {
            let series = self.series.entry(process.key).or_insert_with(|| Series::new(identify(process)));
            raise(&mut series.totals, &process.counts);
            series.seen = self.readings;
        }
        for key in ended {
            if let Some(series) = self.series.get_mut(key) {
                series.alive = false;
            }
        }
        self.fold_ended();
        self.measure(reading.at)
    }

    /// Processes that have not ended, in no particular order.
    pub fn live(&self) -> impl Iterator<Item = (&ProcessKey, &Series)> {
        self.series.iter().filter(|(_, series)| series.alive)
    }

    /// Processes that have ended and that the last reading still named: it is its last word on them.
    pub fn departed(&self) -> impl Iterator<Item = (&ProcessKey, &Series)> {
        self.series.iter().filter(|(_, series)| !series.alive)
    }

    /// The sum over all processes that ever were; no field of it ever falls.
    #[must_use]
    pub fn totals(&self) -> Counts {
        self.totals
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
        for series in self.series.values().filter(|series| !series.alive) {
            ended.processes += 1;
            add(&mut ended.totals, &series.totals);
        }
        ended
    }

    /// What is left of ended processes, by cgroup.
    pub fn remains(&self) -> impl Iterator<Item = &Remains> {
        self.graveyard.iter()
    }

    /// A process is forgotten once it has ended *and* the kernel no longer names it. Not sooner:
    /// its counts would be taken for those of a new process.
    fn fold_ended(&mut self) {
        let (readings, ended, graveyard) = (self.readings, &mut self.ended, &mut self.graveyard);
        self.series.retain(|_, series| {
            let gone = !series.alive && series.seen != readings;
            if gone {
                series.bury(graveyard, !series.rates_buried);
                ended.processes += 1;
                add(&mut ended.totals, &series.totals);
            }
            !gone
        });
    }

    fn measure(&mut self, at: Duration) -> Duration {
        let elapsed = at.saturating_sub(self.measured_at);
        let mut totals = self.ended.totals;
        for series in self.series.values_mut() {
            add(&mut totals, &series.totals);
            if !elapsed.is_zero() {
                let total = requests(&series.totals);
                series.history.push(per_second(total - series.rated, elapsed));
                series.rated = total;
            }
        }
        self.totals = totals;
        if !elapsed.is_zero() {
            self.graveyard.next_tick();
        }
        for series in self.series.values_mut().filter(|series| !series.alive) {
            series.bury(&mut self.graveyard, !elapsed.is_zero());
        }
        if !elapsed.is_zero() {
            let total = requests(&totals);
            self.rate = per_second(total - self.rated, elapsed);
            self.rated = total;
            self.measured_at = at;
        }
        elapsed
    }
}

impl Series {
    fn new(identity: Identity) -> Self {
        Self {
            identity: Arc::new(identity),
            totals: Counts::default(),
            history: History::default(),
            rated: 0,
            alive: true,
            buried: Counts::default(),
            rates_buried: false,
            seen: 0,
        }
    }

    /// Leaves to its cgroup what it received since it last did, and its rates if the newest belongs to this tick.
    fn bury(&mut self, graveyard: &mut Graveyard, measured: bool) {
        graveyard.add(&self.identity.candidates, &less(&self.totals, &self.buried));
        self.buried = self.totals;
        if measured {
            let ticks = if self.rates_buried { 1 } else { REPEATED_TICKS };
            graveyard.add_rates(&self.identity.candidates, &self.history, ticks);
            self.rates_buried = true;
        }
    }
}

fn per_second(count: u64, elapsed: Duration) -> f32 {
    (count as f64 / elapsed.as_secs_f64()) as f32
}

#[cfg(test)]
#[path = "rates_tests.rs"]
mod tests;

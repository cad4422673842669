//! Rates, as one agent hands them to the next. PURE.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use common::maps::{Counts, ProcessKey};
use serde::{Deserialize, Serialize};

use super::{Departed, Ended, Rates, Series};
use crate::counting::counts::requests;
use crate::counting::ended::Graveyard;
use crate::counting::living::{Process, Processes};
use crate::counting::responded::Responded;
use crate::counting::responding::Responding;

/// What is not found out anew: where processes are is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CarriedRates {
    series: Vec<CarriedSeries>,
    responding: Responding,
    responded: Option<Arc<Responded>>,
    unrated: Vec<ProcessKey>,
    departed: Vec<Departed>,
    ended: Ended,
    graveyard: Graveyard,
    totals: Counts,
    rated: u64,
    rate: f32,
    now: u64,
    measured_at: Duration,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct CarriedSeries {
    process: Arc<Process>,
    lives: bool,
    rated: u64,
    rated_at: u64,
}

impl CarriedRates {
    /// What no agent would have written: differences would be below zero.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        let is_later = |series: &CarriedSeries| {
            series.rated_at > self.now
                || series.rated > series.process.requests()
                || series.process.history.is_later_than(self.now)
        };
        let is_fault = self.rated > requests(&self.totals) || self.series.iter().any(is_later);
        is_fault.then_some("it rates what is not there")
    }
}

impl Rates {
    /// What another agent goes on with.
    #[must_use]
    pub fn carried(&self) -> CarriedRates {
        let series = self.series.values().map(|series| CarriedSeries {
            process: Arc::clone(&series.process),
            lives: series.index.is_some(),
            rated: series.rated,
            rated_at: series.rated_at,
        });
        CarriedRates {
            series: series.collect(),
            responding: self.responding.clone(),
            responded: self.responded.clone(),
            unrated: self.unrated.clone(),
            departed: self.departed.clone(),
            ended: self.ended,
            graveyard: self.graveyard.clone(),
            totals: self.totals,
            rated: self.rated,
            rate: self.rate,
            now: self.now,
            measured_at: self.measured_at,
        }
    }

    /// Goes on where another ended, with what has no [fault](CarriedRates::fault).
    #[must_use]
    pub fn resumed(carried: CarriedRates) -> Self {
        let mut rates = Self::new(carried.measured_at);
        let (mut series, mut live) = (HashMap::new(), Processes::default());
        for CarriedSeries { process, lives, rated, rated_at } in carried.series {
            rates.newcomers.push(process.key);
            let index = lives.then(|| live.push(Arc::clone(&process)));
            series.insert(process.key, Box::new(Series { process, index, rated, rated_at, outcome: None }));
        }
        Self {
            series,
            live,
            responding: carried.responding,
            responded: carried.responded,
            unrated: carried.unrated,
            departed: carried.departed,
            ended: carried.ended,
            graveyard: carried.graveyard,
            totals: carried.totals,
            rated: carried.rated,
            rate: carried.rate,
            now: carried.now,
            ..rates
        }
    }
}

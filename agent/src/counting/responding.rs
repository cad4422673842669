//! From cumulative readings of responses to what is new in each. PURE.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use common::maps::ProcessKey;
use common::series::Outcome;
use serde::{Deserialize, Serialize};

use crate::counting::carried;
use crate::counting::responses::{Durations, Kind, Responses, SeriesCounts, more};

/// What one process has answered between two readings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Which process.
    pub key: ProcessKey,
    /// Responses, by kind.
    pub kinds: Vec<(Kind, Durations)>,
    /// What became of requests otherwise.
    pub outcome: Outcome,
}

/// What was read last, by process. Bounded by the kernel's tables: of series and of slots.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Responding {
    #[serde(with = "carried::pairs")]
    known: HashMap<ProcessKey, Known>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Known {
    #[serde(with = "carried::pairs")]
    kinds: HashMap<Kind, Durations>,
    outcome: Outcome,
}

impl Responding {
    /// What is new since the readings before. A series or a process that is missing has no news.
    pub fn take(&mut self, responses: &Responses) -> Vec<News> {
        let (mut news, mut places) = (Vec::new(), HashMap::new());
        for SeriesCounts { process, asked, status, value } in &responses.series {
            let kind = Kind { asked: *asked, status: *status };
            let known = self.known.entry(*process).or_default().kinds.entry(kind).or_default();
            let new = more(&value.into(), known);
            if new != Durations::default() {
                super::responses::add(known, &new);
                place(&mut news, &mut places, *process).kinds.push((kind, new));
            }
        }
        for (process, read) in &responses.outcomes {
            let known = self.known.get(process).map_or(Outcome::default(), |known| known.outcome);
            let new = Outcome {
                unanswered: read.unanswered.saturating_sub(known.unanswered),
                lost: read.lost.saturating_sub(known.lost),
            };
            if new != Outcome::default() {
                let known = &mut self.known.entry(*process).or_default().outcome;
                known.unanswered += new.unanswered;
                known.lost += new.lost;
                place(&mut news, &mut places, *process).outcome = new;
            }
        }
        news
    }

    /// Forgets a process, as the kernel has.
    pub fn forget(&mut self, key: &ProcessKey) {
        self.known.remove(key);
    }
}

fn place<'a>(news: &'a mut Vec<News>, places: &mut HashMap<ProcessKey, usize>, key: ProcessKey) -> &'a mut News {
    let place = match places.entry(key) {
        Entry::Occupied(place) => *place.get(),
        Entry::Vacant(place) => {
            news.push(News { key, kinds: Vec::new(), outcome: Outcome::default() });
            *place.insert(news.len() - 1)
        }
    };
    &mut news[place]
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::exchange::Asked;
    use common::series::Series;
    use proptest::prelude::*;

    fn key(tgid: u32) -> ProcessKey {
        ProcessKey { start_ns: 1, tgid, reserved: 0 }
    }

    fn series(tgid: u32, status: u32, count: u64) -> SeriesCounts {
        let mut value = Series { sum_ns: 10 * count, ..Series::default() };
        value.buckets[2] = count;
        SeriesCounts { process: key(tgid), asked: Asked::HTTP_1, status, value }
    }

    fn sum(news: &[News]) -> u64 {
        news.iter().flat_map(|news| &news.kinds).map(|(_, series)| super::super::responses::count(series)).sum()
    }

    #[test]
    fn only_what_grew_is_news() {
        let mut responding = Responding::default();
        let mut take = |series: Vec<SeriesCounts>, outcomes: Vec<(ProcessKey, Outcome)>| {
            responding.take(&Responses { series, outcomes, ..Responses::default() })
        };
        let lost = |lost| Outcome { unanswered: 1, lost };
        let first = take(vec![series(1, 200, 5), series(1, 500, 1), series(2, 200, 1)], vec![(key(1), lost(2))]);
        assert_eq!((first.len(), first[0].kinds.len(), first[0].outcome, sum(&first)), (2, 2, lost(2), 7));
        let second = take(vec![series(1, 200, 5), series(1, 500, 4)], vec![(key(1), lost(3))]);
        assert_eq!((second.len(), second[0].kinds.len(), sum(&second)), (1, 1, 3));
        assert_eq!(second[0].outcome, Outcome { unanswered: 0, lost: 1 });
        assert_eq!(take(vec![series(1, 500, 2)], vec![(key(1), Outcome::default())]), []);
        assert_eq!(sum(&take(vec![series(1, 500, 5)], vec![])), 1, "what was counted does not count again");
    }

    proptest! {
        /// Readings of everything and readings of what changed give the same news, in sum exactly what was read last.
        #[test]
        fn missing_series_have_no_news(ticks in prop::collection::vec(prop::collection::vec((1..4_u32, 200..203_u32, 0..5_u64), 0..8), 1..8)) {
            let (mut full, mut sparse) = (Responding::default(), Responding::default());
            let mut counts: HashMap<(u32, u32), u64> = HashMap::new();
            let mut sums = (0, 0);
            for tick in ticks {
                tick.iter().for_each(|(tgid, status, more)| *counts.entry((*tgid, *status)).or_default() += more);
                let of = |((tgid, status), count): (&(u32, u32), &u64)| series(*tgid, *status, *count);
                let all = counts.iter().map(of).collect();
                let is_new = |(tgid, status): &(u32, u32)| tick.iter().any(|grown| (grown.0, grown.1) == (*tgid, *status));
                let changed = counts.iter().filter(|(kind, _)| is_new(kind)).map(of).collect();
                sums.0 += sum(&full.take(&Responses { series: all, ..Responses::default() }));
                sums.1 += sum(&sparse.take(&Responses { series: changed, ..Responses::default() }));
            }
            prop_assert_eq!(sums, (counts.values().sum(), counts.values().sum()));
        }
    }
}

//! Responses, as the processes that they belong to get them. PURE.

use std::sync::Arc;
use std::time::Duration;

use common::maps::ProcessKey;
use common::series::Outcome;

use super::{Growth, Rates, per_second};
use crate::counting::responded::Responded;
use crate::counting::responses::Responses;

impl Rates {
    /// Takes in what was read of responses. Processes of which there is no news are not looked at.
    pub(super) fn respond(&mut self, responses: &Responses, elapsed: Duration) {
        // Without a time there is no rate; the responses themselves count.
        let rate = |count| if elapsed.is_zero() { 0.0 } else { per_second(count, elapsed) };
        let all = Arc::make_mut(self.responded.get_or_insert_default());
        self.answered = self.responding.take(responses);
        for news in &self.answered {
            let mut new = Responded::default();
            news.kinds.iter().for_each(|(kind, series)| new.note(self.now, (*kind, series), rate));
            new.note_outcome(&news.outcome);
            all.add(&new);
            let Some(series) = self.series.get_mut(&news.key) else { continue };
            let process = Arc::make_mut(&mut series.process);
            Arc::make_mut(process.responded.get_or_insert_default()).add(&new);
            match series.index {
                Some(_) => series.publish(&mut self.live),
                // What it had answered before has been left to its cgroup already.
                None => self.graveyard.add_responded(&series.process.identity.candidates, &new),
            }
        }
    }

    /// What of the last reading's growth was responses.
    pub(super) fn answered(&self) -> impl Iterator<Item = Growth> {
        self.answered.iter().filter_map(|news| {
            let process = Arc::clone(&self.series.get(&news.key)?.process);
            Some(Growth { process, counts: Default::default(), kinds: news.kinds.clone() })
        })
    }

    /// Nothing more is heard of this process, of which so many requests were counted: what was in flight will not be known.
    pub(super) fn forget_responses(&mut self, key: &ProcessKey, responded: Option<&Responded>, requests: u64) {
        self.responding.forget(key);
        if let Some(all) = &mut self.responded {
            let lost = responded.map_or(requests, |responded| responded.in_flight(requests));
            Arc::make_mut(all).note_outcome(&Outcome { unanswered: 0, lost });
        }
    }

    /// What all processes that ever were have answered; `None` where that is not counted.
    #[must_use]
    pub fn responded(&self) -> Option<&Arc<Responded>> {
        self.responded.as_ref()
    }
}

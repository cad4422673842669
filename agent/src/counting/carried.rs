//! What one agent's counting tells the next, so that it goes on where the other ended; and how that is written. PURE.
//!
//! JSON: keys that are no text stand in pairs with their values.

use serde::{Deserialize, Serialize};

use common::maps::ProcessKey;

use crate::counting::rates::CarriedRates;
use crate::counting::snapshot::Snapshots;

/// What a sampler knows, after a tick.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Carried {
    pub(super) rates: CarriedRates,
    pub(super) snapshots: Snapshots,
    /// Ended, but no reading since.
    pub(super) ending: Vec<ProcessKey>,
    pub(super) failed_reads: u64,
    pub(super) unreadable: u64,
}

impl Carried {
    /// What no agent would have written, if there is something.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        self.rates.fault()
    }
}

/// Maps by keys that are no text.
pub mod pairs {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::collections::HashMap;
    use std::hash::Hash;

    /// Writes one.
    ///
    /// # Errors
    ///
    /// The serializer's.
    pub fn serialize<K: Serialize, V: Serialize, S: Serializer>(map: &HashMap<K, V>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// The deserializer's.
    pub fn deserialize<'de, K, V, D>(from: D) -> Result<HashMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Eq + Hash,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(from)?.into_iter().collect())
    }
}

/// The rates of a minute, of which most are 0: those that are not, each with its place.
pub mod rates {
    use crate::counting::history::LENGTH;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes them.
    ///
    /// # Errors
    ///
    /// The serializer's.
    pub fn serialize<S: Serializer>(rates: &[f32; LENGTH], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(rates.iter().enumerate().filter(|(_, rate)| **rate != 0.0))
    }

    /// Reads them.
    ///
    /// # Errors
    ///
    /// The deserializer's.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[f32; LENGTH], D::Error> {
        let mut rates = [0.0; LENGTH];
        for (place, rate) in Vec::<(usize, f32)>::deserialize(from)? {
            *rates.get_mut(place).ok_or_else(|| serde::de::Error::custom("no such place in a minute"))? = rate;
        }
        Ok(rates)
    }
}

/// Moments, in nanoseconds since the Unix epoch.
pub mod times {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::collections::VecDeque;

    /// Writes them.
    ///
    /// # Errors
    ///
    /// The serializer's.
    pub fn serialize<S: Serializer>(times: &VecDeque<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(times.iter().map(|time| time.as_nanosecond()))
    }

    /// Reads them.
    ///
    /// # Errors
    ///
    /// The deserializer's.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<VecDeque<Timestamp>, D::Error> {
        let times = Vec::<i128>::deserialize(from)?.into_iter().map(Timestamp::from_nanosecond);
        times.collect::<Result<_, _>>().map_err(serde::de::Error::custom)
    }
}

//! Responses, as the kernel edge hands them over. PURE.

use std::fmt;

use common::duration::BUCKETS;
use common::exchange::{Asked, Untold};
use common::maps::ProcessKey;
use common::series::{self, Outcome, Series};
use serde::{Deserialize, Serialize};

/// Whether responses are counted on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Counted {
    /// They are, at this place in the kernel.
    At(String),
    /// The settings say not to.
    #[default]
    Off,
    /// The kernel has no place for it, or does not allow it there.
    Refused(String),
}

impl Counted {
    /// Each name in metrics.
    pub const NAMES: [&str; 3] = ["counted", "off", "refused"];

    /// Its name in metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::At(_) => Self::NAMES[0],
            Self::Off => Self::NAMES[1],
            Self::Refused(_) => Self::NAMES[2],
        }
    }
}

/// For people.
impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(place) => write!(f, "counted at {place}"),
            Self::Off => f.write_str("not counted: off by --responses"),
            Self::Refused(cause) => write!(f, "not counted: {cause}"),
        }
    }
}

/// Responses by duration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Durations {
    /// By bucket.
    pub buckets: [u64; BUCKETS],
    /// Their sum.
    pub sum_ns: u64,
    /// Responses whose duration is not known.
    pub unknown: u64,
}

impl From<&Series> for Durations {
    fn from(series: &Series) -> Self {
        Self { buckets: series.buckets, sum_ns: series.sum_ns, unknown: series.unknown }
    }
}

/// What tells the responses of a process apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Kind {
    /// Method and version of the requests.
    pub asked: Asked,
    /// The status; [`common::exchange::UNTOLD`] where it is not known.
    pub status: u32,
}

impl Kind {
    /// Whether the server failed: 5xx.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.status >= 500 && self.status < 600
    }
}

/// Responses of one process to requests of one kind, with one status. Cumulative since the process was first counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesCounts {
    /// Whose they are.
    pub process: ProcessKey,
    /// Method and version of the requests.
    pub asked: Asked,
    /// The status; [`common::exchange::UNTOLD`] where it is not known.
    pub status: u32,
    /// By duration.
    pub value: Series,
}

/// Responses at one moment: of all processes, or of those of which there is news since the reading before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Responses {
    /// Every series, in no particular order.
    pub series: Vec<SeriesCounts>,
    /// What is not known, by cause.
    pub untold: [u64; Untold::COUNT],
    /// Requests that went without an answer, by process.
    pub outcomes: Vec<(ProcessKey, Outcome)>,
}

impl SeriesCounts {
    /// What the kernel keeps of a process's series.
    #[must_use]
    pub fn of(process: ProcessKey, value: Series) -> Self {
        let (_, asked, status) = series::parts(value.key);
        Self { process, asked, status, value }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        count(&(&self.value).into())
    }
}

/// How many responses there are, of known duration or not.
#[must_use]
pub fn count(durations: &Durations) -> u64 {
    durations.buckets.iter().sum::<u64>() + durations.unknown
}

/// Adds `more` to `sum`.
pub fn add(sum: &mut Durations, more: &Durations) {
    sum.buckets.iter_mut().zip(more.buckets).for_each(|(sum, count)| *sum += count);
    sum.sum_ns = sum.sum_ns.saturating_add(more.sum_ns);
    sum.unknown += more.unknown;
}

/// What `read` has more than `known`: nothing where it has less, what has been counted never falls.
#[must_use]
pub fn more(read: &Durations, known: &Durations) -> Durations {
    let mut more = *read;
    more.buckets.iter_mut().zip(known.buckets).for_each(|(more, count)| *more = more.saturating_sub(count));
    more.sum_ns = more.sum_ns.saturating_sub(known.sum_ns);
    more.unknown = more.unknown.saturating_sub(known.unknown);
    more
}

//! What one agent tells the next, beside the descriptors. PURE.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use std::time::Duration;

use crate::counting::carried::Carried;
use crate::metrics::CarriedMeter;
use crate::pods::index::Pod;

impl Default for State {
    /// The socket alone.
    fn default() -> Self {
        Self { version: VERSION, probe: None, kept: None }
    }
}

/// Of what is written here. Another number is not read: the agents start from nothing.
pub const VERSION: u32 = 1;

/// Everything, as it is sent.
#[derive(Debug, Serialize, Deserialize)]
pub struct State {
    /// [`VERSION`].
    pub version: u32,
    /// What the probe's descriptors are; `None` where the socket alone is given.
    pub probe: Option<Value>,
    /// What was counted.
    pub kept: Option<Kept>,
}

/// What user space keeps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// Rates, totals and histories.
    pub counting: Carried,
    /// Metrics, where they are served.
    pub metrics: Option<CarriedMeter>,
    /// The node's name, and its pods.
    pub node: Option<String>,
    /// Each, and when it was deleted.
    pub pods: Vec<(Pod, Option<Duration>)>,
    /// When the first of the agents began to count, in nanoseconds since the Unix epoch.
    pub began_ns: i128,
    /// How many agents have handed over since.
    pub handovers: u64,
}

//! What one agent tells the next, beside the descriptors. PURE.

use std::collections::HashMap;
use std::time::Duration;

use common::maps::ProcessKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::counting::carried::Carried;
use crate::counting::carried::pairs;
use crate::metrics::CarriedMeter;
use crate::pods::index::Pod;

impl Default for State {
    /// The socket alone.
    fn default() -> Self {
        Self { version: VERSION, probe: None, kept: None, tls: None }
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
    /// What reads requests in TLS, if that is given, too. Agents that know nothing of it are not given it.
    #[serde(default)]
    pub tls: Option<Tls>,
}

/// What reads requests in TLS.
#[derive(Debug, Serialize, Deserialize)]
pub struct Tls {
    /// What its descriptors are.
    pub probe: Value,
    /// How many follow.
    pub descriptors: usize,
    /// The processes whose requests are read, and where.
    #[serde(with = "pairs")]
    pub read: HashMap<ProcessKey, String>,
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

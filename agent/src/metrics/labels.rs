//! What tells series apart. PURE.

use std::sync::Arc;

use common::exchange::UNTOLD;
use common::maps::{Counts, Version};
use common::method::Method;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::bounded::{Amount, Key};
use crate::counting::responses::{Durations, Kind};
use crate::counting::snapshot::{Place, Process, Standing};

/// The namespace under which requests are counted that found no room; no real one has such a name.
pub const OTHER: &str = "_other";

/// The namespace under which requests are counted whose pod is not known and is no longer waited for.
pub const UNKNOWN: &str = "_unknown";

/// By what requests are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grouping {
    /// By namespace, pod and container.
    Container,
    /// By PID and command, too.
    Process,
}

/// What tells series apart. Empty is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Labels {
    /// The pod's namespace.
    pub namespace: Box<str>,
    /// The pod's name.
    pub pod: Box<str>,
    /// The container's name in the pod.
    pub container: Box<str>,
    /// The process's PID as the agent sees it.
    pub pid: Box<str>,
    /// The process's name.
    pub command: Box<str>,
}

impl Labels {
    /// With what is not of the process itself left empty.
    pub(super) fn of(process: &Process, grouping: Grouping) -> Self {
        let mut labels = Self::default();
        if grouping == Grouping::Process {
            let identity = &process.identity;
            labels.pid = identity.pid.map_or_else(Box::default, |pid| pid.0.to_string().into());
            labels.command = identity.command.as_str().into();
        }
        labels
    }

    pub(super) fn placed(self, process: &Process) -> Self {
        match (&process.place, process.standing) {
            (Some(place), _) => self.at(place),
            (None, Standing::Outside) => self,
            (None, _) => self.at_unknown(),
        }
    }

    pub(super) fn at(self, place: &Place) -> Self {
        Self {
            namespace: place.namespace.clone(),
            pod: place.pod.clone(),
            container: place.container.clone().unwrap_or_default(),
            ..self
        }
    }

    pub(super) fn at_unknown(self) -> Self {
        Self { namespace: UNKNOWN.into(), ..self }
    }
}

impl Key for Labels {
    fn labels(&self) -> &Labels {
        self
    }
}

impl Amount for Counts {
    fn add(&mut self, more: &Self) {
        crate::counting::counts::add(self, more);
    }
}

/// The same of responses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ResponseLabels {
    /// Whose they are.
    pub labels: Arc<Labels>,
    /// The requests' method; empty where it is not known.
    pub method: &'static str,
    /// The status; 0 where it is not known.
    pub status: u32,
    /// The requests' version.
    pub version: &'static str,
}

impl ResponseLabels {
    pub(super) fn new(labels: Arc<Labels>, kind: Kind) -> Self {
        let status = if kind.status == UNTOLD { 0 } else { kind.status };
        Self { labels, method: kind.asked.method().name(), status, version: kind.asked.version().name() }
    }
}

/// The same as it is read, with names that any agent may have written.
#[derive(Deserialize)]
struct Written {
    labels: Arc<Labels>,
    method: String,
    status: u32,
    version: String,
}

impl<'de> Deserialize<'de> for ResponseLabels {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Written { labels, method, status, version } = Written::deserialize(from)?;
        let method = Method::ALL.map(Method::name).into_iter().find(|name| *name == method);
        let version = Version::ALL.map(Version::name).into_iter().find(|name| *name == version);
        let method = method.ok_or_else(|| D::Error::custom("no such method"))?;
        let version = version.ok_or_else(|| D::Error::custom("no such version"))?;
        Ok(Self { labels, method, status, version })
    }
}

impl Key for ResponseLabels {
    fn labels(&self) -> &Labels {
        &self.labels
    }
}

impl Amount for Durations {
    fn add(&mut self, more: &Self) {
        crate::counting::responses::add(self, more);
    }
}

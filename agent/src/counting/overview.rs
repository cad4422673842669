//! What the live table shows of one tick, by process, container and pod; as JSON on the plugin socket, too. PURE.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::counting::answered::{Answered, unknown_share};
use crate::counting::counts::requests;
use crate::counting::history::LENGTH;
use crate::counting::identity::Identity;
use crate::counting::shown::Shown;
use crate::counting::snapshot::{Place, Process, Snapshot};
use crate::counting::summary::{busiest, joined, losses, tls};
use crate::printable::printable;

/// Where it is found on the plugin socket.
pub const PATH: &str = "/overview";

/// Of more processes, containers or pods the busiest are in it, and how many are left out.
pub const MAX_ROWS: usize = 5_000;
/// Of a command line no more than this is shown; no screen is as wide.
const MAX_NAME_CHARS: usize = 300;

/// For what there is a row each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grouping {
    /// Processes.
    #[default]
    Process,
    /// Containers.
    Container,
    /// Pods.
    Pod,
}

impl Grouping {
    /// All of them, in the order in which Tab goes through them.
    pub const ALL: [Self; 3] = [Self::Process, Self::Container, Self::Pod];

    /// Its name in flags and in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Container => "container",
            Self::Pod => "pod",
        }
    }
}

/// How the agent counts and where it serves; it does not change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// How the probe reads.
    pub probe: String,
    /// Whether responses are counted, and why not.
    pub responses: String,
    /// Where Scope finds the plugin.
    pub socket: String,
    /// For which processes there is a row.
    pub shown: Shown,
}

/// One tick. What an agent of another version does not send is empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Overview {
    /// Number of the tick; 0 before the first.
    pub sequence: u64,
    /// When it was; empty before the first.
    pub at: String,
    /// The machine, as Scope calls it.
    pub host: String,
    /// How the probe reads.
    pub probe: String,
    /// Whether responses are counted, and why not.
    pub responses: String,
    /// Where Scope finds the plugin.
    pub socket: String,
    /// What all processes have answered since the agent began to count, where that is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered: Option<Answered>,
    /// Requests that may still be answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u64>,
    /// Requests whose connection ended without a response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<u64>,
    /// Requests whose response will not be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_responses: Option<u64>,
    /// Requests per second over all processes.
    pub rate: f32,
    /// Requests of all processes since the agent began to count.
    pub total: u64,
    /// Processes that live.
    pub processes: usize,
    /// Processes that have ended.
    pub ended_processes: u64,
    /// Whether the numbers can be relied on.
    pub exact: bool,
    /// The same in words.
    pub certainty: String,
    /// Connections that began with a TLS ClientHello, whose requests are not counted.
    pub tls_connections: u64,
    /// TLS sessions whose requests are.
    pub tls_sessions: u64,
    /// Both in words; empty if there was none.
    pub tls: String,
    /// By process, then by container, then by pod.
    pub tables: [Table; 3],
}

/// The rows of one grouping.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Table {
    /// The busiest first.
    pub rows: Vec<Row>,
    /// How many are left out.
    pub left_out: usize,
}

/// A process, a container or a pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Row {
    /// What it is called for people.
    pub name: String,
    /// Of a process, where the agent sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Processes that are part of it.
    pub processes: usize,
    /// The pod's namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The pod's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pod: String,
    /// The container's name in the pod.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub container: String,
    /// Requests per second at this tick.
    pub rate: f32,
    /// Rates at the last ticks, the newest last; none if there was no request in the last minute.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<f32>,
    /// Requests since the agent began to count.
    pub total: u64,
    /// How often a connection stopped being certain.
    pub unsynced: u64,
    /// Connections that began with a TLS ClientHello, whose requests are not counted.
    pub tls_connections: u64,
    /// TLS sessions whose requests are.
    pub tls_sessions: u64,
    /// Its responses, once there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered: Option<Answered>,
}

impl Overview {
    /// Of this tick.
    #[must_use]
    pub fn new(snapshot: &Snapshot, facts: &Facts) -> Self {
        let responded = snapshot.responded.as_deref();
        Self {
            responses: facts.responses.clone(),
            answered: responded.map(|responded| Answered::new(responded, snapshot.now)),
            in_flight: responded.map(|responded| responded.in_flight(requests(&snapshot.totals))),
            unanswered: responded.map(|responded| responded.outcome.unanswered),
            lost_responses: responded.map(|responded| responded.outcome.lost),
            sequence: snapshot.sequence,
            at: snapshot.at().map(|at| format!("{at:.3}")).unwrap_or_default(),
            host: snapshot.host.to_string(),
            probe: facts.probe.clone(),
            socket: facts.socket.clone(),
            rate: snapshot.rate,
            total: requests(&snapshot.totals),
            processes: snapshot.processes.len(),
            ended_processes: snapshot.ended.processes,
            exact: snapshot.losses.sum() == 0,
            certainty: certainty(snapshot),
            tls_connections: snapshot.totals.tls_connections,
            tls_sessions: snapshot.totals.tls_sessions,
            tls: tls(snapshot),
            tables: [processes(snapshot, facts.shown), containers(snapshot, facts.shown), pods(snapshot, facts.shown)],
        }
    }

    /// The rows of a grouping.
    #[must_use]
    pub fn table(&self, grouping: Grouping) -> &Table {
        &self.tables[grouping as usize]
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers cannot fail")
    }

    /// From JSON of an agent.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn of_json(json: &str) -> Result<Self, String> {
        let no = |error| format!("no overview: {error}");
        let mut value = serde_json::from_str(json).map_err(no)?;
        make_printable(&mut value);
        serde_json::from_value(value).map_err(no)
    }
}

/// Who answers chose the names, and they go to a terminal.
fn make_printable(value: &mut Value) {
    match value {
        Value::String(text) => *text = printable(text),
        Value::Array(values) => values.iter_mut().for_each(make_printable),
        Value::Object(entries) => entries.values_mut().for_each(make_printable),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether the numbers can be relied on.
fn certainty(snapshot: &Snapshot) -> String {
    let resynced = snapshot.losses.resynced;
    let responded = snapshot.responded.as_deref();
    let untold = responded.and_then(|of| unknown_share(of.durations.unknown, of.responses()));
    let untold = untold.map_or_else(String::new, |share| format!("; {share} of durations unknown"));
    let requests = match (losses(&snapshot.losses), joined(&snapshot.losses)) {
        (lost, _) if !lost.is_empty() => format!("not certain: {lost}; certain again {resynced}"),
        (_, 0) => "exact: nothing was lost".to_owned(),
        (_, joined) => format!("exact, but for connections open before the probe: {joined}; certain again {resynced}"),
    };
    requests + &untold
}

fn processes(snapshot: &Snapshot, shown: Shown) -> Table {
    let all = snapshot.processes.iter().filter(|process| shown.has(process)).count();
    let busiest = busiest(snapshot, shown, MAX_ROWS).into_iter();
    let rows = busiest.map(|process| process_row(process, snapshot.now)).collect::<Vec<_>>();
    Table { left_out: all - rows.len(), rows }
}

fn process_row(process: &Process, now: u64) -> Row {
    let identity = &process.identity;
    let is_idle = process.history.highest(now) <= 0.0;
    let row = Row {
        name: shortened(name(identity)),
        pid: identity.pid.map(|pid| pid.0),
        processes: 1,
        rate: process.history.newest(now),
        history: if is_idle { Vec::new() } else { process.history.last(now, LENGTH).collect() },
        total: process.requests(),
        unsynced: process.totals.unsynced,
        tls_connections: process.totals.tls_connections,
        tls_sessions: process.totals.tls_sessions,
        answered: process.responded.as_deref().map(|responded| Answered::new(responded, now)),
        ..Row::default()
    };
    row.placed(process.place.as_deref())
}

/// The command line without the folder of its program, which only takes room; else the command.
fn name(identity: &Identity) -> &str {
    let line = identity.command_line.as_str();
    let program = line.split(' ').next().unwrap_or_default();
    let folder = program.rfind('/').map_or(0, |slash| slash + 1);
    if line.is_empty() { &identity.command } else { &line[folder..] }
}

fn containers(snapshot: &Snapshot, shown: Shown) -> Table {
    sums(
        (snapshot, shown),
        // One that was restarted has another id and the same name.
        |place| match &place.container {
            Some(name) => (&*place.scope_uid, Some(&**name), None),
            None => (&*place.scope_uid, None, place.container_id),
        },
        |place| {
            let container = match (&place.container, place.container_id) {
                (Some(name), _) => name.to_string(),
                (None, Some(id)) => id.to_string().chars().take(12).collect(),
                (None, None) => "(pod)".to_owned(),
            };
            format!("{}/{}/{container}", place.namespace, place.pod)
        },
    )
}

fn pods(snapshot: &Snapshot, shown: Shown) -> Table {
    let name = |place: &Place| format!("{}/{}", place.namespace, place.pod);
    let table = sums((snapshot, shown), |place| &*place.scope_uid, name);
    let rows = table.rows.into_iter().map(|row| Row { container: String::new(), ..row });
    Table { rows: rows.collect(), ..table }
}

impl Row {
    fn placed(self, place: Option<&Place>) -> Self {
        let Some(place) = place else { return self };
        Self {
            namespace: printable(&place.namespace),
            pod: printable(&place.pod),
            container: place.container.as_deref().map(printable).unwrap_or_default(),
            ..self
        }
    }
}

fn shortened(name: &str) -> String {
    printable(&name.chars().take(MAX_NAME_CHARS).collect::<String>())
}

#[path = "overview_sums.rs"]
mod sums;
use sums::sums;

#[cfg(test)]
#[path = "overview_tests.rs"]
mod tests;

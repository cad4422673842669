//! What the live table shows of one tick, by process, container and pod; as JSON on the plugin socket, too. PURE.

use std::collections::HashMap;
use std::hash::Hash;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::counting::counts::requests;
use crate::counting::history::{LENGTH, add_newest_first};
use crate::counting::identity::Identity;
use crate::counting::shown::Shown;
use crate::counting::snapshot::{Place, Process, Snapshot, Standing};
use crate::counting::summary::{busiest, joined, losses};
use crate::printable::printable;

/// Where it is found on the plugin socket.
pub const PATH: &str = "/overview";

/// Of more processes, containers or pods the busiest are in it, and how many are left out.
pub const MAX_ROWS: usize = 5_000;
/// Of a command line no more than this is shown; no screen is as wide.
const MAX_NAME_CHARS: usize = 300;
/// What has no pod's name, by why.
const NAMELESS: [(Standing, &str); 3] = [
    (Standing::Awaited, "(pod not known yet)"),
    (Standing::Unknown, "(pod unknown)"),
    (Standing::Outside, "(outside pods)"),
];

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
    /// Where Scope finds the plugin.
    pub socket: String,
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
}

impl Overview {
    /// Of this tick.
    #[must_use]
    pub fn new(snapshot: &Snapshot, facts: &Facts) -> Self {
        Self {
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
    match (losses(&snapshot.losses), joined(&snapshot.losses)) {
        (lost, _) if !lost.is_empty() => format!("not certain: {lost}; certain again {resynced}"),
        (_, 0) => "exact: nothing was lost".to_owned(),
        (_, joined) => format!("exact, but for connections open before the probe: {joined}; certain again {resynced}"),
    }
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

/// A row for each key, with ended processes, and for what has no pod: together they are all that was received, where all of
/// it is shown.
fn sums<'a, K: Hash + Eq>(
    (snapshot, shown): (&'a Snapshot, Shown),
    key: impl Fn(&'a Place) -> K,
    name: impl Fn(&Place) -> String,
) -> Table {
    let mut nameless = NAMELESS.map(|(standing, name)| (standing, Sum::named(name)));
    let mut by_key: HashMap<K, Sum> = HashMap::new();
    for process in snapshot.processes.iter() {
        let sum = match process.place.as_deref() {
            Some(place) => by_key.entry(key(place)).or_insert_with(|| Sum::of(place)),
            None => of_standing(&mut nameless, process.standing),
        };
        sum.processes += 1;
        sum.unsynced += process.totals.unsynced;
        sum.add(process.history.last(snapshot.now, LENGTH).rev(), process.requests());
    }
    for ended in &snapshot.remains {
        let remains = &ended.remains;
        let sum = match ended.place.as_deref() {
            Some(place) => by_key.entry(key(place)).or_insert_with(|| Sum::of(place)),
            None => of_standing(&mut nameless, ended.standing),
        };
        sum.unsynced += remains.totals.unsynced;
        sum.add(remains.rates.iter().rev().copied(), requests(&remains.totals));
    }
    of_standing(&mut nameless, Standing::Unknown).total += requests(&snapshot.forgotten);
    // Of ended processes outside containers nothing remains but their part in the total.
    of_standing(&mut nameless, Standing::Outside).total = 0;
    let others = nameless.iter().map(|(_, sum)| sum.total).chain(by_key.values().map(|sum| sum.total)).sum::<u64>();
    of_standing(&mut nameless, Standing::Outside).total = requests(&snapshot.totals).saturating_sub(others);
    let nameless = nameless.into_iter().filter(|(standing, _)| shown == Shown::All || *standing != Standing::Outside);
    let nameless = nameless.map(|(_, sum)| sum).filter(|sum| sum.processes > 0 || sum.total > 0);
    let mut rows: Vec<_> = by_key.into_values().chain(nameless).map(|sum| sum.row(&name)).collect();
    rows.sort_by(|a, b| b.rate.total_cmp(&a.rate).then(b.total.cmp(&a.total)).then_with(|| a.name.cmp(&b.name)));
    let left_out = rows.len().saturating_sub(MAX_ROWS);
    rows.truncate(MAX_ROWS);
    Table { rows, left_out }
}

fn of_standing<'a, 'b>(nameless: &'b mut [(Standing, Sum<'a>); 3], standing: Standing) -> &'b mut Sum<'a> {
    let [rest @ .., outside] = nameless;
    let found = rest.iter_mut().find(|(of, _)| *of == standing);
    found.map_or(&mut outside.1, |(_, sum)| sum)
}

/// What processes of the same place receive and received together.
#[derive(Default)]
struct Sum<'a> {
    /// Where it has no place.
    name: &'static str,
    place: Option<&'a Place>,
    processes: usize,
    newest_first: Vec<f32>,
    total: u64,
    unsynced: u64,
}

impl<'a> Sum<'a> {
    fn named(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    fn of(place: &'a Place) -> Self {
        Self { place: Some(place), ..Self::default() }
    }

    fn add(&mut self, newest_first: impl Iterator<Item = f32>, total: u64) {
        add_newest_first(&mut self.newest_first, newest_first);
        self.total += total;
    }

    fn row(self, name: impl Fn(&Place) -> String) -> Row {
        let is_idle = self.newest_first.iter().all(|rate| *rate <= 0.0);
        let row = Row {
            name: shortened(&self.place.map_or_else(|| self.name.to_owned(), name)),
            processes: self.processes,
            rate: self.newest_first.first().copied().unwrap_or_default(),
            history: if is_idle { Vec::new() } else { self.newest_first.into_iter().rev().collect() },
            total: self.total,
            unsynced: self.unsynced,
            ..Row::default()
        };
        row.placed(self.place)
    }
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

#[cfg(test)]
#[path = "overview_tests.rs"]
mod tests;

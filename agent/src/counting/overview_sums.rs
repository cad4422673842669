//! Rows of containers and pods: sums over what lives there and what has ended. PURE.

use std::collections::HashMap;
use std::hash::Hash;

use common::maps::Counts;

use super::{MAX_ROWS, Row, Table, shortened};
use crate::counting::answered::Answered;
use crate::counting::counts::requests;
use crate::counting::history::{LENGTH, add_newest_first};
use crate::counting::responded::Responded;
use crate::counting::shown::Shown;
use crate::counting::snapshot::{Place, Snapshot, Standing};

/// What has no pod's name, by why.
const NAMELESS: [(Standing, &str); 3] = [
    (Standing::Awaited, "(pod not known yet)"),
    (Standing::Unknown, "(pod unknown)"),
    (Standing::Outside, "(outside pods)"),
];

/// A row for each key, with ended processes, and for what has no pod: together they are all that was received, where all of
/// it is shown.
pub(super) fn sums<'a, K: Hash + Eq>(
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
        sum.add(process.history.last(snapshot.now, LENGTH).rev(), &process.totals);
        sum.answer(process.responded.as_deref());
    }
    for ended in &snapshot.remains {
        let remains = &ended.remains;
        let sum = match ended.place.as_deref() {
            Some(place) => by_key.entry(key(place)).or_insert_with(|| Sum::of(place)),
            None => of_standing(&mut nameless, ended.standing),
        };
        sum.add(remains.rates.iter().rev().copied(), &remains.totals);
        sum.answer(remains.responded.as_deref());
    }
    of_standing(&mut nameless, Standing::Unknown).total += requests(&snapshot.forgotten);
    // Of ended processes outside containers nothing remains but their part in the total.
    of_standing(&mut nameless, Standing::Outside).total = 0;
    let others = nameless.iter().map(|(_, sum)| sum.total).chain(by_key.values().map(|sum| sum.total)).sum::<u64>();
    of_standing(&mut nameless, Standing::Outside).total = requests(&snapshot.totals).saturating_sub(others);
    let nameless = nameless.into_iter().filter(|(standing, _)| shown == Shown::All || *standing != Standing::Outside);
    let nameless = nameless.map(|(_, sum)| sum).filter(|sum| sum.processes > 0 || sum.total > 0);
    let mut rows: Vec<_> = by_key.into_values().chain(nameless).map(|sum| sum.row(snapshot.now, &name)).collect();
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
    tls_connections: u64,
    tls_sessions: u64,
    responded: Option<Responded>,
}

impl<'a> Sum<'a> {
    fn named(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    fn of(place: &'a Place) -> Self {
        Self { place: Some(place), ..Self::default() }
    }

    fn add(&mut self, newest_first: impl Iterator<Item = f32>, totals: &Counts) {
        add_newest_first(&mut self.newest_first, newest_first);
        self.total += requests(totals);
        self.unsynced += totals.unsynced;
        self.tls_connections += totals.tls_connections;
        self.tls_sessions += totals.tls_sessions;
    }

    fn answer(&mut self, responded: Option<&Responded>) {
        if let Some(responded) = responded {
            self.responded.get_or_insert_default().add(responded);
        }
    }

    fn row(self, now: u64, name: impl Fn(&Place) -> String) -> Row {
        let is_idle = self.newest_first.iter().all(|rate| *rate <= 0.0);
        let row = Row {
            name: shortened(&self.place.map_or_else(|| self.name.to_owned(), name)),
            processes: self.processes,
            rate: self.newest_first.first().copied().unwrap_or_default(),
            history: if is_idle { Vec::new() } else { self.newest_first.into_iter().rev().collect() },
            total: self.total,
            unsynced: self.unsynced,
            tls_connections: self.tls_connections,
            tls_sessions: self.tls_sessions,
            answered: self.responded.map(|responded| Answered::new(&responded, now)),
            ..Row::default()
        };
        row.placed(self.place)
    }
}

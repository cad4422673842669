//! Attaches what counts responses, and reads it. EDGE.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::maps::{HashMap as KernelHashMap, MapData, MapError, PerCpuArray, Stack};
use aya::{Btf, Ebpf};
use aya_obj::btf::BtfKind;
use common::exchange::Untold;
use common::maps::ProcessKey;
use common::series::{self, MAX_SERIES, MAX_SHARDS, Outcome, Series, names};
use serde::{Deserialize, Serialize};

use super::LoadError;
use super::choice::{HookChoice, ProbeConfig, ResponseChoice};
use super::counters::take_marked;
use super::hook::{
    Preemption, SEND_FUNCTION, SEND_PAGES_FUNCTION, STATE_TRACEPOINT, attach_fexit, attach_fexits, attach_tracepoints,
    in_use,
};
use super::objects::Objects;
use super::sys::{MappedArray, Plain};
use crate::counting::responses::{Responses, SeriesCounts};

/// Where a connection's end is seen, and the program that takes over.
static STATE: [&str; 2] = ["state", "state_again"];
/// The end of the function that sends pages, up to Linux 6.4.
const SEND_PAGES: &str = "send_pages_taken";

/// Where sends are seen, and with that how they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SendHook {
    /// The tracepoint before a piece is taken, since Linux 6.16.
    Tracepoint,
    /// The end of the function that takes them.
    Fexit,
}

impl SendHook {
    /// The program, and the one that takes over where the kernel may skip it.
    const fn programs(self) -> &'static [&'static str; 2] {
        match self {
            Self::Tracepoint => &["send", "send_again"],
            Self::Fexit => &["send_taken", "send_taken_again"],
        }
    }

    /// Where that is, for people.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Tracepoint => format!("tp_btf/{SEND_FUNCTION}"),
            Self::Fexit => format!("fexit/{SEND_FUNCTION}"),
        }
    }

    fn attach(self, ebpf: &mut Ebpf, btf: &Btf, preemption: Preemption) -> Result<Vec<OwnedFd>, LoadError> {
        // The end of connections first: a response is counted by either.
        let mut links = attach_tracepoints(ebpf, in_use(&STATE, preemption), STATE_TRACEPOINT, btf)?;
        let programs = in_use(self.programs(), preemption);
        match self {
            Self::Tracepoint => links.extend(attach_tracepoints(ebpf, programs, SEND_FUNCTION, btf)?),
            Self::Fexit => {
                if btf.id_by_type_name_kind(SEND_PAGES_FUNCTION, BtfKind::Func).is_ok() {
                    links.push(attach_fexit(ebpf, SEND_PAGES, SEND_PAGES_FUNCTION, btf)?);
                }
                links.extend(attach_fexits(ebpf, programs, SEND_FUNCTION, btf)?);
            }
        }
        Ok(links)
    }
}

/// Whether responses are counted, and how or why not.
#[derive(Debug)]
pub enum Sends {
    /// They are.
    Counted(SendHook),
    /// Nobody wants them.
    Off,
    /// The kernel has no place for it, or does not allow it there.
    Refused(LoadError),
}

/// What is loaded, how responses are counted, and what keeps that attached.
type Loaded = (Ebpf, Sends, Vec<OwnedFd>);

/// Loads the object, made for as many parts of a series as it is given (0: requests only), and attaches what sees sends: twice
/// where requests need that, too.
pub(super) fn load(
    config: ProbeConfig,
    (btf, preemption): (&Btf, Preemption),
    mut object: impl FnMut(u32) -> Result<Ebpf, LoadError>,
) -> Result<Loaded, LoadError> {
    if config.responses == ResponseChoice::Off {
        return Ok((object(0)?, Sends::Off, Vec::new()));
    }
    let has_tracepoint = btf.id_by_type_name_kind(&format!("btf_trace_{SEND_FUNCTION}"), BtfKind::Typedef).is_ok();
    let at_fexit = config.hook == HookChoice::Fexit || !has_tracepoint;
    let hook = if at_fexit { SendHook::Fexit } else { SendHook::Tracepoint };
    let mut ebpf = object(shards())?;
    match hook.attach(&mut ebpf, btf, preemption) {
        Ok(links) => Ok((ebpf, Sends::Counted(hook), links)),
        Err(cause) => {
            drop(ebpf);
            Ok((object(0)?, Sends::Refused(cause), Vec::new()))
        }
    }
}

/// In how many parts the counts of a series are kept.
pub(super) fn shards() -> u32 {
    let cpus = aya::util::nr_cpus().map_or(MAX_SHARDS, |cpus| cpus as u32);
    cpus.next_power_of_two().min(MAX_SHARDS)
}

/// How many entries the maps have: those of [`LARGE`] one where responses are not counted.
pub(super) fn map_sizes(shards: u32, max_processes: u32) -> Vec<(&'static str, u32)> {
    if shards > 0 {
        return vec![(names::VALUES, shards * MAX_SERIES), (names::OUTCOMES, max_processes)];
    }
    LARGE.map(|map| (map, 1)).to_vec()
}

/// Those that take memory before anything is in them.
pub(super) const LARGE: [&str; 6] =
    [names::VALUES, names::SERIES, names::SERIES_MARKS, names::FREE_SERIES, names::DISPLACED, names::OUTCOMES];

/// The programs' names: those that see sends, and those that see connections end.
pub(super) const fn programs(hook: SendHook) -> [&'static [&'static str; 2]; 2] {
    [hook.programs(), &STATE]
}

/// Words of a [`Series`].
const WORDS: usize = size_of::<Series>() / size_of::<u64>();
/// Words of an [`Outcome`].
pub(super) const OUTCOME_WORDS: usize = size_of::<Outcome>() / size_of::<u64>();

/// The probe's maps of responses, seen from the agent. Series are read as the counts of processes are: those that are
/// marked, and once more at the next reading (see [`super::counters`]).
pub(super) struct ResponseCounters {
    index: KernelHashMap<MapData, u64, u32>,
    values: MappedArray,
    marks: MappedArray,
    outcomes: MappedArray,
    untold: PerCpuArray<MapData, Plain<[u64; Untold::COUNT]>>,
    free: Stack<MapData, u32>,
    shards: u32,
    /// Series to be read at the next reading, whatever their marks say.
    due: Vec<u32>,
    /// Those of the last reading.
    last: Vec<u32>,
    /// The series that were seen of each slot's holder.
    seen: HashMap<u32, HashSet<u32>>,
    /// Series whose process has ended: freed at the next reading, when nobody can be about to count there.
    leaving: Vec<u32>,
}

impl ResponseCounters {
    /// Looks at new maps, and puts every series among the free ones, the lowest on top.
    pub(super) fn fresh(objects: &Objects, max_processes: u32) -> Result<Self, MapError> {
        let mut counters = Self::at(objects, max_processes)?;
        for series in (0..MAX_SERIES).rev() {
            counters.free.push(series, 0)?;
        }
        Ok(counters)
    }

    /// Goes on with maps in which another agent has read until now, and which was about to free these series. Its marks
    /// are gone, so everything is read anew.
    pub(super) fn adopted(objects: &Objects, max_processes: u32, leaving: Vec<u32>) -> Result<Self, MapError> {
        let mut counters = Self::at(objects, max_processes)?;
        counters.due = counters.index.iter().map(|entry| entry.map(|(_, series)| series)).collect::<Result<_, _>>()?;
        if counters.due.iter().chain(&leaving).any(|series| *series >= MAX_SERIES) {
            return Err(MapError::IoError(io::Error::other("a series that there is not")));
        }
        counters.leaving = leaving;
        Ok(counters)
    }

    /// Series that are to be freed at the next reading.
    pub(super) fn leaving(&self) -> Vec<u32> {
        self.leaving.clone()
    }

    fn at(objects: &Objects, max_processes: u32) -> Result<Self, MapError> {
        let shards = shards();
        let values = objects.mapped(names::VALUES, (shards * MAX_SERIES) as usize * WORDS)?;
        let marks = objects.mapped(names::SERIES_MARKS, MAX_SERIES as usize)?;
        let outcomes = objects.mapped(names::OUTCOMES, max_processes as usize * OUTCOME_WORDS)?;
        Ok(Self {
            index: KernelHashMap::try_from(objects.map(names::SERIES)?)?,
            values,
            marks,
            outcomes,
            untold: PerCpuArray::try_from(objects.map(names::UNTOLD)?)?,
            free: Stack::try_from(objects.map(names::FREE_SERIES)?)?,
            shards,
            due: Vec::new(),
            last: Vec::new(),
            seen: HashMap::new(),
            leaving: Vec::new(),
        })
    }

    /// What was counted since the last reading, of every series that was; `holder` knows whose a slot is.
    pub(super) fn read(&mut self, holder: impl Fn(u32) -> Option<ProcessKey>) -> io::Result<Responses> {
        self.free_left()?;
        let mut responses = Responses { untold: self.untold()?, ..Responses::default() };
        // Nothing fails from here on.
        let marked = take_marked(self.marks.values());
        let mut due = std::mem::take(&mut self.due);
        due.extend(&marked);
        due.sort_unstable();
        due.dedup();
        self.last.clone_from(&due);
        self.due = marked;
        for series in due {
            let value = self.value(series);
            let (slot, ..) = series::parts(value.key);
            if value.key == 0 || self.leaving.contains(&series) {
                continue;
            }
            let Some(process) = holder(slot) else {
                // Its first request has not been read yet.
                self.due.push(series);
                continue;
            };
            self.seen.entry(slot).or_default().insert(series);
            responses.series.push(SeriesCounts::of(process, value));
        }
        Ok(responses)
    }

    /// The same of all series, whatever their marks say.
    pub(super) fn read_all(&self, holder: impl Fn(u32) -> Option<ProcessKey>) -> io::Result<Responses> {
        let mut responses = Responses { untold: self.untold()?, ..Responses::default() };
        for entry in self.index.iter() {
            let (key, series) = entry.map_err(io::Error::other)?;
            let value = self.value(series);
            if value.key == key
                && let Some(process) = holder(series::parts(key).0)
            {
                responses.series.push(SeriesCounts::of(process, value));
            }
        }
        Ok(responses)
    }

    fn untold(&self) -> io::Result<[u64; Untold::COUNT]> {
        let mut sums = [0; Untold::COUNT];
        for values in self.untold.get(&0, 0).map_err(io::Error::other)?.iter() {
            sums.iter_mut().zip(values.0).for_each(|(sum, count)| *sum += count);
        }
        Ok(sums)
    }

    /// A series' words in one of its parts.
    fn words(&self, series: u32, shard: u32) -> &[AtomicU64] {
        let first = (shard * MAX_SERIES + series) as usize * WORDS;
        self.values.values().get(first..first + WORDS).unwrap_or_default()
    }

    fn value(&self, series: u32) -> Series {
        let mut sum = Series::default();
        for shard in 0..self.shards {
            let mut words = self.words(series, shard).iter().map(|word| word.load(Ordering::Relaxed));
            let mut next = || words.next().unwrap_or_default();
            let (key, sum_ns, unknown) = (next(), next(), next());
            sum.key |= key;
            sum.sum_ns += sum_ns;
            sum.unknown += unknown;
            sum.buckets.iter_mut().for_each(|bucket| *bucket += next());
        }
        sum
    }

    /// What the last reading gave is to be given again: it reached nobody.
    pub(super) fn again(&mut self) {
        self.due.append(&mut self.last);
    }

    fn outcome_words(&self, slot: u32) -> &[AtomicU64] {
        let first = slot as usize * OUTCOME_WORDS;
        self.outcomes.values().get(first..first + OUTCOME_WORDS).unwrap_or_default()
    }

    /// What became of a slot's requests otherwise.
    pub(super) fn outcome(&self, slot: u32) -> Outcome {
        let mut words = self.outcome_words(slot).iter().map(|word| word.load(Ordering::Relaxed));
        let mut next = || words.next().unwrap_or_default();
        Outcome { unanswered: next(), lost: next() }
    }

    /// Gives back what the holders of these slots had. Their keys are no longer in the table of processes.
    pub(super) fn release(&mut self, slots: &[u32]) -> io::Result<()> {
        // A series that was taken since the last reading is not seen yet.
        let marked = take_marked(self.marks.values());
        for series in &marked {
            let (slot, ..) = series::parts(self.value(*series).key);
            if slots.contains(&slot) {
                self.seen.entry(slot).or_default().insert(*series);
            }
        }
        self.due.extend(marked);
        for slot in slots {
            self.outcome_words(*slot).iter().for_each(|word| word.store(0, Ordering::Relaxed));
            for series in self.seen.remove(slot).unwrap_or_default() {
                match self.index.remove(&self.value(series).key) {
                    Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {}
                    removed => removed.map_err(io::Error::other)?,
                }
                self.leaving.push(series);
            }
        }
        Ok(())
    }

    /// Frees the series of processes that had ended by the last reading.
    fn free_left(&mut self) -> io::Result<()> {
        while let Some(series) = self.leaving.last().copied() {
            for shard in 0..self.shards {
                self.words(series, shard).iter().for_each(|word| word.store(0, Ordering::Relaxed));
            }
            self.free.push(series, 0).map_err(io::Error::other)?;
            self.leaving.pop();
        }
        Ok(())
    }
}

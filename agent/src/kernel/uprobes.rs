//! The programs in TLS libraries: loads them beside the probe, whose counts they add to, and puts them into files. EDGE.
//!
//! aya loads programs for one place a link. A file has ten places and more, each of whose links would take a tenth of a second to
//! detach: `uprobe_multi` takes them all in one. aya makes the maps, and relocates; the last two system calls are made here.

use std::collections::HashSet;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::thread;

use aya::Pod;
use aya::maps::{Array, HashMap, MapData};
use aya::programs::ProgramError;
use aya_obj::{Object, VerifierLog};
use common::connection::Connection;
use common::exchange::Streams;
use common::layout::CONSTANTS;
use common::maps::{MARKED, Process, ProcessKey, names};
use common::series::names::OUTCOMES;
use common::tls::action::{ANSWERED, Action};
use common::tls::session::{Answering, Key, MAX_ANSWERING, MAX_CALLS, MAX_SESSIONS, names as own_names};
use serde::{Deserialize, Serialize};

use super::LoadError;
use super::btf::Btf;
use super::choice::TlsChoice;
use super::constants::{constants, describe, link_functions};
use super::objects::{Objects, descriptor};
use super::probe::{Kernel, loader};
use super::responses::{self, OUTCOME_WORDS};
use super::statistics::{ProgramStatistics, statistics_of};
use super::sys::{self, MappedArray, Plain};
use crate::tls::library::Library;

pub(super) static TLS: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tls"));
/// Where something is read, and where sessions begin and end.
const READS: &str = "tls";
/// Where something is written, if responses are counted; and again where sessions begin and end.
const WRITES: &str = "tls_writes";
/// Of the verifier's log, which is wanted only where it refuses.
const LOG_BYTES: usize = 1 << 20;
/// So many links are dropped at a time: each waits until no CPU is within its program.
const DROPPED_TOGETHER: usize = 32;
/// `struct Call` and `struct Write` of the programs.
const CALL_BYTES: usize = 32;

/// By sessions, or by calls.
type Keyed<const BYTES: usize> = HashMap<MapData, Plain<Key>, [u8; BYTES]>;

/// Their maps.
const OWN_MAPS: [&str; 5] =
    [own_names::SESSIONS, own_names::CALLS, own_names::WRITES, own_names::ANSWERING, own_names::H2_ANSWERING];
/// Offsets in a file, and what the program is told at each.
type Places = Vec<(u64, u64)>;
/// One where nothing is run.
const HEADER: (u64, u64) = (0, 0);

/// The programs, loaded, and what they know of sessions.
pub struct Uprobes {
    /// The programs, and their maps.
    pub(super) own: Objects,
    sessions: Keyed<{ size_of::<Connection>() }>,
    calls: Keyed<CALL_BYTES>,
    /// Where responses are counted.
    writes: Option<Writes>,
}

struct Writes {
    calls: Keyed<CALL_BYTES>,
    answering: HashMap<MapData, Plain<Key>, Plain<Answering>>,
    streams: HashMap<MapData, Plain<Key>, Plain<Streams>>,
    processes: Array<MapData, Plain<Process>>,
    outcomes: MappedArray,
    marks: MappedArray,
}

/// Keeps the programs in a file. What reads requests is taken out first, and put in last: whoever is owed a response is seen to write it.
#[derive(Debug)]
pub struct Link {
    reads: OwnedFd,
    writes: Option<OwnedFd>,
    /// Taken out behind them, and put in before them.
    guard: Guard,
    stands: Stands,
}

/// The last probe of a file while the others are taken out: in its header, where nothing is run, and for the agent alone, so that no other
/// process gets a breakpoint. The kernel looks only whether a process maps a place with a probe (`mmf_recalc_uprobes`). Where it maps none any
/// more, a thread that has met a probe just before, and comes to `uprobe_pre_sstep_notifier` only now, is ended by SIGTRAP.
#[derive(Debug)]
struct Guard(OwnedFd);

/// Where the programs stand in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stands {
    reads: Places,
    /// Of the one that counts responses; `None` where it does not stand there.
    writes: Option<Places>,
}

/// What was forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Sessions of processes that have ended.
    pub sessions: usize,
    /// Calls of theirs that never ended.
    pub calls: usize,
    /// Those of these sessions that were owed responses, or had been.
    pub answering: usize,
}

impl Kernel {
    /// Loads the program that counts what TLS libraries hand over, for the processes that this probe knows; and the one that counts
    /// responses, if they are wanted in TLS, too.
    ///
    /// # Errors
    ///
    /// One line with the cause and the cure.
    pub fn uprobes(&self) -> Result<Uprobes, LoadError> {
        let is_wanted = self.responses.is_some() && matches!(self.tls, TlsChoice::Auto { responses: true, .. });
        Uprobes::load(&self.objects, if is_wanted { responses::shards() } else { 0 })
    }

    /// Goes on with those that another agent has loaded for the same probe.
    pub(super) fn uprobes_of(&self, own: Objects) -> Result<Uprobes, LoadError> {
        Uprobes::at(&self.objects, own)
    }
}

impl Uprobes {
    fn load(shared: &Objects, shards: u32) -> Result<Self, LoadError> {
        let mut loader = loader();
        let blob = describe()?;
        let types = Btf::parse(&blob)?;
        if types.value_of("bpf_attach_type", "BPF_TRACE_UPROBE_MULTI").is_err() {
            return Err(LoadError::NoUprobes);
        }
        let mut code = TLS.to_vec();
        let mut constants = Plain(constants(&types, &link_functions(&mut code, &types)?)?);
        constants.0.response_shards = shards;
        drop(types);
        drop(blob);
        loader.override_global(CONSTANTS, &constants, true);
        // Those of the probe stand in their place.
        let large = [names::SLOTS, names::PROCESSES, names::COUNTS, names::MARKS, names::FREE_SLOTS];
        for map in large.into_iter().chain(responses::LARGE) {
            loader.map_max_entries(map, 1);
        }
        let loaded = loader.load(&code).map_err(LoadError::from_ebpf)?;
        sys::return_freed_memory();
        let mut own = Objects::of(&loaded, &OWN_MAPS).map_err(LoadError::descriptors)?;
        for name in [READS, WRITES].into_iter().take(if shards > 0 { 2 } else { 1 }) {
            let program = load(&code, name, |name| {
                let map = shared.map_descriptor(name).or_else(|| loaded.map(name).and_then(descriptor));
                map.map(|descriptor| descriptor.as_raw_fd())
            })?;
            own.keep_program(name, program);
        }
        Self::at(shared, own)
    }

    /// With programs that are loaded.
    fn at(shared: &Objects, own: Objects) -> Result<Self, LoadError> {
        if own.program(READS).is_none() {
            return Err(LoadError::Other(format!("the program {READS} is missing")));
        }
        let map = |name| own.map(name);
        let writes = || -> Result<Writes, LoadError> {
            let processes = shared.map(names::PROCESSES).and_then(Array::try_from).map_err(LoadError::from_map)?;
            let max_processes = processes.len() as usize;
            Ok(Writes {
                calls: map(own_names::WRITES).and_then(HashMap::try_from).map_err(LoadError::from_map)?,
                answering: map(own_names::ANSWERING).and_then(HashMap::try_from).map_err(LoadError::from_map)?,
                streams: map(own_names::H2_ANSWERING).and_then(HashMap::try_from).map_err(LoadError::from_map)?,
                outcomes: shared.mapped(OUTCOMES, max_processes * OUTCOME_WORDS).map_err(LoadError::from_map)?,
                marks: shared.mapped(names::MARKS, max_processes).map_err(LoadError::from_map)?,
                processes,
            })
        };
        Ok(Self {
            sessions: map(own_names::SESSIONS).and_then(HashMap::try_from).map_err(LoadError::from_map)?,
            calls: map(own_names::CALLS).and_then(HashMap::try_from).map_err(LoadError::from_map)?,
            writes: own.program(WRITES).map(|_| writes()).transpose()?,
            own,
        })
    }

    fn program(&self, name: &str) -> Result<BorrowedFd<'_>, LoadError> {
        self.own.program(name).ok_or_else(|| LoadError::Other(format!("the program {name} is missing")))
    }

    /// Whether responses are counted.
    #[must_use]
    pub const fn sees_writes(&self) -> bool {
        self.writes.is_some()
    }

    /// Puts the programs into a file: for all processes that map it, now or later.
    ///
    /// # Errors
    ///
    /// One line with the cause.
    pub fn attach(&self, library: &Library) -> Result<Link, LoadError> {
        let path = path_of(&library.file)?;
        let link = |program, places: &[(u64, u64)], only_pid| {
            let (offsets, cookies): (Vec<u64>, Vec<u64>) = places.iter().copied().unzip();
            match sys::link_uprobes(self.program(program)?, &path, (&offsets, &cookies), only_pid) {
                Ok(held) => Ok(held),
                Err(error) if error.kind() == ErrorKind::Unsupported => Err(LoadError::NoUprobes),
                Err(error) => Err(LoadError::Other(format!("{} cannot be probed: {error}", library.name))),
            }
        };
        let stands = self.stands(library);
        // Opened first: what a killed process leaves open the kernel closes the other way round (`task_work_run`).
        let guard = Guard(link(READS, &[HEADER], Some(std::process::id()))?);
        let writes = stands.writes.as_ref().map(|places| link(WRITES, places, None)).transpose()?;
        Ok(Link { reads: link(READS, &stands.reads, None)?, writes, guard, stands })
    }

    /// Where the programs are put in a file.
    pub(super) fn stands(&self, library: &Library) -> Stands {
        let is_answered = self.writes.is_some() && library.places.has_writes();
        let flags = if is_answered { ANSWERED } else { 0 };
        let places = |is_wanted: &dyn Fn(Action) -> bool| {
            let places = library.places.as_slice().iter().filter(|place| is_wanted(place.action));
            places.map(|place| (place.offset, place.cookie() | flags)).collect()
        };
        let writes = is_answered.then(|| places(&|action| action.is_write() || action.ends_answers()));
        Stands { reads: places(&|action| !action.is_write()), writes }
    }

    /// Puts one into a file that nobody runs, and takes it out.
    ///
    /// # Errors
    ///
    /// One line with the cause and the cure.
    pub fn try_out(&self) -> Result<(), LoadError> {
        let own = |error: io::Error| LoadError::Other(format!("this program's file cannot be probed: {error}"));
        let file = File::open("/proc/self/exe").map_err(own)?;
        let link = sys::link_uprobes(self.program(READS)?, &path_of(&file)?, (&[HEADER.0], &[HEADER.1]), None);
        link.map(drop)
            .map_err(|error| if error.kind() == ErrorKind::Unsupported { LoadError::NoUprobes } else { own(error) })
    }

    /// Forgets the sessions of processes that have ended, and calls of theirs. What cannot be removed has been, or is next time.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    pub fn sweep(&mut self, lives: impl Fn(u32) -> bool) -> io::Result<Swept> {
        fn sweep<V: Pod>(
            map: &mut HashMap<MapData, Plain<Key>, V>,
            most: usize,
            lives: &dyn Fn(u32) -> bool,
        ) -> io::Result<usize> {
            // Who removes while walking may come by the same again.
            let keys = map.keys().take(2 * most).filter(|key| key.as_ref().map_or(true, |key| !lives(key.0.tgid)));
            let dead: HashSet<Key> =
                keys.map(|key| key.map(|key| key.0).map_err(io::Error::other)).collect::<io::Result<_>>()?;
            Ok(dead.into_iter().filter(|key| map.remove(&Plain(*key)).is_ok()).count())
        }
        let mut swept = Swept {
            sessions: sweep(&mut self.sessions, MAX_SESSIONS, &lives)?,
            calls: sweep(&mut self.calls, MAX_CALLS, &lives)?,
            answering: 0,
        };
        if let Some(writes) = &mut self.writes {
            swept.calls += sweep(&mut writes.calls, MAX_CALLS, &lives)?;
            swept.answering = sweep(&mut writes.answering, MAX_ANSWERING, &lives)?;
            sweep(&mut writes.streams, MAX_ANSWERING, &lives)?;
        }
        Ok(swept)
    }

    /// Of what is still to be answered nothing will be known: for when no file is probed any more, and counting goes on.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    pub fn give_up_answers(&mut self) -> io::Result<()> {
        let Some(writes) = &mut self.writes else { return Ok(()) };
        // Who removes while walking may come by the same again.
        let all: Vec<_> = writes.answering.iter().take(2 * MAX_ANSWERING).collect();
        for entry in all {
            let (key, answering) = entry.map_err(io::Error::other)?;
            let streams = writes.streams.get(&key, 0).map_or(0, |streams| streams.0.open_streams());
            if writes.answering.remove(&key).is_ok() {
                let _ = writes.streams.remove(&key);
                writes.lose(answering.0.asked_by(), answering.0.owed() + u64::from(streams));
            }
        }
        Ok(())
    }

    /// How many sessions are known.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    pub fn sessions(&self) -> io::Result<usize> {
        let keys = self.sessions.keys().take(2 * MAX_SESSIONS);
        let keys: HashSet<Key> =
            keys.map(|key| key.map(|key| key.0)).collect::<Result<_, _>>().map_err(io::Error::other)?;
        Ok(keys.len())
    }

    /// What the kernel notes of each program.
    ///
    /// # Errors
    ///
    /// What reading /proc said.
    pub fn statistics(&self) -> io::Result<Vec<(&'static str, ProgramStatistics)>> {
        let programs = [READS, WRITES].into_iter().filter_map(|name| Some((name, self.own.program(name)?)));
        programs.map(|(name, program)| Ok((name, statistics_of(program)?))).collect()
    }
}

impl Link {
    /// Where the programs stand.
    pub(super) const fn stands(&self) -> &Stands {
        &self.stands
    }

    /// Each that there is.
    pub(super) fn borrowed(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [&self.guard.0, &self.reads].into_iter().chain(&self.writes).map(OwnedFd::as_fd)
    }

    /// As handed over, in that order.
    pub(super) fn received(stands: Stands, descriptors: &mut impl Iterator<Item = OwnedFd>) -> Option<Self> {
        let guard = Guard(descriptors.next()?);
        let reads = descriptors.next()?;
        let writes = match stands.writes {
            Some(_) => Some(descriptors.next()?),
            None => None,
        };
        Some(Self { reads, writes, guard, stands })
    }
}

impl Writes {
    /// As the program does it.
    fn lose(&self, (process, slot): (ProcessKey, u32), requests: u64) {
        let holds = self.processes.get(&slot, 0).is_ok_and(|holder| holder.0.key == process);
        // An `Outcome` has those that are unanswered, and then those that are lost.
        let lost = self.outcomes.values().get(slot as usize * OUTCOME_WORDS + 1);
        if let (true, Some(lost), Some(mark)) = (holds, lost, self.marks.values().get(slot as usize)) {
            lost.fetch_add(requests, Ordering::Relaxed);
            mark.store(MARKED, Ordering::Release);
        }
    }
}

/// What an open file is called here: whatever its own path leads to by now.
fn path_of(file: &impl AsRawFd) -> Result<CString, LoadError> {
    CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(|error| LoadError::Other(error.to_string()))
}

/// Takes the program out of many files at once.
pub fn detach(links: Vec<Link>) {
    let share = links.len().div_ceil(DROPPED_TOGETHER).max(1);
    let mut links = links.into_iter();
    thread::scope(|scope| {
        loop {
            let some: Vec<Link> = links.by_ref().take(share).collect();
            if some.is_empty() {
                break;
            }
            scope.spawn(move || drop(some));
        }
    });
}

/// Relocates a program, and loads it.
fn load(code: &[u8], name: &str, map: impl Fn(&str) -> Option<i32>) -> Result<OwnedFd, LoadError> {
    let other = |error: &dyn std::error::Error| LoadError::Other(error.to_string());
    let mut object = Object::parse(code).map_err(|error| other(&error))?;
    let features = aya::features();
    let types = match features.btf() {
        Some(features) => object.fixup_and_sanitize_btf(features).map_err(|error| other(&error))?,
        None => None,
    };
    let types = types.ok_or_else(|| LoadError::Other("the program has no types".to_owned()))?.to_bytes();
    let types = sys::load_types(&types).map_err(refused)?;
    let maps: Vec<_> = std::mem::take(&mut object.maps).into_iter().collect();
    let sections = object.functions.keys().map(|(section, _)| *section).collect();
    let found = maps.iter().filter_map(|(name, definition)| Some((name.as_str(), map(name)?, definition)));
    object.relocate_maps(found, &sections).map_err(|error| other(&error))?;
    object.relocate_calls(&sections).map_err(|error| other(&error))?;
    object.sanitize_functions(features);
    let program = object.programs.get(name);
    let function = program.and_then(|program| object.functions.get(&program.function_key()));
    let function = function.ok_or_else(|| LoadError::Other(format!("the object has no program {name}")))?;
    let load = |log: &mut [u8]| sys::load_for_uprobes((&object.license, function), types.as_fd(), log);
    load(&mut []).or_else(|_| {
        let mut log = vec![0; LOG_BYTES];
        load(&mut log).map_err(|io_error| {
            let said = log.split(|byte| *byte == 0).next().unwrap_or_default();
            let verifier_log = VerifierLog::new(String::from_utf8_lossy(said).into_owned());
            LoadError::from_program(ProgramError::LoadError { io_error, verifier_log })
        })
    })
}

fn refused(io_error: io::Error) -> LoadError {
    LoadError::from_program(ProgramError::LoadError { io_error, verifier_log: VerifierLog::new(String::new()) })
}

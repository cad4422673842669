//! The program in TLS libraries: loads it beside the probe, whose counts it adds to, and puts it into files. EDGE.
//!
//! aya loads programs for one place a link. A file has ten places and more, each of whose links would take a tenth of a second to
//! detach: `uprobe_multi` takes them all in one. aya makes the maps, and relocates; the last two system calls are made here.

use std::collections::HashSet;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd as _, AsRawFd, OwnedFd};
use std::thread;

use aya::maps::{HashMap, Map, MapData, MapError};
use aya::programs::ProgramError;
use aya_obj::{Object, VerifierLog};
use common::connection::Connection;
use common::layout::CONSTANTS;
use common::maps::names;
use common::series::names::OUTCOMES;
use common::tls::session::{Key, MAX_CALLS, MAX_SESSIONS, names as own_names};

use super::LoadError;
use super::btf::Btf;
use super::constants::{constants, describe, link_functions};
use super::objects::{Objects, descriptor};
use super::probe::{Kernel, loader};
use super::statistics::{ProgramStatistics, statistics_of};
use super::sys::{self, Plain};
use crate::tls::library::Library;

static TLS: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tls"));
const PROGRAM: &str = "tls";
/// Of the verifier's log, which is wanted only where it refuses.
const LOG_BYTES: usize = 1 << 20;
/// So many links are dropped at a time: each waits until no CPU is within its program.
const DROPPED_TOGETHER: usize = 32;
/// `struct Call` of the program.
const CALL_BYTES: usize = 32;

/// The program, loaded, and what it knows of sessions.
pub struct Uprobes {
    program: OwnedFd,
    sessions: HashMap<MapData, Plain<Key>, [u8; size_of::<Connection>()]>,
    calls: HashMap<MapData, Plain<Key>, [u8; CALL_BYTES]>,
}

/// Keeps the program in a file.
#[derive(Debug)]
pub struct Link {
    _held: OwnedFd,
}

/// What was forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Sessions of processes that have ended.
    pub sessions: usize,
    /// Calls of theirs that never ended.
    pub calls: usize,
}

impl Kernel {
    /// Loads the program that counts what TLS libraries hand over, for the processes that this probe knows.
    ///
    /// # Errors
    ///
    /// One line with the cause and the cure.
    pub fn uprobes(&self) -> Result<Uprobes, LoadError> {
        Uprobes::load(&self.objects)
    }
}

impl Uprobes {
    fn load(shared: &Objects) -> Result<Self, LoadError> {
        let mut loader = loader();
        let blob = describe()?;
        let types = Btf::parse(&blob)?;
        if types.value_of("bpf_attach_type", "BPF_TRACE_UPROBE_MULTI").is_err() {
            return Err(LoadError::NoUprobes);
        }
        let mut code = TLS.to_vec();
        let constants = Plain(constants(&types, &link_functions(&mut code, &types)?)?);
        drop(types);
        drop(blob);
        loader.override_global(CONSTANTS, &constants, true);
        // Those of the probe stand in their place.
        let large = [names::SLOTS, names::PROCESSES, names::COUNTS, names::MARKS, names::FREE_SLOTS, OUTCOMES];
        for map in large {
            loader.map_max_entries(map, 1);
        }
        let own = loader.load(&code).map_err(LoadError::from_ebpf)?;
        sys::return_freed_memory();
        let own_map = |name: &str| own.map(name).and_then(descriptor);
        let program = load(&code, |name| {
            shared.map_descriptor(name).or_else(|| own_map(name)).map(|descriptor| descriptor.as_raw_fd())
        })?;
        let map = |name| {
            let missing = MapError::InvalidName { name: String::from(name) };
            let owned = own_map(name).ok_or(missing)?.try_clone_to_owned().map_err(MapError::IoError)?;
            Map::from_map_data(MapData::from_fd(owned)?)
        };
        Ok(Self {
            sessions: map(own_names::SESSIONS).and_then(HashMap::try_from).map_err(LoadError::from_map)?,
            calls: map(own_names::CALLS).and_then(HashMap::try_from).map_err(LoadError::from_map)?,
            program,
        })
    }

    /// Puts the program into a file: for all processes that map it, now or later.
    ///
    /// # Errors
    ///
    /// One line with the cause.
    pub fn attach(&self, library: &Library) -> Result<Link, LoadError> {
        let places = library.places.as_slice();
        let offsets: Vec<u64> = places.iter().map(|place| place.offset).collect();
        let cookies: Vec<u64> = places.iter().map(|place| place.cookie()).collect();
        match sys::link_uprobes(self.program.as_fd(), &path_of(&library.file)?, (&offsets, &cookies)) {
            Ok(held) => Ok(Link { _held: held }),
            Err(error) if error.kind() == ErrorKind::Unsupported => Err(LoadError::NoUprobes),
            Err(error) => Err(LoadError::Other(format!("{} cannot be probed: {error}", library.name))),
        }
    }

    /// Puts it into a file that nobody runs, and takes it out.
    ///
    /// # Errors
    ///
    /// One line with the cause and the cure.
    pub fn try_out(&self) -> Result<(), LoadError> {
        let own = |error: io::Error| LoadError::Other(format!("this program's file cannot be probed: {error}"));
        let file = File::open("/proc/self/exe").map_err(own)?;
        // In the file's header, where nothing is run.
        let link = sys::link_uprobes(self.program.as_fd(), &path_of(&file)?, (&[0], &[0]));
        link.map(drop)
            .map_err(|error| if error.kind() == ErrorKind::Unsupported { LoadError::NoUprobes } else { own(error) })
    }

    /// Forgets the sessions of processes that have ended, and calls of theirs. What cannot be removed has been, or is next time.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    pub fn sweep(&mut self, lives: impl Fn(u32) -> bool) -> io::Result<Swept> {
        // Who removes while walking may come by the same again.
        let dead = |keys: &mut dyn Iterator<Item = Result<Plain<Key>, MapError>>| -> io::Result<HashSet<Key>> {
            let keys = keys.filter(|key| key.as_ref().map_or(true, |key| !lives(key.0.tgid)));
            keys.map(|key| key.map(|key| key.0).map_err(io::Error::other)).collect()
        };
        let sessions = dead(&mut self.sessions.keys().take(2 * MAX_SESSIONS))?;
        let calls = dead(&mut self.calls.keys().take(2 * MAX_CALLS))?;
        let swept = Swept {
            sessions: sessions.iter().filter(|key| self.sessions.remove(&Plain(**key)).is_ok()).count(),
            calls: calls.iter().filter(|key| self.calls.remove(&Plain(**key)).is_ok()).count(),
        };
        Ok(swept)
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

    /// What the kernel notes of the program.
    ///
    /// # Errors
    ///
    /// What reading /proc said.
    pub fn statistics(&self) -> io::Result<ProgramStatistics> {
        statistics_of(self.program.as_fd())
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

/// Relocates the program, and loads it.
fn load(code: &[u8], map: impl Fn(&str) -> Option<i32>) -> Result<OwnedFd, LoadError> {
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
    let program = object.programs.get(PROGRAM);
    let function = program.and_then(|program| object.functions.get(&program.function_key()));
    let function = function.ok_or_else(|| LoadError::Other(format!("the object has no program {PROGRAM}")))?;
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

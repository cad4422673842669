//! Reads the probe's counters once a tick, and gives back the slots of ended processes. EDGE.
//!
//! An idle process costs nothing: the probe marks the slots in which it counts, and only those are read. That no count
//! is missed rests on this:
//!
//! - The probe counts first. *Then* it looks at the mark, and sets it unless it is set.
//! - The agent clears the mark first. *Then* it reads the counts.
//! - If the probe found no mark, it has set one behind the count, and a later look finds it.
//! - If it found one, that mark is cleared at some tick, perhaps just now: the probe may have seen a value that the agent
//!   has overwritten, while the count itself is still on its way from another processor, and was not read. So a slot is
//!   read at the tick at which its mark is cleared *and at the next*, a second later. By then a count that was made before
//!   the mark was cleared is visible everywhere. The same holds where a processor shows a mark before the count.
//! - The last counts of a process that has ended are read whatever its mark says, before its slot is given back.
//! - A reading that fails forgets no slot that was to be read.
//!
//! A mark without a count, as one that stays behind when a slot is given back, costs a look and says nothing.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aya::maps::{Array, HashMap as KernelHashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues, Stack};
use common::failure::Failure;
use common::maps::{Counts, Events, Process, ProcessKey, names};
use serde::{Deserialize, Serialize};

use super::objects::Objects;
use super::sys::{MappedArray, Plain, lookup_batch};
use crate::counting::counts::{Pid, ProcessCounts, Reading, add};

/// Living processes that have received nothing for so many readings may have to give their slots to others.
const IDLE_READINGS: u64 = 60;
/// That is done to keep this part of the table free: as many newcomers find room between two readings.
const KEPT_FREE: usize = 8;
/// Slots read by one system call; bounds the buffer at this many times the number of CPUs.
const SLOTS_PER_READ: usize = 64;

/// The probe's maps, seen from the agent.
pub(super) struct Counters {
    slots: KernelHashMap<MapData, Plain<ProcessKey>, u32>,
    processes: Array<MapData, Plain<Process>>,
    counts: Map,
    marks: MappedArray,
    free_slots: Stack<MapData, u32>,
    events: PerCpuArray<MapData, Plain<Events>>,
    /// Who holds each slot, as far as it is known, and what was read of it last, by slot.
    holders: Vec<Option<ProcessCounts>>,
    slot_of: HashMap<ProcessKey, u32>,
    /// Slots to be read at the next reading, whatever their marks say.
    due: Vec<u32>,
    /// The reading at which a slot was last marked, by slot.
    marked_at: Vec<u64>,
    /// How many readings there were.
    readings: u64,
    /// Who was given up, and has not been read since.
    given_up: Vec<ProcessKey>,
    given_up_total: u64,
    cpus: usize,
    keys: Vec<u32>,
    values: Vec<Counts>,
}

/// What another agent must be told that goes on with the maps: what is neither in them nor found out by reading all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    /// Who was given up, has had the name taken off its slot, and is to be read once more.
    given_up: Vec<ProcessKey>,
    given_up_total: u64,
}

impl Counters {
    /// Looks at new maps, and puts every slot among the free ones, the lowest on top.
    pub(super) fn fresh(objects: &Objects, max_processes: u32) -> Result<Self, MapError> {
        let mut counters = Self::at(objects, max_processes)?;
        for slot in (0..max_processes).rev() {
            counters.free_slots.push(slot, 0)?;
        }
        Ok(counters)
    }

    /// Goes on with maps in which another agent has read until now. Its marks are gone, so everything is read anew.
    pub(super) fn adopted(objects: &Objects, max_processes: u32, pending: Pending) -> Result<Self, MapError> {
        let mut counters = Self::at(objects, max_processes)?;
        let held = counters.slots.iter().collect::<Result<Vec<_>, _>>()?;
        for (Plain(key), slot) in held {
            // Of one that was given up the name is gone there.
            let Plain(process) = counters.processes.get(&slot, 0)?;
            counters.hold(slot, &Process { key, ..process });
            counters.due.push(slot);
        }
        Ok(Self { given_up: pending.given_up, given_up_total: pending.given_up_total, ..counters })
    }

    /// What another agent that goes on is to be told.
    pub(super) fn pending(&self) -> Pending {
        Pending { given_up: self.given_up.clone(), given_up_total: self.given_up_total }
    }

    fn at(objects: &Objects, max_processes: u32) -> Result<Self, MapError> {
        let cpus = aya::util::nr_cpus().map_err(|(_, error)| MapError::IoError(error))?;
        Ok(Self {
            slots: KernelHashMap::try_from(objects.map(names::SLOTS)?)?,
            processes: Array::try_from(objects.map(names::PROCESSES)?)?,
            counts: objects.map(names::COUNTS)?,
            marks: objects.mapped(names::MARKS, max_processes as usize)?,
            free_slots: Stack::try_from(objects.map(names::FREE_SLOTS)?)?,
            events: PerCpuArray::try_from(objects.map(names::EVENTS)?)?,
            holders: Vec::new(),
            slot_of: HashMap::new(),
            due: Vec::new(),
            marked_at: vec![0; max_processes as usize],
            readings: 0,
            given_up: Vec::new(),
            given_up_total: 0,
            cpus,
            keys: vec![0; SLOTS_PER_READ],
            values: vec![Counts::default(); SLOTS_PER_READ * cpus],
        })
    }

    /// What was counted since the last reading, and the last word on processes that have ended.
    pub(super) fn read(&mut self, at: Duration, skipped_calls: u64, ended: &[ProcessKey]) -> io::Result<Reading> {
        let mut reading = Reading { at, skipped_calls, ..Reading::default() };
        let events = self.events.get(&0, 0).map_err(io::Error::other)?;
        for Plain(on_one_cpu) in events.iter() {
            for cause in Failure::ALL {
                reading.failures[*cause as usize] += on_one_cpu.failures[*cause as usize];
            }
            reading.resynced += on_one_cpu.resynced;
        }
        // Last: nothing fails after it, and what it read is never asked for again.
        reading.processes = self.read_marked(ended)?;
        reading.slots_used = self.slot_of.len();
        self.give_up(ended);
        reading.given_up = self.given_up_total;
        Ok(reading)
    }

    /// Processes that were given up at the last reading: nothing was counted for them since, and the next reading is the
    /// last word on them.
    pub(super) fn given_up(&mut self) -> Vec<ProcessKey> {
        std::mem::take(&mut self.given_up)
    }

    /// Where the table is nearly full, has the longest idle give way: takes their names off their slots. The probe counts
    /// nothing there any more; what it was about to count is there at the next reading.
    fn give_up(&mut self, ended: &[ProcessKey]) {
        let slots = self.marked_at.len();
        let leaving: HashSet<u32> = ended.iter().filter_map(|key| self.slot_of.get(key)).copied().collect();
        let wanted = (self.slot_of.len() - leaving.len() + slots / KEPT_FREE).saturating_sub(slots);
        if wanted == 0 || !self.given_up.is_empty() {
            return;
        }
        let may_go = |slot| self.holds(slot) && !leaving.contains(&slot);
        for slot in longest_idle(&self.marked_at, self.readings, wanted, may_go) {
            let Some(holder) = self.holders.get(slot as usize).and_then(Option::as_ref) else { continue };
            let key = holder.key;
            // What fails is tried again at the next reading.
            let Ok(Plain(process)) = self.processes.get(&slot, 0) else { continue };
            let nobodys = Process { key: ProcessKey::default(), ..process };
            if self.processes.set(slot, Plain(nobodys), 0).is_ok() {
                self.given_up.push(key);
                self.given_up_total += 1;
            }
        }
    }

    fn holds(&self, slot: u32) -> bool {
        self.holders.get(slot as usize).is_some_and(Option::is_some)
    }

    /// Every process that holds a slot, as it was last read.
    pub(super) fn holders(&self) -> impl Iterator<Item = &ProcessCounts> {
        self.holders.iter().flatten()
    }

    /// Every slot that is held, and by whom.
    pub(super) fn slots(&self) -> impl Iterator<Item = (u32, ProcessKey)> {
        (0..).zip(&self.holders).filter_map(|(slot, holder)| Some((slot, holder.as_ref()?.key)))
    }

    pub(super) fn holder_of(&self, slot: u32) -> Option<ProcessKey> {
        self.holders.get(slot as usize)?.as_ref().map(|holder| holder.key)
    }

    pub(super) fn slot_of(&self, key: &ProcessKey) -> Option<u32> {
        self.slot_of.get(key).copied()
    }

    /// Takes a process's key from the table: of connections that outlive it, no response is counted any more.
    pub(super) fn forget_process(&mut self, slot: u32) -> io::Result<()> {
        let Plain(process) = self.processes.get(&slot, 0).map_err(io::Error::other)?;
        let nobody = Process { key: ProcessKey::default(), ..process };
        self.processes.set(slot, Plain(nobody), 0).map_err(io::Error::other)
    }

    fn read_marked(&mut self, ended: &[ProcessKey]) -> io::Result<Vec<ProcessCounts>> {
        let marked = take_marked(self.marks.values());
        self.readings += 1;
        for slot in &marked {
            self.marked_at[*slot as usize] = self.readings;
        }
        let mut due = std::mem::take(&mut self.due);
        due.extend(&marked);
        due.extend(ended.iter().filter_map(|key| self.slot_of.get(key)));
        due.sort_unstable();
        due.dedup();
        let read = self.read_slots(&due);
        self.due = if read.is_ok() { marked } else { due };
        read
    }

    /// Reads neighbours with one system call.
    fn read_slots(&mut self, slots: &[u32]) -> io::Result<Vec<ProcessCounts>> {
        let mut processes = Vec::with_capacity(slots.len());
        for slots in slots.chunk_by(|slot, next| slot + 1 == *next).flat_map(|run| run.chunks(SLOTS_PER_READ)) {
            let Map::PerCpuArray(counts) = &self.counts else {
                return Err(io::Error::other("the counts are no per-CPU array"));
            };
            let map = counts.fd().as_fd();
            let count = lookup_batch(map, slots[0], &mut self.keys[..slots.len()], &mut self.values, self.cpus)?;
            if count != slots.len() {
                return Err(io::Error::other(format!("{count} slots read instead of {}", slots.len())));
            }
            for (index, slot) in slots.iter().enumerate() {
                let sum = sum(&self.values[index * self.cpus..(index + 1) * self.cpus]);
                if sum != Counts::default() {
                    let holder = self.holder(*slot)?;
                    holder.counts = sum;
                    processes.push(holder.clone());
                }
            }
        }
        Ok(processes)
    }

    fn holder(&mut self, slot: u32) -> io::Result<&mut ProcessCounts> {
        if !self.holds(slot) {
            let Plain(process) = self.processes.get(&slot, 0).map_err(io::Error::other)?;
            self.hold(slot, &process);
        }
        Ok(self.holders[slot as usize].as_mut().expect("set above"))
    }

    fn hold(&mut self, slot: u32, process: &Process) {
        let index = slot as usize;
        if self.holders.len() <= index {
            self.holders.resize(index + 1, None);
        }
        self.slot_of.insert(process.key, slot);
        self.holders[index] = Some(process_counts(process));
    }

    /// Frees the slots of processes that have ended and whose last counts have been read. What fails may be tried again.
    pub(super) fn release(&mut self, ended: &[ProcessKey]) -> io::Result<()> {
        for key in ended {
            let Some(slot) = self.slot_of.get(key).copied() else { continue };
            match self.slots.remove(&Plain(*key)) {
                Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(io::Error::other)?,
            }
            let zeros = PerCpuValues::try_from(vec![Plain(Counts::default()); self.cpus])?;
            PerCpuArray::<_, Plain<Counts>>::try_from(&mut self.counts)
                .and_then(|mut counts| counts.set(slot, zeros, 0))
                .map_err(io::Error::other)?;
            self.free_slots.push(slot, 0).map_err(io::Error::other)?;
            self.slot_of.remove(key);
            self.holders[slot as usize] = None;
        }
        Ok(())
    }
}

/// At most `count` of the slots that somebody holds and in which nothing was counted for long: the longest idle first.
fn longest_idle(marked_at: &[u64], now: u64, count: usize, is_held: impl Fn(u32) -> bool) -> Vec<u32> {
    let idle = marked_at.iter().zip(0..).filter(|(at, slot)| now - **at >= IDLE_READINGS && is_held(*slot));
    let mut idle: Vec<_> = idle.collect();
    idle.sort_unstable();
    idle.into_iter().take(count).map(|(_, slot)| slot).collect()
}

/// The slots that are marked, in ascending order. They are no longer.
pub(super) fn take_marked(marks: &[AtomicU64]) -> Vec<u32> {
    let mut marked = Vec::new();
    for (mark, slot) in marks.iter().zip(0..) {
        if mark.load(Ordering::Relaxed) != 0 {
            // Before any count is read.
            mark.swap(0, Ordering::SeqCst);
            marked.push(slot);
        }
    }
    marked
}

fn sum(on_each_cpu: &[Counts]) -> Counts {
    let mut sum = Counts::default();
    on_each_cpu.iter().for_each(|counts| add(&mut sum, counts));
    sum
}

/// Nothing counted yet.
fn process_counts(process: &Process) -> ProcessCounts {
    let end = process.command.iter().position(|byte| *byte == 0).unwrap_or(process.command.len());
    ProcessCounts {
        key: process.key,
        pid: (process.pid != 0).then_some(Pid(process.pid)),
        command: String::from_utf8_lossy(&process.command[..end]).into(),
        candidates: super::names::of_process(process),
        counts: Counts::default(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use common::maps::CGROUP_BYTES;

    /// One of which nothing is known.
    pub(in super::super) fn process() -> Process {
        let (key, command) = (ProcessKey::default(), [0; 16]);
        Process { key, command, pid: 0, cgroup_bytes: 0, cgroups: [0; CGROUP_BYTES] }
    }

    #[test]
    fn the_longest_idle_give_way() {
        let marked_at = [90, 5, 100, 3, 1, 41];
        let longest = |count| longest_idle(&marked_at, 100, count, |slot| slot != 4);
        assert_eq!(longest(9), [3, 1], "neither free slots nor those that were busy a moment ago");
        assert_eq!(longest(1), [3]);
        assert_eq!(longest(0), [0_u32; 0]);
    }
}

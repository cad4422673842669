//! Reads the probe's counters once a tick, and gives back the slots of ended processes. EDGE.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd as _;
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{Array, HashMap as KernelHashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues, Stack};
use common::failure::Failure;
use common::maps::{Counts, Events, Process, ProcessKey, names};

use super::sys::{Plain, lookup_batch};
use crate::counts::{Pid, ProcessCounts, Reading};

/// Slots read by one system call; bounds the buffer at this many times the number of CPUs.
const SLOTS_PER_READ: usize = 64;

/// The probe's maps, seen from the agent.
pub(super) struct Counters {
    slots: KernelHashMap<MapData, Plain<ProcessKey>, u32>,
    processes: Array<MapData, Plain<Process>>,
    counts: Map,
    free_slots: Stack<MapData, u32>,
    events: PerCpuArray<MapData, Plain<Events>>,
    /// Who holds each slot, as far as it is known, by slot.
    holders: Vec<Option<Process>>,
    slot_of: HashMap<ProcessKey, u32>,
    cpus: usize,
    /// How many slots there are.
    max_processes: u32,
    keys: Vec<u32>,
    values: Vec<Counts>,
}

impl Counters {
    /// Takes the maps over and puts every slot among the free ones, the lowest on top.
    pub(super) fn take(ebpf: &mut Ebpf, max_processes: u32) -> Result<Self, MapError> {
        let cpus = aya::util::nr_cpus().map_err(|(_, error)| MapError::IoError(error))?;
        let mut free_slots = Stack::try_from(take(ebpf, names::FREE_SLOTS)?)?;
        for slot in (0..max_processes).rev() {
            free_slots.push(slot, 0)?;
        }
        Ok(Self {
            slots: KernelHashMap::try_from(take(ebpf, names::SLOTS)?)?,
            processes: Array::try_from(take(ebpf, names::PROCESSES)?)?,
            counts: take(ebpf, names::COUNTS)?,
            free_slots,
            events: PerCpuArray::try_from(take(ebpf, names::EVENTS)?)?,
            holders: Vec::new(),
            slot_of: HashMap::new(),
            cpus,
            max_processes,
            keys: vec![0; SLOTS_PER_READ],
            values: vec![Counts::default(); SLOTS_PER_READ * cpus],
        })
    }

    /// Everything counted so far.
    pub(super) fn read(&mut self, at: Duration, skipped_calls: u64) -> io::Result<Reading> {
        let mut reading = Reading { at, skipped_calls, ..Reading::default() };
        self.read_processes(&mut reading.processes)?;
        let events = self.events.get(&0, 0).map_err(io::Error::other)?;
        for Plain(on_one_cpu) in events.iter() {
            for cause in Failure::ALL {
                reading.failures[*cause as usize] += on_one_cpu.failures[*cause as usize];
            }
            reading.resynced += on_one_cpu.resynced;
        }
        Ok(reading)
    }

    /// Slots are taken from the lowest on, so a stretch beyond the last known holder in which
    /// nothing was counted ends the search.
    fn read_processes(&mut self, processes: &mut Vec<ProcessCounts>) -> io::Result<()> {
        let mut last = None;
        let mut first = 0;
        while first < self.max_processes as usize {
            let Map::PerCpuArray(counts) = &self.counts else {
                return Err(io::Error::other("the counts are no per-CPU array"));
            };
            let map = counts.fd().as_fd();
            let count = lookup_batch(map, &mut last, &mut self.keys, &mut self.values, self.cpus)?;
            let mut counted = false;
            for index in 0..count {
                let sum = sum(&self.values[index * self.cpus..(index + 1) * self.cpus]);
                if sum == Counts::default() {
                    continue;
                }
                counted = true;
                let slot = first + index;
                let process = self.holder(slot)?;
                processes.push(process_counts(&process, sum));
            }
            first += count;
            if count == 0 || (!counted && first >= self.holders.len()) {
                break;
            }
        }
        Ok(())
    }

    fn holder(&mut self, slot: usize) -> io::Result<Process> {
        if let Some(Some(process)) = self.holders.get(slot) {
            return Ok(*process);
        }
        let Plain(process) = self.processes.get(&(slot as u32), 0).map_err(io::Error::other)?;
        if self.holders.len() <= slot {
            self.holders.resize(slot + 1, None);
        }
        self.holders[slot] = Some(process);
        self.slot_of.insert(process.key, slot as u32);
        Ok(process)
    }

    /// Frees the slots of processes that have ended and whose last counts have been read.
    pub(super) fn release(&mut self, ended: &[ProcessKey]) -> io::Result<()> {
        for key in ended {
            let Some(slot) = self.slot_of.remove(key) else { continue };
            self.holders[slot as usize] = None;
            self.slots.remove(&Plain(*key)).map_err(io::Error::other)?;
            let zeros = PerCpuValues::try_from(vec![Plain(Counts::default()); self.cpus])?;
            PerCpuArray::<_, Plain<Counts>>::try_from(&mut self.counts)
                .and_then(|mut counts| counts.set(slot, zeros, 0))
                .map_err(io::Error::other)?;
            self.free_slots.push(slot, 0).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

fn take(ebpf: &mut Ebpf, name: &str) -> Result<Map, MapError> {
    ebpf.take_map(name).ok_or_else(|| MapError::InvalidName { name: name.to_owned() })
}

fn sum(on_each_cpu: &[Counts]) -> Counts {
    let mut sum = Counts::default();
    for counts in on_each_cpu {
        for (total, count) in sum.requests.iter_mut().zip(counts.requests) {
            *total += count;
        }
        sum.unsynced += counts.unsynced;
    }
    sum
}

fn process_counts(process: &Process, counts: Counts) -> ProcessCounts {
    let end = process.command.iter().position(|byte| *byte == 0).unwrap_or(process.command.len());
    ProcessCounts {
        key: process.key,
        pid: (process.pid != 0).then_some(Pid(process.pid)),
        command: String::from_utf8_lossy(&process.command[..end]).into_owned(),
        cgroup_id: process.cgroup_id,
        counts,
    }
}

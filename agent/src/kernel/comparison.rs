//! Programs that stand in the probe's place in benchmarks. EDGE.

use std::io;

use aya::maps::{HashMap, MapData, MapError, RingBuf};
use aya::programs::BtfTracePoint;
use aya::programs::tp_btf::BtfTracePointLink;
use aya::{Btf, Ebpf};
use common::layout::CONSTANTS;

use super::constants::{constants, describe, hooks, link_functions};
use super::hook::{END_TRACEPOINT, SEND_FUNCTION, TRACEPOINT, program};
use super::statistics::{ErrorKindMissing, ProgramStatistics, program_statistics};
use super::sys::Plain;
use super::{LoadError, btf, probe};

static COMPARISON: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/comparison"));

/// One of the programs in `probe-ebpf/src/comparison.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandIn {
    /// Does nothing where the probe stands.
    EmptyAtCopy,
    /// Does nothing at the end of a receive.
    EmptyAtEnd,
    /// Does nothing where sends are seen.
    EmptyAtSend,
    /// Looks for a method at the beginning of the buffer's linear part.
    LinearPart,
    /// Looks for a method at the beginning of the process's memory.
    UserMemory,
    /// Looks for a method at the beginning of the buffer, and sends an event for each.
    EventPerRequest,
}

impl StandIn {
    /// An empty program on the same hook.
    #[must_use]
    pub const fn floor(self) -> Self {
        match self.tracepoint() {
            Tracepoint::Copy => Self::EmptyAtCopy,
            Tracepoint::End => Self::EmptyAtEnd,
            Tracepoint::Send => Self::EmptyAtSend,
        }
    }

    const fn tracepoint(self) -> Tracepoint {
        match self {
            Self::EmptyAtCopy | Self::LinearPart | Self::EventPerRequest => Tracepoint::Copy,
            Self::EmptyAtEnd | Self::UserMemory => Tracepoint::End,
            Self::EmptyAtSend => Tracepoint::Send,
        }
    }

    const fn program(self) -> &'static str {
        match self {
            Self::EmptyAtCopy => "empty_at_copy",
            Self::EmptyAtEnd => "empty_at_end",
            Self::EmptyAtSend => "empty_at_send",
            Self::LinearPart => "linear_part",
            Self::UserMemory => "user_memory",
            Self::EventPerRequest => "event_per_request",
        }
    }
}

enum Tracepoint {
    Copy,
    End,
    Send,
}

/// Detaches when dropped.
pub struct Attached {
    _link: BtfTracePointLink,
}

/// The programs, loaded when first attached.
pub struct Comparison {
    ebpf: Ebpf,
    btf: Btf,
}

impl Comparison {
    /// Loads their maps.
    ///
    /// # Errors
    ///
    /// One line with the cause and the cure.
    pub fn load() -> Result<Self, LoadError> {
        let mut loader = probe::loader();
        let blob = describe()?;
        let types = btf::Btf::parse(&blob)?;
        let btf = hooks(&types)?;
        let mut code = COMPARISON.to_vec();
        let linked = link_functions(&mut code, &types)?;
        let constants = Plain(constants(&types, &linked)?);
        let (data, data_len) = (types.offset_of("sk_buff", "data")?, types.offset_of("sk_buff", "data_len")?);
        loader.override_global(CONSTANTS, &constants, true);
        loader.override_global("SKB_DATA", &data, true).override_global("SKB_DATA_LEN", &data_len, true);
        let ebpf = loader.load(&code).map_err(LoadError::from_ebpf)?;
        Ok(Self { ebpf, btf })
    }

    /// Attaches a program, until what is returned is dropped.
    ///
    /// # Errors
    ///
    /// One line with the cause and the cure.
    pub fn attach(&mut self, stand_in: StandIn) -> Result<Attached, LoadError> {
        let program: &mut BtfTracePoint =
            program(&mut self.ebpf, stand_in.program())?.try_into().map_err(LoadError::from_program)?;
        if program.fd().is_err() {
            let tracepoint = match stand_in.tracepoint() {
                Tracepoint::Copy => TRACEPOINT,
                Tracepoint::End => END_TRACEPOINT,
                Tracepoint::Send => SEND_FUNCTION,
            };
            program.load(tracepoint, &self.btf).map_err(LoadError::from_program)?;
        }
        let link = program.attach().and_then(|id| program.take_link(id)).map_err(LoadError::from_program)?;
        Ok(Attached { _link: link })
    }

    /// A program's run statistics, since it was first attached.
    ///
    /// # Errors
    ///
    /// What reading /proc said.
    pub fn program_statistics(&self, stand_in: StandIn) -> io::Result<ProgramStatistics> {
        program_statistics(self.ebpf.program(stand_in.program()).ok_or(ErrorKindMissing)?)
    }

    /// Requests of a process (thread-group id in the initial PID namespace), as the programs that count have it.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    pub fn counted(&self, process: u32) -> io::Result<u64> {
        let map = self.ebpf.map("COUNTED").ok_or(ErrorKindMissing)?;
        let counted: HashMap<&MapData, u32, u64> = HashMap::try_from(map).map_err(io::Error::other)?;
        match counted.get(&process, 0) {
            Err(MapError::KeyNotFound) => Ok(0),
            count => count.map_err(io::Error::other),
        }
    }

    /// The events of [`StandIn::EventPerRequest`], of eight bytes each: the thread-group id. Can be taken once.
    ///
    /// # Errors
    ///
    /// When they were taken before.
    pub fn take_events(&mut self) -> io::Result<RingBuf<MapData>> {
        RingBuf::try_from(self.ebpf.take_map("REQUESTS").ok_or(ErrorKindMissing)?).map_err(io::Error::other)
    }
}

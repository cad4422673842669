//! Responses as they are counted: a series for each process, method, status and version. PURE.

use crate::duration::BUCKETS;
use crate::exchange::{Answer, Asked};

/// How many series there are. Responses of further combinations are lost as [`crate::exchange::Untold::SeriesFull`].
pub const MAX_SERIES: u32 = 16_384;
/// Most parts that a series' counts are kept in, so that processors seldom share one.
pub const MAX_SHARDS: u32 = 8;

/// Names of the maps, as the loader and `bpftool` show them.
pub mod names {
    /// What a connection's requests wait for.
    pub const EXCHANGES: &str = "EXCHANGES";
    /// The same of HTTP/2.
    pub const STREAMS: &str = "STREAMS";
    /// HTTP/2 streams that had to make room.
    pub const DISPLACED: &str = "DISPLACED";
    /// The program that looks at responses over Unix sockets.
    pub const READERS: &str = "READERS";
    /// [`key`](super::key) → series.
    pub const SERIES: &str = "SERIES";
    /// Series, in each shard → [`Series`](super::Series).
    pub const VALUES: &str = "VALUES";
    /// Series → whether anything was counted in it.
    pub const SERIES_MARKS: &str = "SERIES_MARKS";
    /// Series that nobody has.
    pub const FREE_SERIES: &str = "FREE_SERIES";
    /// Slot → [`Outcome`](super::Outcome).
    pub const OUTCOMES: &str = "OUTCOMES";
    /// What is not known, by cause, per CPU.
    pub const UNTOLD: &str = "UNTOLD";
}

/// Responses of one series in one shard, since the series was taken. Those of quick servers change one cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// Its [`key`]; 0 where nothing was counted in this shard.
    pub key: u64,
    /// The durations' sum.
    pub sum_ns: u64,
    /// Responses whose duration is not known.
    pub unknown: u64,
    /// By duration.
    pub buckets: [u64; BUCKETS],
    /// Always zero.
    pub reserved: u64,
}

/// What became of a process's requests otherwise.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Outcome {
    /// Requests whose connection ended, or whose stream was reset, without a response.
    pub unanswered: u64,
    /// Requests whose response will not be known.
    pub lost: u64,
}

/// The key of an HTTP/2 stream that had to make room.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamKey {
    /// When its connection's first request came: no other connection's did.
    pub began_ns: u64,
    /// The stream.
    pub id: u32,
    /// Always zero; keeps the key free of undefined bytes.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Series>() == 192);
const _: () = assert!(size_of::<Outcome>() == 16);
const _: () = assert!(size_of::<StreamKey>() == 16);

const STATUS: u32 = 8;
const SLOT: u32 = 32;

/// The key of the series that this response of the slot's holder belongs to. Never 0.
#[inline(always)]
#[must_use]
pub const fn key(slot: u32, answer: &Answer) -> u64 {
    ((slot as u64) << SLOT) | ((answer.status as u64) << STATUS) | answer.asked.number() as u64
}

/// What a key says: slot, request, status.
#[must_use]
pub const fn parts(key: u64) -> (u32, Asked, u32) {
    ((key >> SLOT) as u32, Asked::from_number(key as u8), ((key as u32) >> STATUS) & 0xffff)
}

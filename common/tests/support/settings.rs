//! Reads that begin as the answers of HTTP/2 do: with SETTINGS.

use common::replay::Replay;
use common::stream::{Phase, flag};

/// What is no HTTP was found to begin so.
pub fn begins_as_answers<const CAPACITY: u32>(replay: &Replay<CAPACITY>) -> bool {
    replay.stream.phase == Phase::NotHttp && replay.stream.flags & flag::FRAMES != 0
}

/// It is told where the first read has the whole header of SETTINGS.
pub fn has_settings(read: &[u8]) -> bool {
    matches!(read, [0, 0, _, 4, 0, 0, 0, 0, _, ..])
}

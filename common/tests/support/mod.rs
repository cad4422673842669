//! Cuts a stream in many ways and expects the same outcome each time.

use common::failure::Failure;
use common::replay::Replay;
use common::stream::Phase;

/// What is expected of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The stream could go on with a request, or is in the middle of one.
    Open,
    /// Settled: not HTTP.
    NotHttp,
    /// Settled: a TLS ClientHello.
    Tls,
    /// Settled: left HTTP.
    Tunnel,
    /// Lost for this cause.
    Lost(Failure),
}

fn outcome<const CAPACITY: u32>(replay: &Replay<CAPACITY>) -> (u64, End) {
    let end = match (replay.stream.phase, replay.failure) {
        (_, Some(cause)) => End::Lost(cause),
        (Phase::Tls, None) if replay.client_hellos == 1 => End::Tls,
        (Phase::NotHttp, None) => End::NotHttp,
        (Phase::Tunnel | Phase::Asked, None) => End::Tunnel,
        _ => End::Open,
    };
    (replay.total(), end)
}

fn run<const CAPACITY: u32>(reads: &[&[u8]], slack: u8) -> (u64, End) {
    // Ordinary windows are larger, and reads have the kernel's credit.
    let unbounded = CAPACITY < 1024;
    let mut replay = Replay::<CAPACITY> { slack, unbounded, ..Replay::default() };
    for read in reads {
        replay.read(read);
    }
    outcome(&replay)
}

/// Expects `requests` and `end` however the stream is cut: whole, at every byte, into pieces of
/// every small size, with small windows, and whatever stands behind a window.
#[track_caller]
pub fn check(name: &str, stream: &[u8], requests: u64, end: End) {
    let expected = (requests, end);
    for slack in [0, b'\n', b' ', b'\r', b'A', 0xff] {
        assert_eq!(run::<1024>(&[stream], slack), expected, "{name}: whole, slack {slack:#x}");
        assert_eq!(run::<7>(&[stream], slack), expected, "{name}: windows of 7, slack {slack:#x}");
        assert_eq!(run::<33>(&[stream], slack), expected, "{name}: windows of 33, slack {slack:#x}");
        for size in [1, 2, 3, 5, 8, 13] {
            let pieces: Vec<_> = stream.chunks(size).collect();
            assert_eq!(run::<1024>(&pieces, slack), expected, "{name}: pieces of {size}, slack {slack:#x}");
        }
    }
    if stream.len() <= 4096 {
        for cut in 0..=stream.len() {
            let (first, rest) = stream.split_at(cut);
            assert_eq!(run::<1024>(&[first, rest], b'\n'), expected, "{name}: cut at {cut}");
        }
    }
}

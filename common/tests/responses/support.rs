//! Cuts the responses of a connection in many ways and expects the same outcome each time.

use common::exchange::{Answer, Asked};
use common::maps::Version;
use common::method::Method;
use common::replay_responses::Responses;
use common::stream::Phase;

/// What is expected behind the last response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The connection could go on; so many requests go without an answer when it closes.
    Open(u32),
    /// So many requests' responses are lost.
    Lost(u32),
}

/// A request of HTTP/1.1 with this method.
pub fn asked(method: Method) -> Asked {
    Asked::from_number(method as u8 | (Version::Http11 as u8) << 4)
}

/// How requests come: of HTTP/1 by method, or on how many streams of HTTP/2.
#[derive(Clone, Copy)]
pub enum Requests<'a> {
    Methods(&'a [Method]),
    Streams(u32),
}

type Outcome = (Vec<u32>, Rest);

fn run<const CAPACITY: u32>(requests: Requests<'_>, sends: &[&[u8]], slack: u8) -> Outcome {
    let mut responses = Responses::<CAPACITY>::with_slack(slack);
    match requests {
        Requests::Methods(methods) => methods.iter().for_each(|method| responses.expect(asked(*method), 1)),
        Requests::Streams(count) => (0..count).for_each(|index| responses.open(2 * index + 1, Asked::HTTP_2, 1)),
    }
    let mut statuses = Vec::new();
    let mut found = |answer: Answer| statuses.push(answer.status);
    for send in sends {
        responses.send(send, &mut found);
    }
    let lost = responses.exchange.stream.phase == Phase::Unsynced;
    responses.close(&mut found);
    let rest = if lost { Rest::Lost(responses.lost) } else { Rest::Open(responses.unanswered) };
    (statuses, rest)
}

/// Expects these statuses and `rest` however the stream is cut.
#[track_caller]
pub fn check(name: &str, requests: Requests<'_>, stream: &[u8], (statuses, rest): (&[u32], Rest)) {
    let expected = (statuses.to_vec(), rest);
    for slack in [0, b'\n', b' ', b'\r', b'H', 0xff] {
        assert_eq!(run::<1024>(requests, &[stream], slack), expected, "{name}: whole, slack {slack:#x}");
        assert_eq!(run::<7>(requests, &[stream], slack), expected, "{name}: windows of 7, slack {slack:#x}");
        for size in [1, 2, 3, 5, 8, 13] {
            let pieces: Vec<_> = stream.chunks(size).collect();
            assert_eq!(run::<1024>(requests, &pieces, slack), expected, "{name}: pieces of {size}, slack {slack:#x}");
        }
    }
    if stream.len() <= 2048 {
        for cut in 0..=stream.len() {
            let (first, rest) = stream.split_at(cut);
            assert_eq!(run::<1024>(requests, &[first, rest], b'\n'), expected, "{name}: cut at {cut}");
        }
    }
}

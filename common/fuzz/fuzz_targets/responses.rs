//! Responses and cut points: however a connection's responses are cut, the outcome is the same.
#![no_main]

mod cuts;

use common::exchange::{Answer, Asked};
use common::maps::Version;
use common::method::Method;
use common::replay_responses::Responses;
use cuts::Input;
use libfuzzer_sys::fuzz_target;

/// The first requests, or of HTTP/2 as many streams.
const METHODS: [Method; 4] = [Method::Get, Method::Head, Method::Post, Method::Connect];

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let Some(input) = Input::parse(data) else { return };
    let is_http2 = kind & 1 != 0;
    let (whole, cut) = (run::<1024>(is_http2, 0, [input.stream]), run::<24>(is_http2, input.slack(), input.sends()));
    assert_eq!(whole, cut);
});

/// Each answer, and how many are lost and go without one.
type Outcome = (Vec<(u32, Asked)>, u32, u32);

fn run<'a, const CAPACITY: u32>(is_http2: bool, slack: u8, sends: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut responses = Responses::<CAPACITY>::with_slack(slack);
    for (index, method) in (0..).zip(METHODS) {
        if is_http2 {
            responses.open(2 * index + 1, Asked::HTTP_2, 1);
        } else {
            responses.expect(Asked::from_number(method as u8 | (Version::Http11 as u8) << 4), 1);
        }
    }
    let mut answers = Vec::new();
    let mut found = |answer: Answer| answers.push((answer.status, answer.asked));
    for send in sends {
        responses.send(send, &mut found);
    }
    responses.close(&mut found);
    (answers, responses.lost, responses.unanswered)
}

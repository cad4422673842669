//! Responses made at random, cut at random: the machine must agree with `httparse`, and with itself however the stream is cut.

use common::exchange::{Answer, Queue};
use common::method::Method;
use common::replay_responses::Responses;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::asked;

/// The final statuses in a stream of whole responses, each to the request with this method; `None` for any other stream. Heads by
/// `httparse`, bodies by a reading of RFC 9112 §6.3 that has the whole stream at hand.
fn judge(mut stream: &[u8], methods: &[Method]) -> Option<Vec<u32>> {
    let mut statuses = Vec::new();
    let mut methods = methods.iter();
    let mut method = methods.next();
    while !stream.is_empty() {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut fields);
        let Ok(httparse::Status::Complete(head)) = response.parse(stream) else { return None };
        let status = u32::from(response.code?);
        stream = &stream[head..];
        if status < 200 {
            continue;
        }
        statuses.push(status);
        let bodiless = matches!(status, 204 | 304) || method == Some(&Method::Head);
        method = methods.next();
        if bodiless {
            continue;
        }
        let value = |name: &str| response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        if value("transfer-encoding").is_some() {
            loop {
                let Ok(httparse::Status::Complete((start, size))) = httparse::parse_chunk_size(stream) else {
                    return None;
                };
                stream = stream.get(start..)?.get(usize::try_from(size).ok()?..)?.strip_prefix(b"\r\n")?;
                if size == 0 {
                    break;
                }
            }
        } else {
            let length =
                value("content-length").map(|field| std::str::from_utf8(field.value).ok()?.trim().parse().ok());
            stream = stream.get(length??..)?;
        }
    }
    Some(statuses)
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..300),
        vec(Just(b"HTTP/1.1 500 No\r\n\r\n".to_vec()), 0..5).prop_map(|parts| parts.concat())
    ]
}

fn framed() -> impl Strategy<Value = (String, Vec<u8>)> {
    prop_oneof![
        body().prop_map(|body| (format!("Content-Length: {}\r\n", body.len()), body)),
        vec(body(), 0..5).prop_map(|chunks| {
            let chunks = chunks.iter().filter(|chunk| !chunk.is_empty());
            let chunks = chunks
                .flat_map(|chunk| [format!("{:X}\r\n", chunk.len()).into_bytes(), chunk.clone(), b"\r\n".to_vec()]);
            let body = chunks.chain([b"0\r\n\r\n".to_vec()]).collect::<Vec<_>>().concat();
            ("transfer-encoding: Chunked\r\n".to_owned(), body)
        }),
    ]
}

fn response() -> impl Strategy<Value = (Method, Vec<u8>)> {
    let field = "[A-Ba-b][A-Za-z0-9-]{0,20}: [ -~]{0,60}\r\n";
    let status = prop_oneof![200..=203_u32, Just(204_u32), Just(304), 400..=599_u32];
    let interim = prop_oneof![
        Just(""),
        Just("HTTP/1.1 100 Continue\r\n\r\n"),
        Just("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n")
    ];
    (
        prop::sample::select(&[Method::Get, Method::Head, Method::Post][..]),
        interim,
        status,
        "[ -~]{0,20}",
        vec(field, 0..6),
        framed(),
        0..7_usize,
    )
        .prop_map(|(method, interim, status, reason, mut fields, (framing, body), at)| {
            fields.insert(at.min(fields.len()), framing);
            let head = format!("{interim}HTTP/1.1 {status} {reason}\r\n{}\r\n", fields.concat());
            let bodiless = method == Method::Head || matches!(status, 204 | 304);
            (method, [head.into_bytes(), if bodiless { Vec::new() } else { body }].concat())
        })
}

fn run<const CAPACITY: u32>(
    stream: &[u8],
    methods: &[Method],
    cuts: &[usize],
    slack: u8,
) -> (Vec<u32>, Responses<CAPACITY>) {
    let mut responses = Responses::<CAPACITY>::with_slack(slack);
    methods.iter().for_each(|method| responses.expect(asked(*method), 1));
    let mut statuses = Vec::new();
    let mut found = |answer: Answer| statuses.push(answer.status);
    let mut rest = stream;
    for cut in cuts {
        let (send, after) = rest.split_at((*cut).min(rest.len()));
        responses.send(send, &mut found);
        rest = after;
    }
    responses.send(rest, &mut found);
    (statuses, responses)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn agrees_with_an_independent_parser(responses in vec(response(), 0..10), cuts in vec(0..300_usize, 0..20), slack: u8) {
        let methods: Vec<_> = responses.iter().map(|(method, _)| *method).collect();
        let stream = responses.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>().concat();
        let expected = judge(&stream, &methods);
        prop_assert_eq!(expected.as_ref().map(Vec::len), Some(methods.len()), "the judge must know its own streams");
        let (statuses, responses) = run::<1024>(&stream, &methods, &cuts, slack);
        prop_assert_eq!(Some(statuses), expected.clone());
        prop_assert_eq!(responses.exchange.waiting.len() + responses.lost, 0);
        prop_assert_eq!(Some(run::<32>(&stream, &methods, &cuts, slack).0), expected);
    }

    #[test]
    fn cuts_do_not_matter(stream in "(HTTP/1\\.[01] [1-5][0-9]{2}|[ -~]|\r|\n|\r\n|\r\n\r\n|Content-Length: [0-9]|:|Transfer-Encoding: chunked|,|[0-9a-f]|;){0,40}",
        cuts in vec(0..40_usize, 0..20), slack: u8) {
        let methods = [Method::Get, Method::Head, Method::Connect];
        let (whole, one) = run::<1024>(stream.as_bytes(), &methods, &[], 0);
        let (cut, other) = run::<19>(stream.as_bytes(), &methods, &cuts, slack);
        prop_assert_eq!((whole, one.exchange, one.lost), (cut, other.exchange, other.lost));
    }
}

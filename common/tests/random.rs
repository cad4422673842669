//! Streams made at random, cut at random: the machine must agree with an independent parser, and
//! with itself however the stream is cut.

#[path = "support/judge.rs"]
mod judge;
#[path = "support/settings.rs"]
mod settings;

use common::replay::Replay;
use judge::judge;
use proptest::collection::vec;
use proptest::prelude::*;
use settings::{begins_as_answers, has_settings};

/// Fields that have nothing to do with framing, some of which look as if they had.
fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z][A-Za-z0-9-]{0,20}: [ -~]{0,60}",
        Just("Content-Type: text/plain".to_owned()),
        Just("Content-Length-Of-Rope: 5".to_owned()),
        Just("Transfer-Encodings: chunked".to_owned()),
        Just("Upgrade-Insecure-Requests: 1".to_owned()),
        Just("X: GET / HTTP/1.1".to_owned()),
    ]
    .prop_filter("framing is added apart", |field| {
        let name = field.split(':').next().unwrap_or_default().to_ascii_lowercase();
        !matches!(name.as_str(), "content-length" | "transfer-encoding" | "upgrade")
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..200),
        vec(Just(b"GET / HTTP/1.1\r\n\r\n".to_vec()), 0..5).prop_map(|parts| parts.concat()),
    ]
}

fn framed() -> impl Strategy<Value = (String, Vec<u8>)> {
    let name = |names: &'static [&'static str]| prop::sample::select(names);
    let lengths = name(&["Content-Length", "content-length", "CONTENT-LENGTH"]);
    let codings =
        name(&["Transfer-Encoding: chunked", "transfer-encoding:CHUNKED", "Transfer-Encoding: gzip, chunked"]);
    prop_oneof![
        Just((String::new(), Vec::new())),
        (lengths, body(), 0..3_usize)
            .prop_map(|(name, body, zeros)| { (format!("{name}: {}{}\r\n", "0".repeat(zeros), body.len()), body) }),
        (codings, vec(body(), 0..5), any::<bool>()).prop_map(|(coding, chunks, trailer)| {
            let mut bytes = Vec::new();
            for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
                bytes.extend(format!("{:x};e=1\r\n", chunk.len()).bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(if trailer { b"0\r\nGET: / HTTP/1.1\r\n\r\n".as_slice() } else { b"0\r\n\r\n" });
            (format!("{coding}\r\n"), bytes)
        }),
    ]
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let method = prop_oneof!["GET|POST|PUT|HEAD|OPTIONS|DELETE|PATCH|PROPFIND", "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}"]
        .prop_filter("these are no ordinary requests", |method| {
            !matches!(method.as_str(), "CONNECT" | "PROXY" | "PRI")
        });
    let blanks = || prop_oneof![4 => Just(" ".to_owned()), 1 => " {2,20}"];
    (method, blanks(), "/[!-~]{0,80}", blanks(), "0|1", vec(field(), 0..8), framed(), any::<bool>()).prop_map(
        |(method, before, target, behind, minor, fields, (framing, body), first)| {
            let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
            let fields = if first { framing + &fields } else { fields + &framing };
            let head = format!("{method}{before}{target}{behind}HTTP/1.{minor}\r\n{fields}\r\n");
            [head.into_bytes(), body].concat()
        },
    )
}

fn count<const CAPACITY: u32>(stream: &[u8], cuts: &[usize], slack: u8) -> Replay<CAPACITY> {
    let mut replay = Replay { slack, unbounded: true, ..Replay::default() };
    let mut rest = stream;
    for cut in cuts {
        let (read, after) = rest.split_at((*cut).min(rest.len()));
        replay.read(read);
        rest = after;
    }
    replay.read(rest);
    replay
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn agrees_with_an_independent_parser(messages in vec(message(), 0..12), cuts in vec(0..300_usize, 0..20), slack: u8) {
        let stream = messages.concat();
        let expected = judge(&stream);
        prop_assert_eq!(expected, Some(messages.len() as u64), "the judge must know its own streams");
        let replay = count::<1024>(&stream, &cuts, slack);
        prop_assert_eq!(Some(replay.total()), expected);
        prop_assert_eq!(replay.failure, None);
        prop_assert_eq!(count::<32>(&stream, &cuts, slack).total(), messages.len() as u64);
    }

    #[test]
    fn cuts_do_not_matter(stream in "(GET|PRI|PROXY|CONNECT|\\PC{0,3}|[ -~]| |\r|\n|\r\n|/|\\*|HTTP/1\\.1|HTTP/2\\.0|\t|GET / HTTP/1\\.1|Content-Length: [0-9]|Upgrade|:|Transfer-Encoding: chunked|,|[0-9a-f]|;|SM|\0\0\0\u{4}\0\0\0\0\0){0,60}",
        cuts in vec(0..40_usize, 0..20), slack: u8) {
        let whole = count::<1024>(stream.as_bytes(), &[], 0);
        let cut = count::<19>(stream.as_bytes(), &cuts, slack);
        prop_assert_eq!(whole.outcome(), cut.outcome());
        let first = cuts.into_iter().find(|cut| *cut > 0).map_or(stream.len(), |cut| cut.min(stream.len()));
        prop_assert_eq!(begins_as_answers(&whole), has_settings(stream.as_bytes()));
        prop_assert_eq!(begins_as_answers(&cut), has_settings(&stream.as_bytes()[..first]));
    }
}

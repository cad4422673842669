//! What one read may cost: streams that make the machine work for little, and those that must not be cut short for it.

use common::failure::Failure;
use common::machine::{Read, Source, turn};
use common::replay::Replay;
use common::stream::Stream;
use common::window::Window;

/// Of the largest read that most receivers ask for.
const READ: usize = 64 << 10;
const POST: &str = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
const HEAD: &str = "GET / HTTP/1.1\r\n";

/// What comes before, then what repeats.
fn stream(before: &str, unit: &str) -> Vec<u8> {
    let units = (READ - before.len()) / unit.len();
    [before.as_bytes(), unit.repeat(units).as_bytes()].concat()
}

fn read(bytes: &[u8]) -> Replay<32768> {
    let mut replay = Replay::default();
    replay.read(bytes);
    replay
}

#[test]
fn what_costs_much_is_given_up() {
    let get = format!("{HEAD}\r\n");
    let rows: &[(&str, &str, &str)] = &[
        ("empty lines", &get, "\r\n"),
        ("bare empty lines", &get, "\n"),
        ("blanks in a request line", "GET ", " "),
        ("digits of a version", "GET / HTTP/1.", "1"),
        ("digits of a chunk's size", &format!("{POST}0"), "0"),
        ("chunks of a byte", POST, "1\r\nx\r\n"),
        ("chunks of a byte, bare line ends", POST, "1\nx\n"),
        ("trailers", &format!("{POST}0\r\n"), "x\n"),
        ("trailers, with a CR", &format!("{POST}0\r\n"), "\rx\n"),
        ("digits of a length", &format!("{HEAD}Content-Length: 0"), "0"),
        ("blanks before a length", &format!("{HEAD}Content-Length: "), " "),
        ("a folded length", &format!("{HEAD}Content-Length: 0"), "\n "),
        ("letters of a coding", &format!("{HEAD}Transfer-Encoding: "), "a"),
        ("commas of codings", &format!("{HEAD}Transfer-Encoding: "), ","),
        ("a folded coding", &format!("{HEAD}Transfer-Encoding: chunked"), "\n "),
        ("a folded field", &format!("{HEAD}x: "), "\n "),
        ("fields of a letter", HEAD, "x\n"),
        ("fields of a letter that may matter", HEAD, "c\n"),
        ("fields that nearly matter", HEAD, "content-l\n"),
        ("lengths", HEAD, "content-length:1\n"),
        ("codings", HEAD, "transfer-encoding:chunked\n"),
        ("requests of as few letters as can be", "", "G / HTTP/1.1\n\n"),
    ];
    for (name, before, unit) in rows {
        assert_eq!(read(&stream(before, unit)).failure, Some(Failure::StepBudget), "{name}");
    }
}

#[test]
fn ordinary_traffic_is_not() {
    let rows: &[(&str, &str, u64)] = &[
        ("GET", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1),
        ("GET of HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", 1),
        ("GET of some fields", "GET /a HTTP/1.1\r\nHost: x.example\r\nAccept: */*\r\nUser-Agent: a/1.0\r\n\r\n", 1),
        ("POST", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 1),
        ("POST of a chunk", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 1),
        ("chunks of 16 bytes", "10\r\nabcdefghabcdefgh\r\n", 0),
        ("chunks of 300 bytes", &format!("12c\r\n{}\r\n", "x".repeat(300)), 0),
        ("fields of 31 letters", "X-Field: value of some length\r\n", 0),
        ("a field that does not end", "x", 0),
    ];
    for (name, unit, requests) in rows {
        let before = match unit.split_once(' ') {
            _ if *requests > 0 => "",
            Some((name, _)) if name.ends_with(':') => HEAD,
            None if *unit == "x" => HEAD,
            _ => POST,
        };
        let bytes = stream(before, unit);
        let replay = read(&bytes);
        let units = ((READ - before.len()) / unit.len()) as u64;
        let head = u64::from(!before.is_empty());
        assert_eq!((replay.failure, replay.total()), (None, head + requests * units), "{name}");
    }
}

/// What goes on and on: in a line, in lines of a head, behind chunks' sizes. So much more than is taken, and so much less.
#[test]
fn lines_without_end_are_given_up() {
    const LONGEST: usize = 1 << 20;
    let chunked = format!("{POST}1;");
    let rows: &[(&str, &str, &str, Failure)] = &[
        ("a target", "GET /", "a", Failure::MalformedRequest),
        ("a target of odd letters", "GET /", "\x7f\u{ff}", Failure::MalformedRequest),
        ("a field", "GET / HTTP/1.1\r\nx: ", "a", Failure::MalformedRequest),
        (
            "a field, and then more",
            "GET / HTTP/1.1\r\nx: ",
            &format!("{}\r\nx: ", "a".repeat(100_000)),
            Failure::MalformedRequest,
        ),
        ("an extension", &chunked, "a", Failure::MalformedFraming),
        ("a trailer", &format!("{POST}0\r\nx: "), "a", Failure::MalformedFraming),
    ];
    for (name, before, unit, failure) in rows {
        let more = [before, unit.repeat((LONGEST + READ) / unit.len()).as_str()].concat();
        let less = [before, unit.repeat((LONGEST - READ) / unit.len()).as_str()].concat();
        for (bytes, expected) in [(more, Some(*failure)), (less, None)] {
            let mut replay = Replay::<32768>::default();
            bytes.as_bytes().chunks(READ).for_each(|bytes| replay.read(bytes));
            assert_eq!(replay.failure, expected, "{name}, {} bytes", bytes.len());
        }
    }
}

/// An upload to S3 signs each of its chunks: 85 bytes behind a size.
#[test]
fn signed_chunks_may_be_many() {
    let chunk = format!("10;chunk-signature={}\r\nabcdefghabcdefgh\r\n", "0".repeat(64));
    let bytes = [POST, &chunk.repeat(20_000), "0\r\n\r\nGET / HTTP/1.1\r\n\r\n"].concat();
    let mut replay = Replay::<32768>::default();
    bytes.as_bytes().chunks(1000).for_each(|bytes| replay.read(bytes));
    assert_eq!((replay.failure, replay.total()), (None, 2));
}

/// Answers as a read of so many bytes does, and counts the turns.
struct Bytes<'a>(&'a [u8], u32);

impl Window for Bytes<'_> {
    fn byte(&self, at: impl Into<u64>) -> u8 {
        self.0.get(at.into() as usize + self.1 as usize).copied().unwrap_or(0)
    }

    fn word(&self, at: impl Into<u64>) -> u64 {
        let at = at.into();
        u64::from_le_bytes(std::array::from_fn(|place| self.byte(at + place as u64)))
    }
}

impl Source for Bytes<'_> {
    const CAPACITY: u32 = 1024;

    fn fill(&mut self, offset: u32, length: u32) -> Option<u32> {
        self.1 = offset;
        Some(length)
    }
}

proptest::proptest! {
    /// Whatever is sent: an eighth of a read's length, and some.
    #[test]
    fn turns_are_bounded(units in proptest::collection::vec("[GPx0:;, \t\r\n]{1,3}|GET / HTTP/1\\.1\r\n|Content-Length: 1\r\n|chunked", 1..8), times in 1..2000_usize) {
        let bytes = units.concat().repeat(times);
        let (mut stream, mut read) = (Stream::default(), Read::new(0, bytes.len() as u32));
        read.grant();
        let mut source = Bytes(bytes.as_bytes(), 0);
        let mut turns = 0;
        while turn(&mut stream, &mut source, &mut read) != common::event::Event::END {
            turns += 1;
        }
        let windows = bytes.len() / 1024 + 1;
        proptest::prop_assert!(turns <= 256 + bytes.len() / 8 + windows + 1, "{} turns", turns);
    }
}

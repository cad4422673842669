//! Connections whose first bytes were missed: what is taken for HTTP/2, and what is not.
//!
//! What passes here is looked at further, and counts only once the other direction has answered a stream that it opened.

use common::connection::{Arrival, Connection, Missing};
use common::replay::Replay;
use common::replay_responses::Responses;
use common::stream::{Phase, Stream};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const HEADER_BYTES: usize = 9;

fn frame(kind: u8, flags: u8, id: u32, length: usize) -> Vec<u8> {
    let mut frame = (length as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(id.to_be_bytes());
    frame.extend(vec![0xa5; length]);
    frame
}

/// A connection that is older than the probe, as the kernel side goes about it.
struct Old {
    connection: Connection,
    position: u64,
    requests: u64,
    /// What is sent, once that is looked at.
    responses: Option<Box<Responses<64>>>,
}

impl Old {
    fn new() -> Self {
        Self { connection: Connection::default(), position: 1000, requests: 0, responses: None }
    }

    fn read(&mut self, bytes: &[u8]) {
        let arrival = self.connection.arrive(self.position, bytes.len() as u32, 7, |_| Missing::Unseen);
        self.position += bytes.len() as u64;
        let is_trial = !matches!(arrival, Arrival::Process(_));
        match arrival {
            Arrival::Ignore => return,
            Arrival::Lost(_) | Arrival::Look => self.connection.look_for_frames(),
            Arrival::Try | Arrival::Process(_) => {}
        }
        let mut replay = Replay::<64> { stream: self.connection.stream, ..Replay::default() };
        replay.read(bytes);
        self.connection.stream = replay.stream;
        self.requests += replay.total();
        if is_trial && replay.total() == 0 {
            self.connection.end_try(true);
            self.responses = self.is_looked_at().then(Box::default);
        }
        if self.is_looked_at()
            && let Some(responses) = &mut self.responses
        {
            responses.exchange.guess_frames(responses.sent);
            responses.streams.guess(self.connection.stream.last_stream);
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        if let Some(responses) = &mut self.responses {
            responses.send(bytes, &mut |answer| panic!("{answer:?} to no request that counts"));
        }
    }

    fn is_confirmed(&self) -> bool {
        let confirmed = |of: &Responses<64>| of.streams.is_confirmed() && !of.exchange.stream.phase.is_lost();
        self.is_looked_at() && self.responses.as_deref().is_some_and(confirmed)
    }

    fn is_looked_at(&self) -> bool {
        self.connection.stream.is_unsure()
    }
}

/// Whether a first read is looked at further.
fn passes(read: &[u8]) -> bool {
    let mut old = Old::new();
    old.read(read);
    assert_eq!(old.requests, 0, "nothing counts before the other direction has answered");
    old.is_looked_at()
}

#[test]
fn reads_of_clients() {
    let request = frame(HEADERS, 4, 1001, 30);
    for (name, frames) in [
        ("a request", vec![request.clone()]),
        ("of gRPC", vec![request.clone(), frame(DATA, 1, 1001, 100)]),
        ("with a window", vec![frame(WINDOW_UPDATE, 0, 0, 4), request.clone(), frame(WINDOW_UPDATE, 0, 1001, 4)]),
        ("with a ping", vec![frame(PING, 0, 0, 8), frame(PING, 1, 0, 8), request.clone()]),
        ("with settings", vec![frame(SETTINGS, 0, 0, 12), frame(SETTINGS, 1, 0, 0), request.clone()]),
        ("with the end of another", vec![frame(RST_STREAM, 0, 999, 4), request.clone()]),
        ("with priorities", vec![frame(PRIORITY, 0, 1, 5), frame(HEADERS, 0x2d, 1001, 30)]),
        ("and goes away", vec![request.clone(), frame(GOAWAY, 0, 0, 8)]),
    ] {
        assert!(passes(&frames.concat()), "{name}");
    }
}

#[test]
fn reads_that_say_nothing() {
    let request = frame(HEADERS, 4, 1001, 30);
    for (name, frames) in [
        ("no stream opens", vec![frame(DATA, 0, 1001, 30)]),
        ("a server's stream", vec![frame(HEADERS, 4, 1002, 30)]),
        ("no stream", vec![frame(HEADERS, 4, 0, 30)]),
        ("a reserved bit", vec![frame(HEADERS, 4, 1 << 31 | 1001, 30)]),
        ("a flag that none has", vec![frame(HEADERS, 6, 1001, 30)]),
        ("fields that go on in another frame", vec![frame(HEADERS, 0, 1001, 30), frame(CONTINUATION, 4, 1001, 30)]),
        ("no fields", vec![frame(HEADERS, 4, 1001, 0)]),
        ("a frame that few servers take", vec![request.clone(), frame(DATA, 0, 1001, (1 << 14) + 1)]),
        ("a promise", vec![request.clone(), frame(PUSH_PROMISE, 4, 1001, 30)]),
        ("a type that is none", vec![request.clone(), frame(99, 0, 0, 30)]),
        ("settings cut off", vec![request.clone(), frame(SETTINGS, 0, 0, 7)]),
        ("a window of a length", vec![request.clone(), frame(WINDOW_UPDATE, 0, 0, 8)]),
        ("cut in a header", vec![request.clone(), vec![0, 0, 1]]),
        ("cut in a frame", vec![request[..20].to_vec()]),
        ("begins in a frame", vec![request[3..].to_vec(), request.clone()]),
    ] {
        assert!(!passes(&frames.concat()), "{name}");
    }
}

fn response(id: u32) -> Vec<u8> {
    let mut response = frame(HEADERS, 5, id, 1);
    response.pop();
    response.push(0x88);
    response
}

#[test]
fn counts_once_it_is_certain() {
    let mut old = Old::new();
    old.read(&frame(HEADERS, 4, 1001, 30));
    // In a frame by now, which is no matter.
    let next = [frame(HEADERS, 4, 1003, 30), frame(DATA, 1, 1003, 100)].concat();
    let (here, there) = next.split_at(60);
    old.read(here);
    // Another stream's, of the server, and of one that was open before.
    old.send(&[frame(DATA, 0, 999, 10), frame(SETTINGS, 1, 0, 0), frame(WINDOW_UPDATE, 0, 1001, 4)].concat());
    old.send(&response(2));
    old.send(&response(999));
    assert!(old.is_looked_at() && !old.is_confirmed());
    old.send(&response(1003));
    assert!(old.is_confirmed());
    old.connection.confirm_frames();
    old.read(there);
    assert_eq!(old.requests, 0, "streams that were open");
    old.read(&[frame(HEADERS, 5, 1003, 9), frame(HEADERS, 5, 1005, 30), frame(HEADERS, 5, 1007, 30)].concat());
    assert_eq!(old.requests, 2, "the end of one that was open, and two more");
}

#[test]
fn what_goes_on_otherwise_is_given_up() {
    let mut old = Old::new();
    old.read(&frame(HEADERS, 4, 1, 30));
    assert!(old.is_looked_at());
    old.read(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!((old.connection.stream.phase, old.is_looked_at()), (Phase::Unsynced, false));
    old.read(&frame(HEADERS, 4, 3, 30));
    assert!(old.is_looked_at(), "and looked at again");
}

/// Of all headers with this type and these flags, the share of those that a client would send: those on a stream of its own are a
/// quarter, and that on no stream is one of 2^32.
fn share_of_ids(length: usize, kind: u8, flags: u8) -> f64 {
    let is_legal = |id| {
        let mut replay = Replay::<64> { stream: Stream::unsure_frames(), ..Replay::default() };
        replay.read(&frame(kind, flags, id, length)[..HEADER_BYTES]);
        replay.stream.phase != Phase::Unsynced
    };
    for id in [2, 1000, 1 << 31, 1 << 31 | 1] {
        assert!(!is_legal(id), "{kind} {flags} {id}");
    }
    f64::from(u8::from(is_legal(1))) / 4.0 + f64::from(u8::from(is_legal(0))) / 2_f64.powi(32)
}

/// The probability that a random header is one of a frame of this length that a client would send; and that of HEADERS.
fn share(length: usize, kinds: std::ops::RangeInclusive<u8>) -> [f64; 2] {
    let of = |kind: u8| (0..=u8::MAX).map(|flags| share_of_ids(length, kind, flags)).sum::<f64>() / 2_f64.powi(40);
    [kinds.map(of).sum(), of(HEADERS)]
}

/// Of random bytes, fewer than one read in 10^11 passes, however long it is: what it costs a header to be legal, and the last frame to end with
/// the read, leaves no more.
#[test]
fn random_bytes_do_not_pass() {
    const LONGEST: usize = 3000;
    for length in [0, 4, 8, 102, 103] {
        assert_eq!(share(length, PUSH_PROMISE..=PUSH_PROMISE)[0] + share(length, CONTINUATION..=u8::MAX)[0], 0.0);
    }
    // Above 20 bytes lengths differ only in whether they are those of settings.
    let short: Vec<_> = (0..=20).map(|length| share(length, DATA..=WINDOW_UPDATE)).collect();
    let (of_settings, others) = (share(102, DATA..=WINDOW_UPDATE), share(103, DATA..=WINDOW_UPDATE));
    let share_of = |length: usize| match short.get(length) {
        Some(share) => *share,
        None if length.is_multiple_of(6) => of_settings,
        None => others,
    };
    // The probabilities that so many bytes are frames from the first to the last: any, and any but HEADERS.
    let (mut any, mut no_headers) = (vec![1.0], vec![1.0]);
    let mut highest = 0_f64;
    for bytes in 1..=LONGEST {
        let (mut all, mut without) = (0.0, 0.0);
        for before in 0..=bytes.saturating_sub(HEADER_BYTES) {
            if bytes < HEADER_BYTES {
                break;
            }
            let [legal, headers] = share_of(bytes - HEADER_BYTES - before);
            all += any[before] * legal;
            without += no_headers[before] * (legal - headers);
        }
        any.push(all);
        no_headers.push(without);
        highest = highest.max(all - without);
    }
    println!("at most one random read in {:.1e} passes", 1.0 / highest);
    assert!(highest > 0.0 && highest < 1e-11, "{highest}");
}

/// Numbers that repeat (xorshift64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Small numbers more often than large ones.
    fn length(&mut self) -> usize {
        let bits = 1 + self.below(11);
        self.below(1 << bits) as usize
    }

    /// Bytes of which many are small.
    fn body(&mut self) -> Vec<u8> {
        let length = self.length();
        (0..length).map(|_| if self.below(2) == 0 { self.below(10) as u8 } else { self.next() as u8 }).collect()
    }
}

fn with_length_be32(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&(body.len() as u32).to_be_bytes(), body.as_slice()].concat()
}

/// What a client of each protocol sends; numbers are such as occur.
fn message(protocol: &str, random: &mut Random) -> Vec<u8> {
    let (body, small) = (random.body(), random.below(300) as u32);
    match protocol {
        "random, behind a zero" => [vec![0], body].concat(),
        "TLS" => [vec![0x17, 3, 3], (body.len() as u16).to_be_bytes().to_vec(), body].concat(),
        "Redis" => [format!("*1\r\n${}\r\n", body.len()).into_bytes(), body, b"\r\n".to_vec()].concat(),
        "Postgres" => {
            let kind = b"QPBEDSCXpdcf"[random.below(12) as usize];
            let length = (body.len() as u32 + 4).to_be_bytes();
            [vec![kind], length.to_vec(), body].concat()
        }
        "Postgres, a start" => with_length_be32(&[&[0, 3, 0, 0], &body]),
        "Kafka" => {
            let (key, version) = (random.below(70) as u16, random.below(13) as u16);
            with_length_be32(&[&key.to_be_bytes(), &version.to_be_bytes(), &small.to_be_bytes(), &body])
        }
        "MongoDB" => {
            let length = (body.len() as u32 + 16).to_le_bytes();
            [length, small.to_le_bytes(), [0; 4], 2013_u32.to_le_bytes()].concat().into_iter().chain(body).collect()
        }
        "MySQL" => [&(body.len() as u32).to_le_bytes()[..3], &[random.below(4) as u8][..], &body].concat(),
        "gRPC's prefix" => [vec![0], with_length_be32(&[&body])].concat(),
        "Thrift" => with_length_be32(&[&[0x80, 1, 0, 1], &small.to_be_bytes(), &body]),
        "DNS" => [(body.len() as u16).to_be_bytes().to_vec(), body].concat(),
        "AMQP" => [vec![1, 0, 1], with_length_be32(&[&body]), vec![0xce]].concat(),
        "ZooKeeper" => with_length_be32(&[&small.to_be_bytes(), &(random.below(15) as u32).to_be_bytes(), &body]),
        "lengths of three bytes" => [vec![0], (body.len() as u16).to_be_bytes().to_vec(), body].concat(),
        _ => with_length_be32(&[&body]),
    }
}

const PROTOCOLS: [&str; 15] = [
    "random, behind a zero",
    "TLS",
    "Redis",
    "Postgres",
    "Postgres, a start",
    "Kafka",
    "MongoDB",
    "MySQL",
    "gRPC's prefix",
    "Thrift",
    "DNS",
    "AMQP",
    "ZooKeeper",
    "lengths of three bytes",
    "lengths of four bytes",
];

/// Connections of other protocols, of which each read and each send holds one message or several. A protocol of which the length of a message
/// is one of three bytes comes near to frames; the other direction tells it from them.
#[test]
fn other_protocols_do_not_pass() {
    const CONNECTIONS: u64 = 10_000;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for protocol in PROTOCOLS {
        let (mut reads, mut passed) = (0_u64, 0_u64);
        for _ in 0..CONNECTIONS {
            let mut old = Old::new();
            for _ in 0..=random.below(8) {
                let mut messages =
                    || -> Vec<u8> { (0..=random.below(4)).flat_map(|_| message(protocol, &mut random)).collect() };
                let (read, sent) = (messages(), messages());
                if read.is_empty() || sent.is_empty() {
                    continue;
                }
                old.read(&read);
                reads += 1;
                passed += u64::from(old.is_looked_at());
                old.send(&sent);
                assert!(!old.is_confirmed(), "{protocol}: {read:?} {sent:?}");
            }
            assert_eq!(old.requests, 0, "{protocol}");
        }
        println!("{protocol}: {passed} of {reads} reads");
        assert!(passed == 0 || protocol == "lengths of three bytes" && passed < reads / 1000, "{protocol}: {passed}");
    }
}

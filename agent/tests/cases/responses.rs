//! Responses, case by case: expected counts come from the definition, never from the probe.

use std::collections::BTreeMap;
use std::io::{self, Read, Write as _};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use agent::counting::responses::Responses;
use common::duration::bucket;
use common::method::Method;

use rustix::net::{Shutdown, shutdown};

use crate::lab::{Case, Expected, Lab, Transport, here, loopback};
use crate::load::full_speed_time;
use crate::streams::GET;

pub const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
pub const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";

/// What the server does with its end: `write` sends, and what is behind it ends the connection.
pub enum Step<'a> {
    Send(&'a [u8]),
    /// One system call for each byte.
    SendBytes(&'a [u8]),
    Wait(Duration),
    Shutdown,
}

/// What this process's responses were: status, method, how many; requests without an answer; responses that are lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub by_status: Vec<(u32, Method, u64)>,
    pub unanswered: u64,
    pub lost: u64,
    pub unknown_durations: u64,
}

impl Seen {
    /// Of this process. Both are cumulative.
    pub fn between(before: &Responses, after: &Responses, key: common::maps::ProcessKey) -> Self {
        let of = |responses: &Responses| {
            // Of all versions together.
            let mut counts: BTreeMap<(u32, Method), (u64, u64)> = BTreeMap::new();
            for series in responses.series.iter().filter(|series| series.process == key) {
                let (count, unknown) = counts.entry((series.status, series.asked.method())).or_default();
                (*count, *unknown) = (*count + series.count(), *unknown + series.value.unknown);
            }
            let outcomes = responses.outcomes.iter().filter(|(holder, _)| *holder == key);
            let (unanswered, lost) =
                outcomes.fold((0, 0), |(unanswered, lost), (_, of)| (unanswered + of.unanswered, lost + of.lost));
            (counts, unanswered, lost)
        };
        let (before, after) = (of(before), of(after));
        let mut seen = Self { unanswered: after.1 - before.1, lost: after.2 - before.2, ..Self::default() };
        for ((status, method), (count, unknown)) in after.0 {
            let (counted, untold) = before.0.get(&(status, method)).copied().unwrap_or_default();
            if count > counted {
                seen.by_status.push((status, method, count - counted));
            }
            seen.unknown_durations += unknown - untold;
        }
        seen.by_status.sort_unstable_by_key(|(status, method, _)| (*status, *method as u8));
        seen
    }

    /// That this is what has been seen of this process since `before`.
    pub fn expect_since(&self, before: &Responses, lab: &mut Lab) -> io::Result<()> {
        let (after, key) = lab.need_responses()?;
        self.expect(&Self::between(before, &after, key))
    }

    /// That this is what was counted.
    pub fn expect(&self, counted: &Self) -> io::Result<()> {
        if counted == self { Ok(()) } else { Err(io::Error::other(format!("expected {self:?}, counted {counted:?}"))) }
    }
}

/// A server that reads the request, and then takes the steps; the client reads to the end.
pub fn answer(request: &[u8], steps: &[Step<'_>]) -> io::Result<()> {
    answer_over(Transport::V4, request, steps)
}

pub fn answer_over(transport: Transport, request: &[u8], steps: &[Step<'_>]) -> io::Result<()> {
    let (mut client, mut server) = transport.connect()?;
    client.write_all(request)?;
    server.read_exact(&mut vec![0; request.len()])?;
    for step in steps {
        match step {
            Step::Send(bytes) => server.write_all(bytes)?,
            Step::SendBytes(bytes) => bytes.iter().try_for_each(|byte| server.write_all(&[*byte]))?,
            Step::Wait(time) => thread::sleep(*time),
            Step::Shutdown => shutdown(&server, Shutdown::Write)?,
        }
    }
    finish(client, server)
}

pub fn finish(mut client: impl Read, server: impl AsFd) -> io::Result<()> {
    shutdown(&server, Shutdown::Write)?;
    io::copy(&mut client, &mut io::sink())?;
    Ok(())
}

pub fn case(name: &str, requests: u64, seen: Seen, run: impl FnOnce() -> io::Result<()> + 'static) -> Case {
    case_where(name, requests, move |_| seen, run)
}

/// What is expected depends on what the kernel tells.
pub fn case_where(
    name: &str,
    requests: u64,
    seen: impl FnOnce(&Lab) -> Seen + 'static,
    run: impl FnOnce() -> io::Result<()> + 'static,
) -> Case {
    Case::new(format!("responses: {name}"), here(requests), move |lab: &mut Lab| {
        let seen = seen(lab);
        let (before, _) = lab.need_responses()?;
        run()?;
        seen.expect_since(&before, lab)
    })
}

pub fn seen(by_status: &[(u32, Method, u64)]) -> Seen {
    Seen { by_status: by_status.to_vec(), ..Seen::default() }
}

/// A response to one request, sent in every way.
fn row(cases: &mut Vec<Case>, name: &str, request: &'static str, response: &'static [u8], expected: &Seen) {
    let requests = request.matches("HTTP/1.").count() as u64;
    cases.push(case(name, requests, expected.clone(), move || answer(request.as_bytes(), &[Step::Send(response)])));
    cases.push(case(&format!("{name}, byte by byte"), requests, expected.clone(), move || {
        answer(request.as_bytes(), &[Step::SendBytes(response)])
    }));
}

/// A name, a request, what is sent, and what that is.
pub type Row = (&'static str, &'static str, &'static [u8], Seen);

/// Responses to one request each.
pub fn rows() -> Vec<Row> {
    use Method::{Connect, Get, Head, Post};
    vec![
        ("one", GET, OK.as_bytes(), seen(&[(200, Get, 1)])),
        ("a status of no class", GET, b"HTTP/1.1 799 Odd\r\nContent-Length: 0\r\n\r\n", seen(&[(799, Get, 1)])),
        (
            "chunked with a trailer",
            GET,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: HTTP/1.1 500\r\n\r\n",
            seen(&[(200, Get, 1)]),
        ),
        ("304 with a length", GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9000\r\n\r\n", seen(&[(304, Get, 1)])),
        ("HEAD with a length", HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n", seen(&[(200, Head, 1)])),
        (
            "a fake response in the body",
            GET,
            b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\nHTTP/1.1 500 No\r\n\r\n",
            seen(&[(200, Get, 1)]),
        ),
        (
            "103, 102, 100, then the final one",
            "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx",
            seen(&[(201, Post, 1)]),
        ),
        ("until close", GET, b"HTTP/1.0 200 OK\r\n\r\nHTTP/1.1 500 No\r\n\r\n", seen(&[(200, Get, 1)])),
        (
            "101",
            "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x01\x02HTTP/1.1 500 No\r\n\r\n",
            seen(&[(101, Get, 1)]),
        ),
        (
            "CONNECT taken",
            "CONNECT a:80 HTTP/1.1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/1.1 500 No\r\n\r\n",
            seen(&[(200, Connect, 1)]),
        ),
        (
            "CONNECT refused",
            "CONNECT a:80 HTTP/1.1\r\n\r\n",
            b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
            seen(&[(403, Connect, 1)]),
        ),
        ("cut in its body", GET, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", seen(&[(200, Get, 1)])),
        ("none", GET, b"", Seen { unanswered: 1, ..Seen::default() }),
        ("no response", GET, b"SSH-2.0-OpenSSH_9.2p1\r\n", Seen { lost: 1, ..Seen::default() }),
    ]
}

pub fn cases() -> Vec<Case> {
    use Method::{Get, Head};
    let mut cases = Vec::new();
    for (name, request, response, expected) in rows() {
        row(&mut cases, name, request, response, &expected);
    }
    for count in [2_usize, 16, 17, 64, 65, 1000] {
        let unknown = count.saturating_sub(16) as u64;
        let mut by_status = vec![(200, Get, count as u64 - unknown)];
        if unknown > 0 {
            by_status.push((200, Method::Unknown, unknown));
        }
        let expected = Seen { by_status, unknown_durations: unknown, ..Seen::default() };
        cases.push(case(&format!("{count} pipelined"), count as u64, expected, move || {
            answer(GET.repeat(count).as_bytes(), &[Step::Send(OK.repeat(count).as_bytes())])
        }));
    }
    cases.push(case("HEAD and GET pipelined", 4, seen(&[(200, Get, 2), (200, Head, 2)]), || {
        let responses = ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", OK].concat().repeat(2);
        answer([HEAD, GET].concat().repeat(2).as_bytes(), &[Step::Send(responses.as_bytes())])
    }));
    cases.push(case("a body of 8 MiB", 2, seen(&[(200, Get, 2)]), || {
        let (mut client, mut server) = loopback()?;
        client.write_all(GET.repeat(2).as_bytes())?;
        server.read_exact(&mut vec![0; 2 * GET.len()])?;
        let writer = thread::spawn(move || {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 8 << 20);
            let body = vec![b'x'; 8 << 20];
            server.write_all(&[head.as_bytes(), &body, OK.as_bytes()].concat()).map(|()| server)
        });
        thread::sleep(Duration::from_millis(20));
        let mut read = vec![0; 1 << 16];
        let mut left = (8 << 20) + 41 + OK.len();
        while left > 0 {
            let count = client.read(&mut read)?;
            if count == 0 {
                break;
            }
            left = left.saturating_sub(count);
        }
        drop(writer.join().expect("the writer does not panic")?);
        Ok(())
    }));
    cases.extend(leaving_http());
    let seconds = full_speed_time().as_secs();
    let name = format!("responses: every CPU busy for {seconds} s, eight at a time, each answered");
    cases.push(Case::new(name, here(0), |lab: &mut Lab| full_speed(lab, Transport::V4)));
    cases.push(duration(Transport::V4));
    cases.extend(tunnels(Transport::V4));
    cases
}

/// What a connection carries, one after the other.
pub enum Turn {
    Ask(&'static str),
    Answer(&'static str),
}

pub fn talk(transport: Transport, turns: &[Turn]) -> io::Result<()> {
    let (client, server) = talked(transport, turns)?;
    finish(client, server)
}

/// The client's end and the server's, still open.
fn talked(transport: Transport, turns: &[Turn]) -> io::Result<(impl Read + use<>, impl AsFd + use<>)> {
    let (mut client, mut server) = transport.connect()?;
    for turn in turns {
        let (from, to, bytes) = match turn {
            Turn::Ask(bytes) => (&mut client, &mut server, bytes),
            Turn::Answer(bytes) => (&mut server, &mut client, bytes),
        };
        from.write_all(bytes.as_bytes())?;
        to.read_exact(&mut vec![0; bytes.len()])?;
    }
    Ok((client, server))
}

pub const CONNECT: &str = "CONNECT a:80 HTTP/1.1\r\n\r\n";
pub const NO: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
const TAKEN: &str = "HTTP/1.1 200 OK\r\n\r\n";
pub const UPGRADE: &str = "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
pub const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

/// What leads to a tunnel is answered with its head, not once the tunnel is used or ends.
pub fn tunnels(transport: Transport) -> impl Iterator<Item = Case> {
    use Turn::{Answer, Ask};
    let rows = [
        ("101", UPGRADE, SWITCHED, (101, Method::Get, 1)),
        ("CONNECT taken", CONNECT, TAKEN, (200, Method::Connect, 1)),
    ];
    rows.into_iter().map(move |(name, request, response, expected)| {
        let name = format!("responses: {name}, counted while the tunnel is open{}", transport.suffix());
        Case::new(name, here(1), move |lab: &mut Lab| {
            let (before, _) = lab.need_responses()?;
            let (client, server) = talked(transport, &[Ask(request), Answer(response)])?;
            seen(&[expected]).expect_since(&before, lab)?;
            finish(client, server)?;
            seen(&[expected]).expect_since(&before, lab)
        })
    })
}

/// Whether a connection leaves HTTP, the answer says, and not the bytes behind it.
fn leaving_http() -> Vec<Case> {
    use Method::{Connect, Get};
    use Turn::{Answer, Ask};
    vec![
        case("CONNECT refused, then a request", 2, seen(&[(200, Get, 1), (403, Connect, 1)]), || {
            talk(Transport::V4, &[Ask(CONNECT), Answer(NO), Ask(GET), Answer(OK)])
        }),
        case("CONNECT taken, then what looks like a request", 1, seen(&[(200, Connect, 1)]), || {
            talk(Transport::V4, &[Ask(CONNECT), Answer(TAKEN), Ask(GET), Answer(OK), Ask(GET)])
        }),
        case("Upgrade refused, then a request", 2, seen(&[(200, Get, 1), (403, Get, 1)]), || {
            talk(Transport::V4, &[Ask(UPGRADE), Answer(NO), Ask(GET), Answer(OK)])
        }),
        case("101, then what looks like a request", 1, seen(&[(101, Get, 1)]), || {
            talk(Transport::V4, &[Ask(UPGRADE), Answer(SWITCHED), Ask(GET), Answer(OK), Ask(GET)])
        }),
        case("100, then 101, then what looks like a request", 1, seen(&[(101, Get, 1)]), || {
            talk(Transport::V4, &[Ask(UPGRADE), Answer("HTTP/1.1 100 Continue\r\n\r\n"), Answer(SWITCHED), Ask(GET)])
        }),
    ]
}

/// Two clients for each CPU, which ask eight at a time, and servers that answer: each request has its response, and each
/// response its duration.
pub fn full_speed(lab: &mut Lab, transport: Transport) -> io::Result<()> {
    const AT_A_TIME: usize = 8;
    let (before, _) = lab.need_responses()?;
    let skipped_before = lab.skipped_calls()?;
    let end = Instant::now() + full_speed_time();
    let mut running = Vec::new();
    for _ in 0..2 * thread::available_parallelism()?.get() {
        let (mut client, mut server) = transport.connect()?;
        running.push(thread::spawn(move || -> io::Result<u64> {
            let (requests, mut responses) = (GET.repeat(AT_A_TIME), vec![0; AT_A_TIME * OK.len()]);
            while Instant::now() < end {
                client.write_all(requests.as_bytes())?;
                client.read_exact(&mut responses)?;
            }
            Ok(0)
        }));
        running.push(thread::spawn(move || -> io::Result<u64> {
            let (mut requests, responses) = (vec![0; AT_A_TIME * GET.len()], OK.repeat(AT_A_TIME));
            let mut answered = 0;
            while server.read_exact(&mut requests).is_ok() {
                server.write_all(responses.as_bytes())?;
                answered += AT_A_TIME as u64;
            }
            Ok(answered)
        }));
    }
    // They are counted while they are read.
    while Instant::now() < end {
        lab.responses()?;
    }
    let mut answered = 0;
    for thread in running {
        answered += thread.join().expect("no thread panics")?;
    }
    let (after, key) = lab.need_responses()?;
    let (expected, counted) = (seen(&[(200, Method::Get, answered)]), Seen::between(&before, &after, key));
    lab.expect(Expected { may_be_skipped: true, ..here(answered) });
    if counted == expected {
        return Ok(());
    }
    // What the kernel skips is lost: a request is not counted, or it is said that its response is not known.
    let skipped = lab.skipped_calls()? - skipped_before;
    let known: u64 = counted.by_status.iter().map(|(_, _, count)| count).sum();
    if skipped > 0 && known + counted.lost + counted.unanswered <= answered {
        println!("note: {skipped} calls skipped, {known} of {answered} responses known, {} lost by name", counted.lost);
        return Ok(());
    }
    Err(io::Error::other(format!("expected {expected:?}, counted {counted:?}")))
}

/// A server that waits before it answers: the duration is at least that, and no longer than the case took.
pub fn duration(transport: Transport) -> Case {
    const WAIT: Duration = Duration::from_millis(300);
    let name = format!("responses: a delay of 300 ms is in the duration{}", transport.suffix());
    Case::new(name, here(1), move |lab: &mut Lab| {
        let (before, _) = lab.need_responses()?;
        let begun = Instant::now();
        let steps = [Step::Wait(WAIT), Step::Send(OK.as_bytes()), Step::Shutdown];
        answer_over(transport, GET.as_bytes(), &steps)?;
        let most = begun.elapsed();
        let (after, key) = lab.need_responses()?;
        let sum = |responses: &Responses| -> (u64, u64) {
            let own = responses.series.iter().filter(|series| series.process == key);
            own.fold((0, 0), |(sum, late), series| {
                let first = bucket(WAIT.as_nanos() as u64) as usize;
                (sum + series.value.sum_ns, late + series.value.buckets[first..].iter().sum::<u64>())
            })
        };
        let (before, after) = (sum(&before), sum(&after));
        let took = Duration::from_nanos(after.0 - before.0);
        if took < WAIT || took > most || after.1 - before.1 != 1 {
            return Err(io::Error::other(format!("{took:?} of at most {most:?}, {} late", after.1 - before.1)));
        }
        Ok(())
    })
}

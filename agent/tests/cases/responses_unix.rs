//! Responses over Unix sockets: counted where their client reads them.

use std::io::{self, Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use common::exchange::UNIX_WAITING;
use common::method::Method;
use rustix::net::{RecvFlags, Shutdown, recv, shutdown};

use crate::frames::{PREFACE, frame};
use crate::lab::{Case, Lab, Transport, here};
use crate::load::full_speed_time;
use crate::responses::{
    CONNECT, HEAD, NO, OK, SWITCHED, Seen, Step, Turn, UPGRADE, answer_over, case_where, duration, finish, full_speed,
    seen, talk, tunnels,
};
use crate::streams::GET;

/// What a kernel that tells of no end of a Unix connection leaves of that.
fn without_ends(lab: &Lab, with: Seen, without: Seen) -> Seen {
    if lab.sees_unix_closes() { with } else { without }
}

fn case(
    name: &str,
    requests: u64,
    (with_ends, without): (Seen, Seen),
    run: impl FnOnce() -> io::Result<()> + 'static,
) -> Case {
    case_where(&format!("Unix: {name}"), requests, |lab| without_ends(lab, with_ends, without), run)
}

fn same(seen: Seen) -> (Seen, Seen) {
    (seen.clone(), seen)
}

/// A response to one request, sent in every way.
fn row(cases: &mut Vec<Case>, name: &str, (request, response): (&'static str, &'static [u8]), expected: &(Seen, Seen)) {
    let requests = request.matches("HTTP/1.").count() as u64;
    cases.push(case(name, requests, expected.clone(), move || {
        answer_over(Transport::Unix, request.as_bytes(), &[Step::Send(response)])
    }));
    cases.push(case(&format!("{name}, byte by byte"), requests, expected.clone(), move || {
        answer_over(Transport::Unix, request.as_bytes(), &[Step::SendBytes(response)])
    }));
}

/// Name, request, response, and what is seen of it: with ends and without.
type Row = (&'static str, &'static str, &'static [u8], (Seen, Seen));

pub fn cases() -> Vec<Case> {
    use Method::{Connect, Get, Head};
    let unanswered = (Seen { unanswered: 1, ..Seen::default() }, Seen::default());
    let cut_off = (seen(&[(200, Get, 1)]), Seen::default());
    let until_close = (seen(&[(200, Get, 1)]), Seen { unknown_durations: 1, ..seen(&[(200, Get, 1)]) });
    let lost = same(Seen { lost: 1, ..Seen::default() });
    let mut cases = Vec::new();
    let rows: &[Row] = &[
        ("one", GET, OK.as_bytes(), same(seen(&[(200, Get, 1)]))),
        (
            "chunked with a trailer",
            GET,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: HTTP/1.1 500\r\n\r\n",
            same(seen(&[(200, Get, 1)])),
        ),
        ("HEAD with a length", HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n", same(seen(&[(200, Head, 1)]))),
        ("until close", GET, b"HTTP/1.0 200 OK\r\n\r\nHTTP/1.1 500 No\r\n\r\n", until_close),
        (
            "CONNECT taken",
            "CONNECT a:80 HTTP/1.1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/1.1 500 No\r\n\r\n",
            same(seen(&[(200, Connect, 1)])),
        ),
        ("cut in its body", GET, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", cut_off),
        ("none", GET, b"", unanswered.clone()),
        ("no response", GET, b"SSH-2.0-OpenSSH_9.2p1\r\n", lost),
    ];
    for (name, request, response, expected) in rows {
        row(&mut cases, name, (request, response), expected);
    }
    for count in [2, UNIX_WAITING, UNIX_WAITING + 1, 64, 1000] {
        let unknown = count.saturating_sub(UNIX_WAITING) as u64;
        let mut by_status = vec![(200, Get, count as u64 - unknown)];
        if unknown > 0 {
            by_status.push((200, Method::Unknown, unknown));
        }
        let expected = Seen { by_status, unknown_durations: unknown, ..Seen::default() };
        cases.push(case(&format!("{count} pipelined"), count as u64, same(expected), move || {
            let responses = OK.repeat(count);
            answer_over(Transport::Unix, GET.repeat(count).as_bytes(), &[Step::Send(responses.as_bytes())])
        }));
    }
    cases.extend(leaving_http());
    cases.extend(ends(&unanswered));
    cases.extend(frames());
    let seconds = full_speed_time().as_secs();
    let name = format!("responses: Unix: every CPU busy for {seconds} s, eight at a time, each answered");
    cases.push(Case::new(name, here(0), |lab: &mut Lab| full_speed(lab, Transport::Unix)));
    cases.push(duration(Transport::Unix));
    cases.extend(tunnels(Transport::Unix));
    cases
}

/// Whether a connection leaves HTTP, the answer says here, too.
fn leaving_http() -> Vec<Case> {
    use Method::{Connect, Get};
    use Turn::{Answer, Ask};
    vec![
        case("CONNECT refused, then a request", 2, same(seen(&[(200, Get, 1), (403, Connect, 1)])), || {
            talk(Transport::Unix, &[Ask(CONNECT), Answer(NO), Ask(GET), Answer(OK)])
        }),
        case("101, then what looks like a request", 1, same(seen(&[(101, Get, 1)])), || {
            talk(Transport::Unix, &[Ask(UPGRADE), Answer(SWITCHED), Ask(GET), Answer(OK), Ask(GET)])
        }),
    ]
}

/// A connection as servers have them: accepted from a listener.
fn accepted() -> io::Result<(UnixStream, UnixStream)> {
    let name = format!("cases-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(name)?;
    let listener = UnixListener::bind_addr(&address)?;
    let client = UnixStream::connect_addr(&address)?;
    Ok((client, listener.accept()?.0))
}

/// The client's end, and the server's, which has read a request.
fn asked() -> io::Result<(UnixStream, UnixStream)> {
    let (mut client, mut server) = accepted()?;
    client.write_all(GET.as_bytes())?;
    server.read_exact(&mut [0; GET.len()])?;
    Ok((client, server))
}

/// Who closes its end, and when.
fn ends(unanswered: &(Seen, Seen)) -> Vec<Case> {
    let one = || same(seen(&[(200, Method::Get, 1)]));
    let closed = same(Seen { unanswered: 1, ..Seen::default() });
    vec![
        case("a listener, three on one connection", 3, same(seen(&[(200, Method::Get, 3)])), || {
            let (mut client, mut server) = accepted()?;
            for _ in 0..3 {
                client.write_all(GET.as_bytes())?;
                server.read_exact(&mut [0; GET.len()])?;
                server.write_all(OK.as_bytes())?;
                client.read_exact(&mut [0; OK.len()])?;
            }
            Ok(())
        }),
        case("the server closes before it is read", 1, one(), || {
            let (mut client, mut server) = asked()?;
            server.write_all(OK.as_bytes())?;
            drop(server);
            client.read_exact(&mut [0; OK.len()])
        }),
        case("never read", 1, unanswered.clone(), || {
            let (_client, mut server) = asked()?;
            server.write_all(OK.as_bytes())
        }),
        case("never read, and the client closes first", 1, unanswered.clone(), || {
            let (client, mut server) = asked()?;
            server.write_all(OK.as_bytes())?;
            drop(client);
            Ok(())
        }),
        case("the client closes before the request is read", 1, closed, || {
            let (mut client, mut server) = accepted()?;
            client.write_all(GET.as_bytes())?;
            drop(client);
            server.read_exact(&mut [0; GET.len()])
        }),
        case("the client sends no more", 1, one(), || {
            let (mut client, mut server) = asked()?;
            shutdown(&client, Shutdown::Write)?;
            server.write_all(OK.as_bytes())?;
            client.read_exact(&mut [0; OK.len()])
        }),
        case("peeked at, then read in pieces", 1, one(), || {
            let (mut client, mut server) = asked()?;
            server.write_all(OK.as_bytes())?;
            let mut bytes = [0; OK.len()];
            for end in [1, 5, 20, OK.len()] {
                recv(&client, &mut bytes[..end], RecvFlags::PEEK)?;
            }
            bytes.chunks_mut(7).try_for_each(|piece| client.read_exact(piece))
        }),
    ]
}

/// HTTP/2, whose server may speak first.
fn frames() -> Vec<Case> {
    let preface = || [PREFACE, &frame(4, 0, 0, &[])].concat();
    let request = |id| frame(1, 5, id, b"\x82\x86\x84");
    let response = |id| [frame(1, 4, id, b"\x8d"), frame(0, 1, id, b"no")].concat();
    let counted = |count| same(seen(&[(404, Method::Get, count)]));
    let read = |end: &mut dyn io::Read, bytes: &[u8]| end.read_exact(&mut vec![0; bytes.len()]);
    let settings = || frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]);
    vec![
        case("HTTP/2, the server speaks first and is read first", 3, counted(3), move || {
            let (mut client, mut server) = accepted()?;
            server.write_all(&settings())?;
            read(&mut client, &settings())?;
            client.write_all(&preface())?;
            read(&mut server, &preface())?;
            for id in [1, 3, 5] {
                client.write_all(&request(id))?;
                read(&mut server, &request(id))?;
                server.write_all(&response(id))?;
                read(&mut client, &response(id))?;
            }
            Ok(())
        }),
        case("HTTP/2, three at once, cut everywhere", 3, counted(3), move || {
            let (mut client, mut server) = Transport::Unix.connect()?;
            let asked = [preface(), request(1), request(3), request(5)].concat();
            client.write_all(&asked)?;
            read(&mut server, &asked)?;
            let answers = [settings(), response(3), response(1), response(5)].concat();
            answers.iter().try_for_each(|byte| server.write_all(&[*byte]))?;
            finish(client, server)
        }),
        case(
            "HTTP/2, a stream that is not answered",
            1,
            (Seen { unanswered: 1, ..Seen::default() }, Seen::default()),
            move || {
                let (mut client, mut server) = accepted()?;
                let asked = [preface(), request(1)].concat();
                client.write_all(&asked)?;
                read(&mut server, &asked)?;
                server.write_all(&settings())?;
                read(&mut client, &settings())
            },
        ),
    ]
}

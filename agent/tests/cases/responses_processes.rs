//! Responses: whose they are, where one process reads and another answers.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use common::exchange::Untold;
use common::maps::ProcessKey;
use common::method::Method::Get;

use crate::lab::{Case, Lab, elsewhere, loopback};
use crate::processes::{finish, receive_one, send_descriptor, start, unshared};
use crate::raw_sends::{came_with_syn, fast_open, raise_loopback};
use crate::responses::{OK, Seen, case, seen};
use crate::streams::GET;

/// Reads a request from its input and answers it there.
pub const SERVE: &str = "serve-stdin";
/// Answers on its input, without a look at what was asked.
pub const ANSWER: &str = "answer-stdin";
/// Answers on a descriptor that it gets.
pub const ANSWER_RECEIVED: &str = "answer-received";
/// Reads and answers a request that came with the SYN.
pub const FAST_OPEN: &str = "fast-open";

/// What this binary does in these roles.
pub fn play(role: &str) -> Option<io::Result<()>> {
    match role {
        SERVE => Some(serve()),
        ANSWER => Some(stdin().and_then(|mut socket| answer(&mut socket))),
        ANSWER_RECEIVED => Some(receive_one().and_then(|mut socket| answer(&mut socket))),
        FAST_OPEN => Some(serve_fast_open()),
        _ => None,
    }
}

fn stdin() -> io::Result<TcpStream> {
    Ok(TcpStream::from(rustix::io::dup(io::stdin())?))
}

fn serve() -> io::Result<()> {
    let mut socket = stdin()?;
    socket.read_exact(&mut [0; GET.len()])?;
    answer(&mut socket)
}

/// From the heap. A page of the program's file that this process has not looked at yet is not in its memory, and a program at a
/// tracepoint cannot wait for it (`unreadable`).
fn answer(socket: &mut TcpStream) -> io::Result<()> {
    let response = OK.to_owned();
    socket.write_all(response.as_bytes())
}

fn serve_fast_open() -> io::Result<()> {
    const ALWAYS: &str = "519"; // Client and server, and no cookie asked for by either.
    raise_loopback()?;
    fs::write("/proc/sys/net/ipv4/tcp_fastopen", ALWAYS)?;
    let (mut client, mut server) = fast_open(GET.as_bytes())?;
    server.read_exact(&mut [0; GET.len()])?;
    answer(&mut server)?;
    client.read_exact(&mut [0; OK.len()])?;
    if came_with_syn(&client)? { Ok(()) } else { Err(io::Error::other("nothing came with the SYN")) }
}

pub fn cases() -> Vec<Case> {
    let one = || seen(&[(200, Get, 1)]);
    vec![
        of_child("accepted here, read and answered in a child", one(), |lab| {
            let (mut client, server) = loopback()?;
            client.write_all(GET.as_bytes())?;
            let child = start(SERVE, &[], OwnedFd::from(server))?;
            let pid = child.id();
            finish(child)?;
            client.read_exact(&mut [0; OK.len()])?;
            lab.process(pid)
        }),
        case("read here, answered in a child: of who read", 1, one(), || {
            let (mut client, mut server) = loopback()?;
            client.write_all(GET.as_bytes())?;
            server.read_exact(&mut [0; GET.len()])?;
            finish(start(ANSWER, &[], OwnedFd::from(server))?)?;
            client.read_exact(&mut [0; OK.len()])
        }),
        case("read here, answered by a process that got the descriptor: of who read", 1, one(), || {
            let (mut client, mut server) = loopback()?;
            client.write_all(GET.as_bytes())?;
            server.read_exact(&mut [0; GET.len()])?;
            let (ours, theirs) = UnixStream::pair()?;
            let child = start(ANSWER_RECEIVED, &[], OwnedFd::from(theirs))?;
            send_descriptor(&ours, &server)?;
            finish(child)?;
            client.read_exact(&mut [0; OK.len()])
        }),
        of_child("a request that came with the SYN", one(), |lab| {
            let before = lab.youngest()?;
            finish(unshared("--net", FAST_OPEN).stdin(Stdio::null()).spawn()?)?;
            // `unshare` forks: the process is a child of the child.
            Ok(lab.youngest()?.filter(|youngest| Some(*youngest) != before))
        }),
        Case::new(
            "responses: the reader has ended, and another has its slot: none of its",
            elsewhere(1),
            slot_used_again,
        ),
    ]
}

/// What a process that was started had.
fn of_child(
    name: &str,
    expected: Seen,
    run: impl FnOnce(&mut Lab) -> io::Result<Option<ProcessKey>> + 'static,
) -> Case {
    Case::new(format!("responses: {name}"), elsewhere(1), move |lab: &mut Lab| {
        let (before, _) = lab.need_responses()?;
        let key = run(lab)?.ok_or_else(|| io::Error::other("nobody has counted"))?;
        let (after, _) = lab.need_responses()?;
        expected.expect(&Seen::between(&before, &after, key))
    })
}

/// A child reads a request and ends; its slot is given back, and as the last one that was it goes to the next; then the request is answered here.
fn slot_used_again(lab: &mut Lab) -> io::Result<()> {
    lab.need_responses()?;
    let ended = lab.untold(Untold::Process)?;
    let (mut client, mut server) = loopback()?;
    let reads_one = |server: &TcpStream, client: &mut TcpStream| -> io::Result<u32> {
        let child = start("read-stdin", &[], OwnedFd::from(server.try_clone()?))?;
        client.write_all(GET.as_bytes())?;
        client.shutdown(std::net::Shutdown::Write)?;
        let pid = child.id();
        finish(child).map(|()| pid)
    };
    let first = reads_one(&server, &mut client)?;
    let first = lab.process(first)?.ok_or_else(|| io::Error::other("the first was not counted"))?;
    lab.release(&[first])?;
    let (mut other_client, other_server) = loopback()?;
    let second = reads_one(&other_server, &mut other_client)?;
    let second = lab.process(second)?.ok_or_else(|| io::Error::other("the second was not counted"))?;
    server.write_all(OK.as_bytes())?;
    client.read_exact(&mut [0; OK.len()])?;
    drop(other_server);
    let (after, _) = lab.need_responses()?;
    let counted = |key: ProcessKey| Seen::between(&agent::counting::responses::Responses::default(), &after, key);
    Seen::default().expect(&counted(first))?;
    // Its own request was not answered.
    Seen { unanswered: 1, ..Seen::default() }.expect(&counted(second))?;
    let losses = lab.untold(Untold::Process)? - ended;
    if losses > 0 { Ok(()) } else { Err(io::Error::other("nothing says that a response was lost")) }
}

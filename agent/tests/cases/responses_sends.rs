//! Responses: every way in which a process can give bytes to a socket, and sockets that differ.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::thread;

use common::exchange::Untold;
use common::method::Method::{Get, Head, Unknown};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::pipe::{SpliceFlags, pipe, splice};

use crate::lab::{Case, Lab, here, loopback};
use crate::raw;
use crate::raw_sends::{Uring, mptcp_for_a_plain_client, send_unfaulted, sendmmsg, uring_send};
use crate::responses::{HEAD, OK, Seen, Step, answer, case, finish, seen};
use crate::streams::GET;

const BODY: usize = 1 << 20;

pub fn cases() -> Vec<Case> {
    let two = || seen(&[(200, Get, 2)]);
    let mut cases = vec![
        way("io_uring send", two(), |server| uring_send(server, OK.repeat(2).as_bytes(), Uring::Plain)),
        way("io_uring send by a worker", two(), |server| uring_send(server, OK.repeat(2).as_bytes(), Uring::Worker)),
        way("io_uring send by a poller", two(), |server| uring_send(server, OK.repeat(2).as_bytes(), Uring::Polled)),
        way("io_uring send of pages", two(), |server| uring_send(server, OK.repeat(2).as_bytes(), Uring::ZeroCopy)),
        way("sendmmsg of two responses", two(), |server| sendmmsg(server, &[OK.as_bytes(), OK.as_bytes()])),
        way("sendmmsg of a response cut in two, and another", two(), |server| {
            let (first, rest) = OK.as_bytes().split_at(10);
            sendmmsg(server, &[first, rest, OK.as_bytes()])
        }),
        way("splice of a body", two(), |mut server| {
            server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n")?;
            splice_into(server, b"HTTP/1.1 500 No\r\n\r\n")?;
            server.write_all(OK.as_bytes())
        }),
        way("sendfile of a body", two(), |mut server| {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 16 * raw::page());
            server.write_all(head.as_bytes())?;
            raw::send_pages(server, 16)?;
            server.write_all(OK.as_bytes())
        }),
        way("an answer of the thread that does not read", two(), |server| {
            let mut server = server.try_clone()?;
            let writer = thread::spawn(move || server.write_all(OK.repeat(2).as_bytes()));
            writer.join().expect("the writer does not panic")
        }),
        case("a receiver of 4 KiB", 2, two(), small_receiver),
        case("an MPTCP listener with a plain client", 2, two(), || {
            let (client, server) = mptcp_for_a_plain_client()?;
            exchange(client, server, |server| (&*server).write_all(OK.repeat(2).as_bytes()))
        }),
    ];
    cases.extend(beyond_what_is_kept());
    cases.extend(unreadable());
    cases
}

/// Two requests, and what answers them.
fn way(name: &str, expected: Seen, respond: fn(&TcpStream) -> io::Result<()>) -> Case {
    case(name, 2, expected, move || {
        let (client, server) = loopback()?;
        exchange(client, server, respond)
    })
}

fn exchange(
    mut client: TcpStream,
    mut server: TcpStream,
    respond: impl FnOnce(&TcpStream) -> io::Result<()>,
) -> io::Result<()> {
    client.write_all(GET.repeat(2).as_bytes())?;
    server.read_exact(&mut vec![0; 2 * GET.len()])?;
    respond(&server)?;
    finish(client, server)
}

fn splice_into(socket: impl AsFd, bytes: &[u8]) -> io::Result<()> {
    let (out, into) = pipe()?;
    rustix::io::write(&into, bytes)?;
    let mut moved = 0;
    while moved < bytes.len() {
        moved += splice(&out, None, &socket, None, bytes.len() - moved, SpliceFlags::empty())?;
    }
    Ok(())
}

/// The kernel takes what there is room for, again and again.
fn small_receiver() -> io::Result<()> {
    let (client, mut server) = loopback()?;
    set_socket_recv_buffer_size(&client, 4096)?;
    let mut requests = &client;
    requests.write_all(GET.repeat(2).as_bytes())?;
    server.read_exact(&mut vec![0; 2 * GET.len()])?;
    let writer = thread::spawn(move || {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n");
        // What looks like responses, and where a round ends is not known.
        let body = b"HTTP/1.1 500 No\r\n\r\n".iter().copied().cycle().take(BODY).collect::<Vec<_>>();
        server.write_all(&[head.as_bytes(), &body, OK.as_bytes()].concat())?;
        server.shutdown(std::net::Shutdown::Write).map(|()| server)
    });
    io::copy(&mut &client, &mut io::sink())?;
    writer.join().expect("the writer does not panic").map(drop)
}

/// Requests behind the sixteen whose method is kept: of one that decides about the body of its response it is not known
/// which it is.
fn beyond_what_is_kept() -> Vec<Case> {
    let requests = |head_at: usize| {
        let requests = (0..20).map(|index| if index == head_at { HEAD } else { GET });
        requests.collect::<String>()
    };
    let responses = |head_at: usize| {
        let no_body = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
        let responses = (0..20).map(|index| if index == head_at { no_body } else { OK });
        responses.collect::<String>()
    };
    let kept = Seen { unknown_durations: 4, ..seen(&[(200, Get, 15), (200, Head, 1), (200, Unknown, 4)]) };
    let lost = Seen { unknown_durations: 1, lost: 3, ..seen(&[(200, Get, 16), (200, Unknown, 1)]) };
    let run = |head_at| move || answer(requests(head_at).as_bytes(), &[Step::Send(responses(head_at).as_bytes())]);
    vec![
        case("HEAD as the sixteenth of 20 pipelined", 20, kept, run(15)),
        case("HEAD as the eighteenth of 20 pipelined: the rest is lost by name", 20, lost, run(17)),
    ]
}

/// Bytes that the probe cannot see when they are sent. Where it looks at them after they were, it can.
fn unreadable() -> Vec<Case> {
    let lossy = |name: &str, is_told: fn(&str) -> bool, respond: fn(&TcpStream) -> io::Result<()>| {
        let name = format!("responses: {name}: known, or lost by name");
        Case::new(name, here(3), move |lab: &mut Lab| {
            let (before, _) = lab.need_responses()?;
            let told = is_told(&lab.hook());
            let unreadable = lab.untold(Untold::Unreadable)?;
            let (mut client, mut server) = loopback()?;
            client.write_all(GET.repeat(2).as_bytes())?;
            server.read_exact(&mut vec![0; 2 * GET.len()])?;
            respond(&server)?;
            client.read_exact(&mut vec![0; 2 * OK.len()])?;
            // Whether the first two were answered is not known: nor is what comes next an answer to.
            client.write_all(GET.as_bytes())?;
            server.read_exact(&mut vec![0; GET.len()])?;
            server.write_all(OK.as_bytes())?;
            finish(client, server)?;
            let (after, key) = lab.need_responses()?;
            let counted = Seen::between(&before, &after, key);
            let losses = lab.untold(Untold::Unreadable)? - unreadable;
            let expected = if told { seen(&[(200, Get, 3)]) } else { Seen { lost: 3, ..Seen::default() } };
            if counted == expected && (told || losses > 0) {
                return Ok(());
            }
            Err(io::Error::other(format!("expected {expected:?}, counted {counted:?}, {losses} unreadable")))
        })
    };
    vec![
        lossy(
            "a page that was not looked at",
            |hook| hook.starts_with("fexit"),
            |server| send_unfaulted(server, OK.repeat(2).as_bytes()),
        ),
        lossy("splice of whole responses", |_| false, |server| splice_into(server, OK.repeat(2).as_bytes())),
    ]
}

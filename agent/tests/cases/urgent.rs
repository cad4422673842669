//! Urgent data: bytes that the sender's stream has and the reader's has not.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use common::failure::Failure;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt::set_socket_oobinline;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::certainty::{ANSWER, exchange};
use crate::lab::{Case, Expected, here, loopback};
use crate::streams::GET;

/// No server would take it for a part of a request.
const URGENT: &[u8] = b"\x01";

pub fn cases() -> Vec<Case> {
    let unclear = Expected { losses: vec![(Failure::UrgentData, 1)], ..here(1) };
    vec![
        Case::new("urgent bytes at every place of a request", here(GET.len() as u64), |_| {
            (0..GET.len()).try_for_each(|at| {
                let (mut client, mut server) = loopback()?;
                let (before, after) = GET.as_bytes().split_at(at);
                client.write_all(before)?;
                urgent(&client)?;
                client.write_all(after)?;
                server.read_exact(&mut [0; GET.len()])
            })
        }),
        Case::new("urgent bytes between requests", here(10), |_| {
            let (mut client, mut server) = loopback()?;
            (0..10).try_for_each(|_| {
                client.write_all(GET.as_bytes())?;
                urgent(&client)?;
                server.read_exact(&mut [0; GET.len()])
            })
        }),
        Case::new("urgent bytes are no part of a body", here(2), |_| {
            let (mut client, mut server) = loopback()?;
            // One byte less of the body, and what follows it is no request line.
            let head = "POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n";
            client.write_all(format!("{head}12345").as_bytes())?;
            urgent(&client)?;
            client.write_all(format!("6789\u{1}{GET}").as_bytes())?;
            server.read_exact(&mut vec![0; head.len() + 10 + GET.len()])
        }),
        Case::new("a peek behind an urgent byte, then a read", here(1), |_| {
            let (mut client, mut server) = loopback()?;
            urgent(&client)?;
            client.write_all(GET.as_bytes())?;
            for _ in 0..3 {
                recv(&server, &mut [0; GET.len()], RecvFlags::PEEK | RecvFlags::WAITALL)?;
            }
            server.read_exact(&mut [0; GET.len()])
        }),
        Case::new("an urgent byte that is read in line is a part of the stream", here(1), |_| {
            let (mut client, mut server) = loopback()?;
            set_socket_oobinline(&server, true)?;
            let (before, after) = GET.as_bytes().split_at(3);
            send(&client, before, SendFlags::OOB)?;
            client.write_all(after)?;
            server.read_exact(&mut [0; GET.len()])
        }),
        Case::new("two urgent bytes together: not certain, and said so", unclear, |_| {
            let mut ends = loopback()?;
            exchange(&mut ends, GET.as_bytes())?;
            for _ in 0..2 {
                urgent(&ends.0)?;
                step_over_urgent(&ends.1)?;
            }
            // It could be a body: what follows an answer is not believed.
            (0..3).try_for_each(|_| exchange(&mut ends, GET.as_bytes()))
        }),
        Case::new("Unix: an urgent byte that is taken, and one that is not", here(2), |_| {
            let (mut client, mut server) = UnixStream::pair()?;
            for is_taken in [true, false] {
                let (before, after) = GET.as_bytes().split_at(8);
                client.write_all(before)?;
                send(&client, URGENT, SendFlags::OOB).map_err(|error| {
                    io::Error::new(io::ErrorKind::Unsupported, format!("no urgent data on Unix sockets here ({error})"))
                })?;
                server.read_exact(&mut vec![0; before.len()])?;
                if is_taken {
                    recv(&server, &mut [0; 1], RecvFlags::OOB)?;
                }
                client.write_all(after)?;
                server.read_exact(&mut vec![0; after.len()])?;
                server.write_all(ANSWER)?;
            }
            Ok(())
        }),
    ]
}

fn urgent(client: impl AsFd) -> io::Result<()> {
    send(client, URGENT, SendFlags::OOB)?;
    Ok(())
}

/// A read that finds nothing but an urgent byte takes it out of the stream.
fn step_over_urgent(server: &TcpStream) -> io::Result<()> {
    poll(&mut [PollFd::new(server, PollFlags::PRI)], None)?;
    match recv(server, &mut [0; 1], RecvFlags::DONTWAIT) {
        Err(rustix::io::Errno::AGAIN) => Ok(()),
        other => Err(io::Error::other(format!("there was something else to read: {other:?}"))),
    }
}

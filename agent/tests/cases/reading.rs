//! Reading: every way in which a process can take bytes from a socket.

use std::io::{self, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use common::failure::Failure;
use rustix::net::{RecvAncillaryBuffer, RecvFlags, recv, recvmsg};
use rustix::pipe::{SpliceFlags, pipe, splice};

use crate::lab::{Case, Expected, here, loopback};
use crate::raw;
use crate::streams::GET;

type Server = TcpStream;
/// Takes so many bytes from a socket.
type Way = fn(&mut Server, usize) -> io::Result<()>;

pub fn cases() -> Vec<Case> {
    let mut cases = ways();
    cases.extend(unix_peeks());
    cases.extend(gaps());
    cases
}

/// Ways to read two pipelined requests completely.
fn ways() -> Vec<Case> {
    let ways: Vec<(&str, Way)> = vec![
        ("readv, over tiny, empty and more than 16 segments", |server, length| {
            let mut storage = [[0_u8; 3]; 40];
            let mut received = 0;
            while received < length {
                let mut slices: Vec<_> = storage
                    .iter_mut()
                    .enumerate()
                    .map(|(index, segment)| IoSliceMut::new(&mut segment[..index % 4]))
                    .collect();
                received += server.read_vectored(&mut slices)?;
            }
            Ok(())
        }),
        ("recvmsg", |server, length| {
            let mut buffer = vec![0; length];
            let mut none = RecvAncillaryBuffer::default();
            let received = recvmsg(server, &mut [IoSliceMut::new(&mut buffer)], &mut none, RecvFlags::empty())?;
            complete(received.bytes, length)
        }),
        ("recvmmsg", |server, length| complete(raw::recvmmsg(server, length)?, length)),
        ("MSG_WAITALL", |server, length| receive(server, length, RecvFlags::WAITALL)),
        ("SO_RCVLOWAT of both", |server, length| {
            raw::set_low_water_mark(server, length as i32)?;
            receive(server, length, RecvFlags::empty())
        }),
        ("MSG_PEEK four times, then a read", |server, length| {
            for _ in 0..4 {
                receive(server, length, RecvFlags::PEEK)?;
            }
            receive(server, length, RecvFlags::empty())
        }),
        ("MSG_PEEK of a part, then a read", |server, length| {
            receive(server, 5, RecvFlags::PEEK)?;
            receive(server, 30, RecvFlags::PEEK)?;
            receive(server, length, RecvFlags::empty())
        }),
        ("a peek between two reads", |server, length| {
            receive(server, 10, RecvFlags::empty())?;
            receive(server, length - 10, RecvFlags::PEEK)?;
            receive(server, length - 10, RecvFlags::empty())
        }),
        ("io_uring recv", |server, length| complete(raw::uring_recv(server, length)?, length)),
        ("io_uring multishot recv into provided buffers", |server, length| {
            complete(raw::uring_multishot(server, length)?, length)
        }),
        ("a buffer that faults half-way, then a read", |server, length| {
            raw::recv_faulting(server)?;
            receive(server, length, RecvFlags::WAITALL)
        }),
    ];
    let mut cases: Vec<_> = ways
        .into_iter()
        .map(|(name, way)| {
            Case::new(name, here(2), move |_| {
                let (mut client, mut server) = loopback()?;
                let stream = GET.repeat(2);
                client.write_all(stream.as_bytes())?;
                wait_for(&server, stream.len())?;
                way(&mut server, stream.len())
            })
        })
        .collect();
    cases.push(Case::new("half-close after a request", here(1), |_| {
        let (mut client, mut server) = loopback()?;
        client.write_all(GET.as_bytes())?;
        client.shutdown(std::net::Shutdown::Write)?;
        server.read_to_end(&mut Vec::new()).map(drop)
    }));
    cases.push(Case::new("a reset in the middle of the second request", here(1), |_| {
        let (mut client, mut server) = loopback()?;
        client.write_all(GET.as_bytes())?;
        client.write_all(&GET.as_bytes()[..12])?;
        server.read_exact(&mut [0; GET.len() + 12])?;
        raw::reset_at_close(&client)?;
        drop(client);
        match server.read(&mut [0; 1]) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            other => Err(io::Error::other(format!("no reset but {other:?}"))),
        }
    }));
    cases.push(Case::new("a request that is never completed", here(0), |_| {
        let (mut client, mut server) = loopback()?;
        client.write_all(&GET.as_bytes()[..12])?;
        drop(client);
        server.read_to_end(&mut Vec::new()).map(drop)
    }));
    cases.push(Case::new("peeks over two buffers, then a read", here(2), |_| {
        let (mut client, mut server) = loopback()?;
        for _ in 0..2 {
            client.write_all(GET.as_bytes())?;
            wait_for(&server, GET.len())?;
        }
        wait_for(&server, 2 * GET.len())?;
        receive(&mut server, 2 * GET.len(), RecvFlags::PEEK)?;
        receive(&mut server, 2 * GET.len(), RecvFlags::PEEK)?;
        receive(&mut server, 2 * GET.len(), RecvFlags::WAITALL)
    }));
    cases
}

/// `AF_UNIX` has no sequence numbers; buffers come back at the same address.
fn unix_peeks() -> Vec<Case> {
    let exchange = |peeks: usize, pieces: &'static [usize]| {
        move |_: &mut crate::lab::Lab| {
            let (mut client, server) = UnixStream::pair()?;
            for _ in 0..10 {
                client.write_all(GET.as_bytes())?;
                for _ in 0..peeks {
                    recv(&server, &mut [0; 100], RecvFlags::PEEK)?;
                    raw::peek_with_recvmsg(&server)?;
                }
                for piece in pieces {
                    recv(&server, &mut vec![0; *piece], RecvFlags::empty())?;
                }
            }
            Ok(())
        }
    };
    vec![
        Case::new("Unix: ping-pong without peeks", here(10), exchange(0, &[100])),
        Case::new("Unix: peeks before each read", here(10), exchange(3, &[100])),
        Case::new("Unix: peeks, then reads in pieces", here(10), exchange(2, &[3, 10, 100])),
        Case::new("Unix: the sender closes before the first read", here(2), |_| {
            let (mut client, mut server) = UnixStream::pair()?;
            client.write_all(GET.as_bytes())?;
            client.write_all(GET.as_bytes())?;
            drop(client);
            server.read_to_end(&mut Vec::new()).map(drop)
        }),
        Case::new("Unix: sequenced packets are no stream", here(0), |_| raw::sequenced_packets(GET.as_bytes())),
    ]
}

/// Bytes that never pass the hook.
fn gaps() -> Vec<Case> {
    let body = "b".repeat(1000);
    let post = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
    let gap = |requests, resynced| Expected { losses: vec![(Failure::Gap, 1)], resynced, ..here(requests) };
    let in_body = |skip: Way| {
        let (post, body) = (post.clone(), body.clone());
        move |_: &mut crate::lab::Lab| {
            let (mut client, mut server) = loopback()?;
            for _ in 0..3 {
                client.write_all(post.as_bytes())?;
                receive(&mut server, post.len(), RecvFlags::WAITALL)?;
                client.write_all(body.as_bytes())?;
                wait_for(&server, body.len())?;
                skip(&mut server, body.len())?;
                server.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            }
            Ok(())
        }
    };
    let outside = |skip: Way| {
        move |_: &mut crate::lab::Lab| {
            let (mut client, mut server) = loopback()?;
            let mut exchange = |skipped: bool| -> io::Result<()> {
                client.write_all(GET.as_bytes())?;
                wait_for(&server, GET.len())?;
                if skipped {
                    skip(&mut server, GET.len())?
                } else {
                    receive(&mut server, GET.len(), RecvFlags::WAITALL)?
                }
                server.write_all(b"HTTP/1.1 200 OK\r\n\r\n")
            };
            exchange(false)?;
            exchange(true)?;
            // The gap is seen here; from the next answer on the connection is certain again.
            exchange(false)?;
            exchange(false)?;
            exchange(false)
        }
    };
    vec![
        Case::new("splice of a known body", here(3), in_body(splice_away)),
        Case::new("MSG_TRUNC discard of a known body", here(3), in_body(truncate_away)),
        Case::new("splice of a request: a gap, then certain again", gap(3, 1), outside(splice_away)),
        Case::new("MSG_TRUNC discard of a request: a gap, then certain again", gap(3, 1), outside(truncate_away)),
        Case::new("TCP_ZEROCOPY_RECEIVE of a known body", here(2), |_| {
            // What a receiver's buffer holds, however large a page is.
            const BYTES: usize = 64 << 10;
            let pages = BYTES / raw::page();
            let (mut client, mut server) = loopback()?;
            let head = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", pages * raw::page());
            client.write_all(head.as_bytes())?;
            server.read_exact(&mut vec![0; head.len()])?;
            let sent = raw::send_pages(&client, pages)?;
            wait_for(&server, sent)?;
            if raw::receive_zero_copy(&server, sent)? == 0 {
                return Err(io::Error::new(io::ErrorKind::Unsupported, "nothing was mapped"));
            }
            client.write_all(GET.as_bytes())?;
            server.read_exact(&mut [0; GET.len()])
        }),
        Case::new("a forwarder that splices everything", here(0), |_| {
            let (mut client, mut server) = loopback()?;
            for _ in 0..5 {
                client.write_all(GET.as_bytes())?;
                wait_for(&server, GET.len())?;
                splice_away(&mut server, GET.len())?;
            }
            Ok(())
        }),
    ]
}

pub fn splice_away(server: &mut Server, length: usize) -> io::Result<()> {
    let (out, into) = pipe()?;
    let mut moved = 0;
    while moved < length {
        moved += splice(&*server, None, &into, None, length - moved, SpliceFlags::empty())?;
    }
    drop(out);
    Ok(())
}

fn truncate_away(server: &mut Server, length: usize) -> io::Result<()> {
    receive(server, length, RecvFlags::TRUNC | RecvFlags::WAITALL)
}

pub fn receive(server: &mut Server, length: usize, flags: RecvFlags) -> io::Result<()> {
    let mut buffer = vec![MaybeUninit::<u8>::uninit(); length];
    let (_, received) = recv(&*server, &mut buffer[..], flags)?;
    complete(received, length)
}

fn complete(received: usize, length: usize) -> io::Result<()> {
    if received == length { Ok(()) } else { Err(io::Error::other(format!("received {received} of {length} bytes"))) }
}

/// Waits until so many bytes can be read at once.
pub fn wait_for(server: &Server, length: usize) -> io::Result<()> {
    while rustix::io::ioctl_fionread(server)? < length as u64 {
        std::thread::yield_now();
    }
    Ok(())
}

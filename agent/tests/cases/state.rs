//! State: the probe keeps it, in memory that the agent pays for, only of connections that may carry requests.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use common::failure::Failure;
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

use crate::certainty::{ANSWER, exchange};
use crate::lab::{Case, Expected, Lab, here, loopback, tls};
use crate::reading::{splice_away, wait_for};
use crate::streams::GET;

/// What a connection carries, and whether the probe keeps state of it then.
type Step = (&'static str, bool);

pub fn cases() -> Vec<Case> {
    let joined = Expected { losses: vec![(Failure::Joined, 1)], resynced: 1, ..here(2) };
    let connect = "CONNECT a:80 HTTP/1.1\r\n\r\n";
    let streams: Vec<(&str, u64, Vec<Step>)> = vec![
        ("HTTP", 2, vec![(GET, true), (GET, true)]),
        ("no TLS", 0, vec![("\u{16}\u{3}", true), ("\u{5}", false), (GET, false), (GET, false)]),
        ("answers", 0, vec![("HTTP/1.1 200 OK\r\n\r\n", false), (GET, false)]),
        ("what begins like a request", 0, vec![("G", true), ("ET", true), ("\0", false), (GET, false)]),
        ("a request, then no more of them", 2, vec![(GET, true), ("GET / HTTP/1.1\r\nUpgrade: x\r\n\r\n\u{1}", false)]),
    ];
    let mut cases: Vec<_> = streams
        .into_iter()
        .map(|(name, requests, steps)| {
            let name = format!("state is kept while it is of use: {name}");
            Case::new(name, here(requests), move |lab| stream(lab, &steps))
        })
        .collect();
    cases.push(Case::new("state is kept while it is of use: TLS", tls(1), |lab| {
        stream(lab, &[("\u{16}\u{3}\u{1}", true), ("\0\u{5}\u{1}", false), (GET, false), (GET, false)])
    }));
    // What is read at once may have been peeked.
    cases.push(Case::new("state is kept while it is of use: TLS, read at once", tls(1), |lab| {
        stream(lab, &[("\u{16}\u{3}\u{1}\0\u{5}\u{1}", true), (GET, false), (GET, false)])
    }));
    cases.push(Case::new("state is kept while it is of use: a tunnel", here(1), move |lab| {
        // The answer says whether it is one.
        let waits = lab.counts_responses();
        stream(lab, &[(connect, waits), ("\u{16}", false), (GET, false)])
    }));
    cases.push(Case::new("a connection whose first bytes were missed has joined", joined, |_| {
        let mut ends = loopback()?;
        ends.0.write_all(GET.as_bytes())?;
        wait_for(&ends.1, GET.len())?;
        splice_away(&mut ends.1, GET.len())?;
        ends.1.write_all(ANSWER)?;
        ends.0.read_exact(&mut [0; ANSWER.len()])?;
        (0..3).try_for_each(|_| exchange(&mut ends, GET.as_bytes()))
    }));
    cases
}

fn stream(lab: &mut Lab, steps: &[Step]) -> io::Result<()> {
    let (mut client, mut server) = young()?;
    for (index, (bytes, expected)) in steps.iter().enumerate() {
        client.write_all(bytes.as_bytes())?;
        server.read_exact(&mut vec![0; bytes.len()])?;
        let has_state = lab.has_state(&server)?;
        if has_state != *expected {
            return Err(io::Error::other(format!("after step {index}: state {has_state}")));
        }
    }
    // A client has none from the first.
    server.write_all(ANSWER)?;
    client.read_exact(&mut [0; ANSWER.len()])?;
    if lab.has_state(&client)? { Err(io::Error::other("the client has state")) } else { Ok(()) }
}

/// A connection of which the probe can know that it saw its beginning: with inode numbers that no CPU had been given
/// when it was attached. Each is given 1 024 at a time.
fn young() -> io::Result<(TcpStream, TcpStream)> {
    let everywhere = sched_getaffinity(None)?;
    let mut here = CpuSet::new();
    here.set(sched_getcpu());
    sched_setaffinity(None, &here)?;
    let made = (0..1024)
        .try_for_each(|_| socket(AddressFamily::UNIX, SocketType::DGRAM, None).map(drop))
        .map_err(io::Error::from)
        .and_then(|()| loopback());
    sched_setaffinity(None, &everywhere)?;
    made
}

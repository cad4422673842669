//! Transports that the hook sees in part or not at all: never a wrong number.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use common::failure::Failure;

use crate::certainty::exchange;
use crate::lab::{Case, Expected, elsewhere, here, loopback, tls};
use crate::processes::{finish, unshared};
use crate::raw;
use crate::reading::wait_for;
use crate::streams::GET;

/// The beginning of a TLS handshake.
const HELLO: &[u8] = b"\x16\x03\x01\x00\x05\x01GET /";

pub fn cases() -> Vec<Case> {
    let unsupported = Expected { losses: vec![(Failure::UnsupportedTransport, 1)], ..here(1) };
    let no_room = Expected { losses: vec![(Failure::StorageFull, 1)], ..elsewhere(0) };
    vec![
        Case::new("a socket without room for options: not counted, and said so", no_room, |_| {
            if !own_limit_of_options()? {
                return Err(io::Error::new(io::ErrorKind::Unsupported, "no optmem_max for each network namespace"));
            }
            finish(unshared("--net", WITHOUT_OPTIONS).stdin(Stdio::null()).spawn()?)
        }),
        Case::new("MPTCP: not counted, and said so, of the process too", unsupported, |_| {
            // That it may be known.
            exchange(&mut loopback()?, GET.as_bytes())?;
            let (mut client, mut server) = raw::mptcp_loopback()?;
            client.write_all(GET.as_bytes())?;
            server.read_exact(&mut [0; GET.len()])
        }),
        Case::new("kernel TLS behind a handshake: not HTTP, and one TLS connection", tls(1), |_| kernel_tls(HELLO)),
        Case::new("kernel TLS behind a request without TLS", here(1), |_| kernel_tls(GET.as_bytes())),
    ]
}

/// The role of a process that lets no socket of its network namespace have options.
pub const WITHOUT_OPTIONS: &str = "without-options";
const LIMIT_OF_OPTIONS: &str = "/proc/sys/net/core/optmem_max";

fn own_limit_of_options() -> io::Result<bool> {
    let mut there = Command::new("unshare");
    Ok(there.args(["--net", "test", "-w", LIMIT_OF_OPTIONS]).status()?.success())
}

/// A request, read where sockets may have no options.
pub fn without_options() -> io::Result<()> {
    fs::write(LIMIT_OF_OPTIONS, "0")?;
    let (mut client, mut server) = UnixStream::pair()?;
    client.write_all(GET.as_bytes())?;
    server.read_exact(&mut [0; GET.len()])
}

/// Some bytes in the clear, then requests through TLS in the kernel, at both ends.
fn kernel_tls(first: &[u8]) -> io::Result<()> {
    let (mut client, mut server) = loopback()?;
    client.write_all(first)?;
    server.read_exact(&mut vec![0; first.len()])?;
    raw::encrypt(&client, raw::Direction::Transmit)?;
    raw::encrypt(&server, raw::Direction::Receive)?;
    for _ in 0..3 {
        client.write_all(GET.as_bytes())?;
        // Read in two: what does not fit into the reader's buffer is decrypted elsewhere, and copied.
        server.read_exact(&mut [0; 10])?;
        let mut rest = [0; GET.len() - 10];
        server.read_exact(&mut rest)?;
        if rest != GET.as_bytes()[10..] {
            return Err(io::Error::other("decrypted wrongly"));
        }
    }
    client.write_all(GET.as_bytes())?;
    wait_for(&server, 1)?;
    server.read_exact(&mut [0; GET.len()])
}

//! Load: every CPU busy, very many connections, a table that is full.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use agent::counting::counts::Reading;
use agent::counting::tick::Probe as _;
use agent::kernel::Kernel;
use agent::kernel::ProbeConfig;
use agent::settings::config::probe_of_variables;
use common::failure::Failure;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::lab::{Case, Expected, Lab, elsewhere, here, loopback};
use crate::processes::{finish, read_in_a_child, start};
use crate::streams::GET;

pub const CONNECTIONS: usize = 10_000;
/// What is sent on each of them: two requests, in two parts each.
const HALVES: [&str; 4] = {
    let (head, tail) = GET.split_at(GET.len() / 2);
    [head, tail, head, tail]
};
/// The role of the process that opens them.
pub const CLIENTS: &str = "ten-thousand-clients";
/// Descriptors beside those of the connections.
const SPARE: u64 = 100;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
/// Requests in one write of a client that does not wait for answers.
const PIPELINED: usize = 50;

pub fn cases() -> Vec<Case> {
    let children = 80;
    vec![
        Case::new(
            format!(
                "every CPU busy for {} s: keep-alive and pipelined, read all the while",
                full_speed_time().as_secs()
            ),
            here(0),
            full_speed,
        ),
        Case::new("10 000 connections at a time, each request in two halves", here(2 * CONNECTIONS as u64), |_| {
            ten_thousand_connections()
        }),
        Case::new("a full table of processes: what does not fit is lost by name", elsewhere(children + 1), move |_| {
            full_table(children)
        }),
        Case::new("a table full of idle processes: the longest idle give way", elsewhere(0), idle_table),
    ]
}

/// `LOAD_SECONDS`: a minute where time is no matter.
pub fn full_speed_time() -> Duration {
    let seconds = std::env::var("LOAD_SECONDS").ok().map(|text| text.parse().expect("LOAD_SECONDS is a number"));
    Duration::from_secs(seconds.unwrap_or(10))
}

/// Two pairs of client and server for each CPU, over TCP and over Unix sockets: one waits for each answer, one
/// writes as much as it can. Servers count by the bytes they read.
fn full_speed(lab: &mut Lab) -> io::Result<()> {
    // The probe counts while its counts are read.
    busy(lab, |lab| lab.read().map(drop))
}

/// The same, whatever is done meanwhile, again and again.
pub fn busy(lab: &mut Lab, mut meanwhile: impl FnMut(&mut Lab) -> io::Result<()>) -> io::Result<()> {
    let end = Instant::now() + full_speed_time();
    let cpus = thread::available_parallelism()?.get();
    let mut servers = Vec::new();
    for _ in 0..cpus {
        let (tcp, unix) = (loopback()?, UnixStream::pair()?);
        servers.push(pair(tcp.0, tcp.1, end, keep_alive, answer));
        servers.push(pair(unix.0, unix.1, end, keep_alive, answer));
        let (tcp, unix) = (loopback()?, UnixStream::pair()?);
        servers.push(pair(tcp.0, tcp.1, end, pipeline, drain));
        servers.push(pair(unix.0, unix.1, end, pipeline, drain));
    }
    while Instant::now() < end {
        meanwhile(lab)?;
    }
    let mut received = 0;
    for (client, server) in servers {
        client.join().expect("no client panics")?;
        received += server.join().expect("no server panics")?;
    }
    lab.expect(Expected { may_be_skipped: true, ..here(received) });
    Ok(())
}

/// A server of this process, and a client that pauses between two requests.
pub struct Slow {
    ending: Arc<AtomicBool>,
    running: Option<(Running<()>, Running<u64>)>,
}

impl Slow {
    const PAUSE: Duration = Duration::from_millis(5);
    /// It cannot have more than this many.
    pub const MOST_A_SECOND: f64 = 200.0;

    pub fn start() -> io::Result<Self> {
        let (mut client, mut server) = loopback()?;
        let ending = Arc::new(AtomicBool::new(false));
        let client = thread::spawn({
            let ending = Arc::clone(&ending);
            move || {
                while !ending.load(Ordering::Acquire) {
                    client.write_all(GET.as_bytes())?;
                    client.read_exact(&mut [0; ANSWER.len()])?;
                    thread::sleep(Self::PAUSE);
                }
                client.shutdown(Shutdown::Write)
            }
        });
        Ok(Self { ending, running: Some((client, thread::spawn(move || answer(&mut server)))) })
    }

    /// How many requests the server received.
    pub fn finish(mut self) -> io::Result<u64> {
        self.end()
    }

    fn end(&mut self) -> io::Result<u64> {
        self.ending.store(true, Ordering::Release);
        let Some((client, server)) = self.running.take() else { return Ok(0) };
        client.join().expect("the client does not panic")?;
        server.join().expect("the server does not panic")
    }
}

/// A case that fails leaves nothing that would count in the next.
impl Drop for Slow {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// A stream whose writing half can be closed.
trait HalfClose: Read + Write + Send + 'static {
    fn finish(&self) -> io::Result<()>;
}

impl HalfClose for TcpStream {
    fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl HalfClose for UnixStream {
    fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

type Running<T> = thread::JoinHandle<io::Result<T>>;

/// Starts a client, which stops at `end`, and a server, which says how many requests it received.
fn pair<S: HalfClose>(
    mut client: S,
    mut server: S,
    end: Instant,
    send: fn(&mut S, Instant) -> io::Result<()>,
    receive: fn(&mut S) -> io::Result<u64>,
) -> (Running<()>, Running<u64>) {
    let client = thread::spawn(move || {
        send(&mut client, end)?;
        client.finish()?;
        client.read_to_end(&mut Vec::new()).map(drop)
    });
    (client, thread::spawn(move || receive(&mut server)))
}

fn keep_alive<S: HalfClose>(client: &mut S, end: Instant) -> io::Result<()> {
    while Instant::now() < end {
        client.write_all(GET.as_bytes())?;
        client.read_exact(&mut [0; ANSWER.len()])?;
    }
    Ok(())
}

fn answer<S: HalfClose>(server: &mut S) -> io::Result<u64> {
    let mut received = 0;
    loop {
        match server.read_exact(&mut [0; GET.len()]) {
            Ok(()) => received += 1,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(received),
            Err(error) => return Err(error),
        }
        server.write_all(ANSWER)?;
    }
}

fn pipeline<S: HalfClose>(client: &mut S, end: Instant) -> io::Result<()> {
    let requests = GET.repeat(PIPELINED);
    while Instant::now() < end {
        client.write_all(requests.as_bytes())?;
    }
    Ok(())
}

fn drain<S: HalfClose>(server: &mut S) -> io::Result<u64> {
    let mut buffer = vec![0; 2 * 1024 - 1];
    let mut bytes = 0;
    loop {
        match server.read(&mut buffer)? {
            0 => return Ok(bytes / GET.len() as u64),
            read => bytes += read as u64,
        }
    }
}

pub fn ten_thousand_connections() -> io::Result<()> {
    raise_descriptor_limit()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let clients = start(CLIENTS, &[listener.local_addr()?.port().to_string()], Stdio::null())?;
    let mut servers = (0..CONNECTIONS).map(|_| Ok(listener.accept()?.0)).collect::<io::Result<Vec<_>>>()?;
    for half in HALVES {
        for server in &mut servers {
            server.read_exact(&mut vec![0; half.len()])?;
        }
    }
    drop(servers);
    finish(clients)
}

/// The other ends, in a process of their own: descriptors are limited.
pub fn ten_thousand_clients(port: &str) -> io::Result<()> {
    raise_descriptor_limit()?;
    let port = port.parse().map_err(io::Error::other)?;
    let mut clients = (0..CONNECTIONS)
        .map(|_| {
            let client = TcpStream::connect(("127.0.0.1", port))?;
            client.set_nodelay(true)?;
            Ok(client)
        })
        .collect::<io::Result<Vec<_>>>()?;
    for half in HALVES {
        for client in &mut clients {
            client.write_all(half.as_bytes())?;
        }
    }
    clients.iter_mut().try_for_each(|client| client.read_to_end(&mut Vec::new()).map(drop))
}

fn raise_descriptor_limit() -> io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    match maximum {
        Some(maximum) if maximum < CONNECTIONS as u64 + SPARE => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("a process may have only {maximum} descriptors (ulimit -Hn)"),
        )),
        _ => Ok(()),
    }
}

/// Other processes of this machine may take slots, too.
fn full_table(children: u64) -> io::Result<()> {
    let config = probe_of_variables(|name| std::env::var(name).ok());
    let max_processes = 64;
    let mut small = Kernel::load(ProbeConfig { max_processes, ..config }).map_err(io::Error::other)?;
    (0..children).try_for_each(|_| read_in_a_child(GET))?;
    let reading = small.read_all(Duration::ZERO)?;
    let held = reading.processes.len();
    let lost = reading.failures[Failure::ProcessTableFull as usize];
    if held != max_processes as usize || lost < children - held as u64 {
        return Err(io::Error::other(format!("{held} of {max_processes} slots held, {lost} requests lost")));
    }
    // One slot is free again: the next process is counted.
    small.release(&[reading.processes[0].key])?;
    read_in_a_child(GET)?;
    let after = small.read_all(Duration::ZERO)?;
    let is_new = |key| reading.processes.iter().all(|process| process.key != key);
    if after.processes.iter().any(|process| is_new(process.key)) {
        Ok(())
    } else {
        Err(io::Error::other("no process got the slot that was given back"))
    }
}

/// Other processes of this machine may take slots, too.
fn idle_table(lab: &mut Lab) -> io::Result<()> {
    const SLOTS: usize = 16;
    const KEPT_FREE: u64 = 2;
    const TICKS: usize = 70;
    let config = probe_of_variables(|name| std::env::var(name).ok());
    let config = ProbeConfig { max_processes: SLOTS as u32, ..config };
    let mut small = Kernel::load(config).map_err(io::Error::other)?;
    let lost = |reading: &Reading| reading.failures[Failure::ProcessTableFull as usize];
    let newcomer = || -> io::Result<_> {
        let (mut client, server) = loopback()?;
        let child = start("read-stdin", &[], std::os::fd::OwnedFd::from(server))?;
        client.write_all(GET.as_bytes())?;
        Ok((client, child))
    };
    let mut idle = Vec::new();
    for number in 1..=SLOTS + 1 {
        idle.push(newcomer()?);
        // Until it has read, and was counted or lost.
        let mut reading = small.read(Duration::ZERO, &[])?;
        while reading.slots_used + (lost(&reading) as usize) < number {
            reading = small.read(Duration::ZERO, &[])?;
        }
    }
    let (mut given_up, mut last) = (Vec::new(), Reading::default());
    for _ in 0..TICKS {
        let ended = small.given_up();
        last = small.read(Duration::ZERO, &ended)?;
        small.release(&ended)?;
        given_up.extend(ended);
    }
    let is_given_up = |child: &Child| given_up.iter().any(|key| key.tgid == child.id());
    let again = idle.iter_mut().find(|(_, child)| is_given_up(child));
    again.ok_or_else(|| io::Error::other(format!("not of this case: {given_up:?}")))?.0.write_all(GET.as_bytes())?;
    idle.push(newcomer()?);
    lab.expect(elsewhere(idle.len() as u64 + 1));
    for (client, child) in idle {
        drop(client);
        finish(child)?;
    }
    let after = small.read_all(Duration::ZERO)?;
    let back = given_up.iter().filter(|key| after.processes.iter().any(|process| process.key == **key)).count();
    let found = (last.given_up, given_up.len(), lost(&after) - lost(&last), back);
    if found == (KEPT_FREE, KEPT_FREE as usize, 0, 1) {
        Ok(())
    } else {
        Err(io::Error::other(format!("given up, of these seen, lost after that, and back: {found:?}")))
    }
}

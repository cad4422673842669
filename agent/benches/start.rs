//! How soon an agent counts that takes the place of one that was killed.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::Figures;
use crate::agent_process::AgentProcess;
use crate::spread::Spread;
use crate::table::Figure;

const STARTS: usize = 15;
const PATIENCE: Duration = Duration::from_secs(20);
/// In which two ticks have been.
const TICKS: Duration = Duration::from_secs(2);
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Since the process was made.
struct Start {
    counted: Duration,
    ready: Duration,
}

pub(crate) fn measure() -> Figures {
    let folder = tempfile::tempdir()?;
    // Leaves the socket of an agent that was killed.
    start(folder.path())?;
    let starts = (0..STARTS).map(|_| start(folder.path())).collect::<io::Result<Vec<_>>>()?;
    let figure = |name, of: fn(&Start) -> Duration| {
        let spread = Spread::of(starts.iter().map(|start| of(start).as_secs_f64() * 1e3));
        Figure::new(name, "ms", spread).at_most(500.0).note(format!("{STARTS} starts"))
    };
    Ok(vec![
        figure("until the first request is counted", |start| start.counted),
        figure("until /health/ready", |start| start.ready),
    ])
}

/// Receives requests all the while, each on a connection of its own. Those that it counted are the last ones.
fn start(folder: &Path) -> io::Result<Start> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let started = Instant::now();
    let mut agent = AgentProcess::spawn(folder, &[])?;
    let mut sent = Vec::new();
    let ready = loop {
        sent.push(started.elapsed());
        exchange(&listener)?;
        if agent.is_ready() {
            break started.elapsed();
        }
        agent.ensure_running(started + PATIENCE)?;
    };
    sent.push(started.elapsed());
    exchange(&listener)?;
    thread::sleep(TICKS);
    let counted = agent.counted(&[std::process::id()])? as usize;
    agent.kill()?;
    let first = sent.len().checked_sub(counted).and_then(|first| sent.get(first));
    let first = first.ok_or_else(|| io::Error::other(format!("{counted} of {} requests were counted", sent.len())))?;
    Ok(Start { counted: *first, ready })
}

fn exchange(listener: &TcpListener) -> io::Result<()> {
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    client.write_all(GET)?;
    server.read_exact(&mut [0; GET.len()])?;
    server.write_all(ANSWER)?;
    client.read_exact(&mut [0; ANSWER.len()])
}

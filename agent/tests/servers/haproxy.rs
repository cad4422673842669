//! HAProxy before nginx: each counts what it received itself.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use crate::client::{Address, exchange, gets, h2load, post, post_chunked};
use crate::harness::wait_for;
use crate::nginx::{Nginx, curl, data, fake_file};
use crate::process::{Process, Tool, free_port};
use crate::session::Session;

pub struct Haproxy {
    pub port: u16,
    pub process: Process,
    socket: PathBuf,
}

fn ask(socket: &Path, question: &str) -> Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(format!("{question}\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// What it says of its frontend and of itself.
pub struct Figures {
    /// Open now.
    connections: u64,
    pub requests: u64,
    /// From clients.
    bytes: u64,
    /// Those of them that it let the kernel move.
    spliced: u64,
}

impl Figures {
    fn of(answers: &str) -> Result<Self> {
        let mut rows = answers.trim_start_matches("# ").lines().map(|line| line.split(','));
        let header = rows.next().context("show stat has a header")?;
        let row = rows.find(|row| row.clone().next() == Some("front")).context("and the frontend's row")?;
        let count = |counter| -> Result<u64> {
            let mut columns = header.clone().zip(row.clone());
            let (_, count) = columns.find(|(name, _)| *name == counter).with_context(|| format!("no {counter}"))?;
            // Of mode tcp there are no requests.
            if count.is_empty() { Ok(0) } else { Ok(count.parse()?) }
        };
        // Some versions write it `TotalSplicdedBytesOut`.
        let line = answers.lines().find(|line| line.starts_with("TotalSpli"));
        let (_, spliced) = line.and_then(|line| line.split_once(": ")).context("show info says how much it spliced")?;
        Ok(Self {
            connections: count("scur")?,
            requests: count("req_tot")?,
            bytes: count("bin")?,
            spliced: spliced.parse()?,
        })
    }
}

impl Haproxy {
    /// In a mode, before a server.
    fn start(session: &mut Session, mode: &str, backend: u16, server: &str, more: &str) -> Result<Self> {
        Self::bound(session, (mode, ""), (backend, server), more)
    }

    /// The same, whose port is bound with more words.
    pub fn bound(
        session: &mut Session,
        (mode, bound): (&str, &str),
        (backend, server): (u16, &str),
        more: &str,
    ) -> Result<Self> {
        let port = free_port()?;
        let socket = session.folder().join(format!("haproxy-{port}.sock"));
        let config = format!(
            "
global
    nbthread 2
    stats socket {socket} mode 600
defaults
    mode {mode}
    timeout connect 30s
    timeout client 60s
    timeout server 60s
    {more}
frontend front
    bind 127.0.0.1:{port} {bound}
    default_backend back
backend back
    server one 127.0.0.1:{backend} {server}
",
            socket = socket.display(),
        );
        let file = session.folder().join(format!("haproxy-{port}.conf"));
        fs::write(&file, config)?;
        let mut process = session.start(Tool::new("haproxy")?.args("-db -f").arg(file))?;
        // Not by a connection: HAProxy counts one without a byte as a request.
        wait_for("HAProxy to answer", || {
            process.ensure_running()?;
            Ok(ask(&socket, "show info").ok())
        })?;
        Ok(Self { port, process, socket })
    }

    /// What it has counted once its clients have gone. It adds up what a connection had bit by bit, and the rest at
    /// the connection's end, after the client has seen that end.
    pub fn at_rest(&self) -> Result<Figures> {
        wait_for("HAProxy's connections to end", || {
            // One question, so that all figures are of one time.
            let figures = Figures::of(&ask(&self.socket, "show stat; show info")?)?;
            Ok((figures.connections == 0).then_some(figures))
        })
    }

    fn load(&self, session: &mut Session) -> Result<u64> {
        let url = |path: &str| format!("http://127.0.0.1:{}{path}", self.port);
        h2load(session, 2000, "--h1 -c 20", &url("/"))?;
        session.run(curl()?.arg("--header").arg("Connection: close").arg(url("/[1-50]")))?;
        let file = fake_file(session, 2 << 20)?;
        session.run(curl()?.arg("--data-binary").arg(data(&file)).arg(url("/")))?;
        let mut stream = post("/", 100_000, "");
        stream.extend(post_chunked("/", 20_000, ""));
        stream.extend(gets(98));
        for piece in [stream.len(), 100] {
            exchange(&Address::port(self.port), &stream, piece, 100)?;
        }
        Ok(2000 + 50 + 1 + 2 * 100)
    }

    pub fn finish(mut self, session: &mut Session, requests: u64) -> Result<()> {
        self.process.stop(Signal::TERM)?;
        session.expect("haproxy", self.process.pid(), requests);
        Ok(())
    }
}

pub fn http(session: &mut Session) -> Result<()> {
    let nginx = Nginx::start(session, "")?;
    let haproxy = Haproxy::start(session, "http", nginx.port, "", "")?;
    let sent = haproxy.load(session)?;
    session.sent(2 * sent);
    let requests = haproxy.at_rest()?.requests;
    haproxy.finish(session, requests)?;
    nginx.finish(session)?;
    Ok(())
}

/// It passes bytes on, but reads them with `recv`: it does receive the requests.
pub fn tcp(session: &mut Session) -> Result<()> {
    let nginx = Nginx::start(session, "")?;
    let haproxy = Haproxy::start(session, "tcp", nginx.port, "", "")?;
    let sent = haproxy.load(session)?;
    session.sent(2 * sent);
    ensure!(haproxy.at_rest()?.spliced == 0, "HAProxy spliced without being told to");
    haproxy.finish(session, sent)?;
    nginx.finish(session)?;
    Ok(())
}

/// The kernel moves the bytes of a connection, all but what HAProxy reads before its server has
/// accepted. It says how many bytes it moved, and all requests have the same length.
pub fn tcp_splicing(session: &mut Session) -> Result<()> {
    const REQUESTS: u64 = 2000;
    let nginx = Nginx::start(session, "")?;
    let haproxy = Haproxy::start(session, "tcp", nginx.port, "", "option splice-request")?;
    let url = format!("http://127.0.0.1:{}/", haproxy.port);
    h2load(session, REQUESTS as usize, "--h1 -c 20", &url)?;
    let Figures { bytes, spliced, .. } = haproxy.at_rest()?;
    let read = bytes.checked_sub(spliced).with_context(|| format!("of {bytes} bytes {spliced} were spliced"))?;
    let length = bytes / REQUESTS;
    ensure!(bytes % REQUESTS == 0 && read % length == 0, "requests were cut: {read} of {bytes} bytes read");
    ensure!(read < bytes / 2, "HAProxy hardly splices");
    session.may_lose_sync(haproxy.process.pid());
    session.sent(REQUESTS + read / length);
    haproxy.finish(session, read / length)?;
    nginx.finish(session)?;
    Ok(())
}

/// nginx's requests begin behind a header that says who the client is.
pub fn proxy_protocol(session: &mut Session) -> Result<()> {
    let port = free_port()?;
    let nginx = Nginx::start(session, &format!("listen 127.0.0.1:{port} proxy_protocol;"))?;
    for version in ["send-proxy", "send-proxy-v2"] {
        let haproxy = Haproxy::start(session, "tcp", port, version, "")?;
        let sent = haproxy.load(session)?;
        session.sent(2 * sent);
        haproxy.finish(session, sent)?;
    }
    nginx.finish(session)?;
    Ok(())
}

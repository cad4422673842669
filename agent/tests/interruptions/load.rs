//! Real servers under real tools, whose connections stay open: a load that can be held and go on.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::harness::wait_for;
use crate::process::{Missing, Process, Tool, free_port, python_with, wait_for_port};
use crate::server::Served;

/// What loads a server.
#[derive(Clone, Copy, Debug)]
pub enum By {
    /// HTTP/1, connections that are kept.
    Wrk,
    /// HTTP/2, many streams at a time on each connection.
    H2load,
    /// A gRPC program, one call at a time and several, on one connection.
    Grpc,
}

const CONNECTIONS: u64 = 8;
const STREAMS: u64 = 100;
/// A call, and ten at a time.
const GRPC_ROUND: u64 = 11;

impl By {
    /// How many requests the first reads behind a pause may hold, all connections together: those that are opened before the first answer.
    /// gRPC's first round: where its first call is read in parts, none of its reads is made of frames alone.
    pub const fn first_reads(self) -> u64 {
        match self {
            Self::Wrk => CONNECTIONS,
            Self::H2load => CONNECTIONS * STREAMS,
            Self::Grpc => GRPC_ROUND,
        }
    }

    /// So many requests are more than are under way at any time. A call takes Python as long as nginx many requests, and minutes would be
    /// spent on emulated machines for 2 000.
    pub const fn some(self) -> u64 {
        match self {
            Self::Wrk | Self::H2load => 2000,
            Self::Grpc => 200,
        }
    }
}

/// A server, and its load; both end with it.
pub struct Load {
    client: Process,
    server: Process,
    /// Who receives.
    pid: u32,
    port: u16,
    by: By,
    pauses: u32,
    /// That its input has had.
    lines: u32,
    _folder: TempDir,
}

impl Served for Load {
    fn pid(&self) -> u32 {
        self.pid
    }

    fn received(&self) -> String {
        "more and more".to_owned()
    }
}

/// Stops a program as it is, with all of its threads, or has it go on.
fn hold(process: &Process, is_held: bool) -> Result<()> {
    let pid = Pid::from_raw(process.pid().try_into()?).context("it has a PID")?;
    kill_process(pid, if is_held { Signal::STOP } else { Signal::CONT })?;
    wait_for("all of its threads to stop or to go on", || {
        let mut all = true;
        for thread in fs::read_dir(format!("/proc/{}/task", process.pid()))? {
            let status = fs::read_to_string(thread?.path().join("status"))?;
            all &= status.contains("State:\tT") == is_held;
        }
        Ok(all.then_some(()))
    })
}

impl Load {
    /// Its connections are open, and requests are answered.
    pub fn start(by: By) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("load-").tempdir()?;
        let (server, client, port) = match by {
            By::Grpc => grpc(&folder)?,
            By::Wrk | By::H2load => nginx(by, &folder)?,
        };
        let pid = match by {
            By::Grpc => server.pid(),
            // The one worker.
            By::Wrk | By::H2load => wait_for("nginx's worker", || Ok(server.children().first().copied()))?,
        };
        let mut load = Self { client, server, pid, port, by, pauses: 0, lines: 0, _folder: folder };
        if matches!(by, By::Grpc) {
            load.client.say(b"go\n")?;
        }
        load.wait_for_more(1)?;
        Ok(load)
    }

    /// Waits until it has received so many more.
    pub fn wait_for_more(&mut self, more: u64) -> Result<()> {
        let before = self.so_far()?;
        wait_for("more requests", || {
            self.client.ensure_running()?;
            Ok((self.so_far()? >= before + more).then_some(()))
        })
    }

    /// Holds the load, until all that was asked is answered; returns how many requests the server has received by its own account.
    pub fn pause(&mut self) -> Result<u64> {
        if matches!(self.by, By::Grpc) {
            self.pauses += 1;
            self.client.say(b"hold\n")?;
            let calls = self.client.printed(&format!("calls of {} rounds:", self.pauses))?;
            let received = self.so_far()?;
            ensure!(calls == received, "the client made {calls} calls, the server counted {received}");
            return Ok(received);
        }
        hold(&self.client, true)?;
        // Nothing but the question came since the one before, and nothing else is being answered.
        let mut before = 0;
        wait_for("nginx to be at rest", || {
            let (received, writing) = status(self.port)?;
            let is_at_rest = writing == 1 && received == before + 1;
            before = received;
            Ok(is_at_rest.then_some(received))
        })
    }

    /// Goes on behind a pause, on the same connections.
    pub fn go_on(&mut self) -> Result<()> {
        match self.by {
            By::Grpc => self.client.say(b"go\n"),
            By::Wrk | By::H2load => hold(&self.client, false),
        }
    }

    fn so_far(&mut self) -> Result<u64> {
        if !matches!(self.by, By::Grpc) {
            return Ok(status(self.port)?.0);
        }
        self.lines += 1;
        self.server.say(b"how many\n")?;
        self.server.printed(&format!("requests at line {}:", self.lines))
    }
}

fn nginx(by: By, folder: &TempDir) -> Result<(Process, Process, u16)> {
    let (port, path) = (free_port()?, folder.path().display());
    let http2 = if matches!(by, By::H2load) { " http2" } else { "" };
    // That port also answers about itself, over HTTP/1.
    let asked = free_port()?;
    let config = format!(
        "user root; daemon off; worker_processes 1; pid {path}/nginx.pid; error_log stderr;
        events {{ worker_connections 1024; }}
        http {{
            access_log off; keepalive_requests 1000000000; keepalive_timeout 1h;
            client_body_temp_path {path}/body; proxy_temp_path {path}/proxy; fastcgi_temp_path {path}/fastcgi;
            uwsgi_temp_path {path}/uwsgi; scgi_temp_path {path}/scgi;
            server {{ listen 127.0.0.1:{port}{http2}; return 200 \"ok\\n\"; }}
            server {{ listen 127.0.0.1:{asked}; stub_status; }}
        }}"
    );
    let file = folder.path().join("nginx.conf");
    fs::write(&file, config)?;
    let nginx = Tool::new("nginx")?.arg("-p").arg(folder.path()).args("-e stderr -c").arg(&file);
    let mut nginx = Process::start(nginx, folder.path())?;
    wait_for_port(&mut nginx, port)?;
    wait_for_port(&mut nginx, asked)?;
    let tool = match by {
        By::H2load => Tool::new("h2load")?
            .args(&format!("--clients={CONNECTIONS} --max-concurrent-streams={STREAMS} --requests=1000000000")),
        By::Wrk | By::Grpc => Tool::new("wrk")?.args(&format!("--threads 1 --connections {CONNECTIONS} --duration 1h")),
    };
    let client = Process::start(tool.arg(format!("http://127.0.0.1:{port}/")), folder.path())?;
    Ok((nginx, client, asked))
}

fn grpc(folder: &TempDir) -> Result<(Process, Process, u16)> {
    let python = python_with("grpc").ok_or_else(|| Missing("Python's module grpc".to_owned()))?;
    let programs = [
        ("grpc_server.py", include_str!("../servers/programs/grpc_server.py")),
        ("grpc_client.py", include_str!("../servers/programs/grpc_client.py")),
    ];
    let [server, client] = programs.map(|(name, text)| (folder.path().join(name), text));
    [&server, &client].into_iter().try_for_each(|(path, text)| fs::write(path, text))?;
    let mut server = Process::start(Tool::at("gRPC server", &python).arg(&server.0), folder.path())?;
    let port: u16 = server.printed("listening")?.try_into()?;
    let client = Tool::at("gRPC client", &python).arg(&client.0).arg(port.to_string()).arg("rounds");
    Ok((server, Process::start(client, folder.path())?, port))
}

/// How many requests nginx has received, this question among them, and how many connections it is answering on.
fn status(port: u16) -> Result<(u64, u64)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let mut words = text.lines().skip_while(|line| !line.ends_with("handled requests")).skip(1);
    let mut word = |place: usize| -> Result<u64> {
        let word = words.next().and_then(|line| line.split_ascii_whitespace().nth(place));
        Ok(word.with_context(|| format!("nginx's status: {text}"))?.parse()?)
    };
    Ok((word(2)?, word(3)?))
}

impl Drop for Load {
    fn drop(&mut self) {
        // What is held does not end.
        let _ = self.go_on();
    }
}

//! Servers in other languages. Each is a small program that prints its port, serves until its
//! input ends, and then prints how many requests it received.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Result, anyhow, ensure};

use crate::client::{Address, Connection, FAKE, exchange, gets, h2load, post, post_chunked};
use crate::nginx::{curl, data, fake_file};
use crate::process::{Process, Tool, output};
use crate::session::Session;

/// A running program.
pub struct Program {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    /// Its process.
    pub process: Process,
}

impl Program {
    /// Starts it and waits for its port.
    pub fn start(session: &mut Session, tool: Tool) -> Result<Self> {
        let mut process = session.start(tool)?;
        let port = process.printed("listening")?.try_into()?;
        Ok(Self { port, process })
    }

    /// A program for Node.
    pub fn node(session: &mut Session, name: &str, text: &str) -> Result<Self> {
        Self::node_with(session, (name, text), &[])
    }

    /// The same, told of files.
    pub fn node_with(session: &mut Session, (name, text): (&str, &str), files: &[PathBuf]) -> Result<Self> {
        let file = write(session, name, text)?;
        Self::start(session, files.iter().fold(Tool::new("node")?.arg(file), Tool::arg))
    }

    /// A program for Python.
    pub fn python(session: &mut Session, name: &str, text: &str) -> Result<Self> {
        Self::python_with(session, (name, text), &[])
    }

    /// The same, told of files.
    pub fn python_with(session: &mut Session, (name, text): (&str, &str), files: &[PathBuf]) -> Result<Self> {
        let file = write(session, name, text)?;
        Self::start(session, files.iter().fold(Tool::new("python3")?.arg(file), Tool::arg))
    }

    /// A program in Go. Where it was built for another machine, that says where it is.
    pub fn go(session: &mut Session, files: &[PathBuf]) -> Result<Self> {
        if let Some(built) = env::var_os("GO_SERVER") {
            return Self::start(session, files.iter().fold(Tool::at("go-server", Path::new(&built)), Tool::arg));
        }
        let file = write(session, "server.go", include_str!("programs/server.go"))?;
        // Kept for the next run: building the standard library takes half a minute.
        let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("go");
        fs::create_dir_all(&kept)?;
        let program = session.folder().join("go-server");
        let build = Tool::new("go")?
            .args("build -o")
            .arg(&program)
            .arg(file)
            .env("GOCACHE", &kept)
            .env("GOPATH", kept.join("path"))
            .env("GOFLAGS", "-mod=mod")
            .env("GO111MODULE", "off")
            .env("CGO_ENABLED", "0")
            .env("GOTOOLCHAIN", "local");
        ensure!(output(build)?.success(), "go build fails");
        Self::start(session, files.iter().fold(Tool::at("go-server", &program), Tool::arg))
    }

    /// Where it listens.
    pub fn address(&self) -> Address {
        Address::port(self.port)
    }

    /// A path on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Lets it finish, and expects what it says that it received.
    pub fn finish(mut self, session: &mut Session) -> Result<u64> {
        self.process.close_input()?;
        let requests = self.process.printed("requests")?;
        session.expect(&self.process.name, self.process.pid(), requests);
        Ok(requests)
    }
}

/// Puts a program into the case's folder.
pub fn write(session: &Session, name: &str, text: &str) -> Result<PathBuf> {
    let path = session.folder().join(name);
    fs::write(&path, text)?;
    Ok(path)
}

/// Connections side by side, kept and not, and pipelining: how many requests that is.
fn load(session: &mut Session, program: &Program, pipelining: bool) -> Result<()> {
    h2load(session, 2000, "--h1 -c 20", &program.url("/"))?;
    session.run(curl()?.arg("--header").arg("Connection: close").arg(program.url("/[1-50]")))?;
    session.sent(2000 + 50);
    if pipelining {
        let stream = gets(100);
        for piece in [stream.len(), 50, 1] {
            exchange(&program.address(), &stream, piece, 100)?;
        }
        session.sent(3 * 100);
    }
    Ok(())
}

/// Bodies of fake requests, of known length and chunked.
fn bodies(session: &mut Session, program: &Program) -> Result<()> {
    for length in [100, 70_000, 4 << 20] {
        let file = fake_file(session, length)?;
        session.run(curl()?.arg("--data-binary").arg(data(&file)).arg(program.url("/")))?;
        let chunked = curl()?.arg("--header").arg("Transfer-Encoding: chunked");
        session.run(chunked.arg("--data-binary").arg(data(&file)).arg(program.url("/")))?;
    }
    let mut stream = post("/", 100_000, "");
    stream.extend(post_chunked("/", 10_000, ""));
    stream.extend(post("/", 1, ""));
    stream.extend(gets(2));
    for piece in [stream.len(), 1448, 34] {
        exchange(&program.address(), &stream, piece, 5)?;
    }
    session.sent(3 * 2 + 3 * 5);
    Ok(())
}

fn python(session: &mut Session) -> Result<Program> {
    Program::python(session, "threads.py", include_str!("programs/threads.py"))
}

fn node(session: &mut Session) -> Result<Program> {
    Program::node(session, "server.js", include_str!("programs/server.js"))
}

pub fn python_get(session: &mut Session) -> Result<()> {
    let program = python(session)?;
    load(session, &program, true)?;
    program.finish(session)?;
    Ok(())
}

pub fn python_post(session: &mut Session) -> Result<()> {
    let program = python(session)?;
    bodies(session, &program)?;
    program.finish(session)?;
    Ok(())
}

pub fn node_get(session: &mut Session) -> Result<()> {
    let program = node(session)?;
    load(session, &program, true)?;
    program.finish(session)?;
    Ok(())
}

pub fn node_post(session: &mut Session) -> Result<()> {
    let program = node(session)?;
    bodies(session, &program)?;
    program.finish(session)?;
    Ok(())
}

pub fn node_connect(session: &mut Session) -> Result<()> {
    let program = node(session)?;
    for _ in 0..5 {
        let mut connection = Connection::open(&program.address())?;
        connection.send(b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n")?;
        let head = connection.receive_head()?;
        ensure!(head.starts_with("HTTP/1.1 200 "), "answered {head:?}");
        for bytes in [FAKE.repeat(3), FAKE.repeat(1000)] {
            connection.send(bytes.as_bytes())?;
            ensure!(connection.receive(bytes.len())? == bytes.as_bytes(), "the tunnel changed the bytes");
        }
    }
    session.sent(5);
    program.finish(session)?;
    Ok(())
}

pub fn node_http2(session: &mut Session) -> Result<()> {
    let program = Program::node(session, "http2.js", include_str!("programs/http2.js"))?;
    h2load(session, 2000, "-c 10 -m 20", &program.url("/"))?;
    let file = fake_file(session, 200_000)?;
    h2load(session, 50, &format!("-c 2 -m 10 -d {}", file.display()), &program.url("/"))?;
    session.sent(2050);
    program.finish(session)?;
    Ok(())
}

pub fn go_get(session: &mut Session) -> Result<()> {
    let program = Program::go(session, &[])?;
    load(session, &program, true)?;
    program.finish(session)?;
    Ok(())
}

pub fn go_post(session: &mut Session) -> Result<()> {
    let program = Program::go(session, &[])?;
    bodies(session, &program)?;
    program.finish(session)?;
    Ok(())
}

/// Each request is read by a process that ends right after it.
pub fn short_lived(session: &mut Session) -> Result<()> {
    const CLIENTS: usize = 8;
    const REQUESTS_EACH: usize = 250;
    let mut program = Program::python(session, "forks.py", include_str!("programs/forks.py"))?;
    let address = program.address();
    thread::scope(|scope| -> Result<()> {
        let one = || (0..REQUESTS_EACH).try_for_each(|_| exchange(&address, &gets(1), usize::MAX, 1));
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(one)).collect();
        clients.into_iter().try_for_each(|client| client.join().map_err(|_| anyhow!("a client panicked"))?)
    })?;
    program.process.close_input()?;
    session.sent((CLIENTS * REQUESTS_EACH) as u64);
    for line in program.process.output()?.lines() {
        if let Some(pid) = line.strip_prefix("served ") {
            session.expect("python3, short-lived", pid.parse()?, 1);
        }
    }
    Ok(())
}

//! Servers, each in a process of its own, which say how many requests they received.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use std::{env, thread};

use anyhow::{Context as _, Result};

const GET: &[u8] = b"GET /path HTTP/1.1\r\nHost: example\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
/// Between two requests of a slow server's client: it cannot have more than this many a second.
const PAUSE: Duration = Duration::from_millis(5);
pub const MOST_A_SECOND: f64 = 200.0;

/// A process that has received requests.
pub trait Served {
    fn pid(&self) -> u32;
    fn received(&self) -> String;
}

pub struct Server {
    child: Child,
    output: BufReader<ChildStdout>,
}

/// One that receives no more, but has not ended.
pub struct Finished {
    server: Server,
    pub received: u64,
}

impl Served for Server {
    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn received(&self) -> String {
        "more and more".to_owned()
    }
}

impl Served for Finished {
    fn pid(&self) -> u32 {
        self.server.pid()
    }

    fn received(&self) -> String {
        self.received.to_string()
    }
}

impl Server {
    pub fn start(pace: &str) -> Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .args(["--serve", pace])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = BufReader::new(child.stdout.take().context("its output")?);
        Ok(Self { child, output })
    }

    /// Asks it, and reads the number that it answers.
    fn ask(&mut self, question: &[u8]) -> Result<u64> {
        self.child.stdin.as_mut().context("its input")?.write_all(question)?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().parse()?)
    }

    pub fn received_so_far(&mut self) -> Result<u64> {
        self.ask(b"how many\n")
    }

    pub fn finish(mut self) -> Result<Finished> {
        let received = self.ask(b"finish\n")?;
        Ok(Finished { server: self, received })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves a client of its own over TCP until it is told to finish. Each line of input is answered with the
/// number of requests received so far.
pub fn serve(slowly: bool) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let mut server = listener.accept()?.0;
    let (received, ending) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let asking = thread::spawn({
        let ending = Arc::clone(&ending);
        move || -> Result<()> {
            while !ending.load(Ordering::Acquire) {
                client.write_all(GET)?;
                client.read_exact(&mut [0; ANSWER.len()])?;
                if slowly {
                    thread::sleep(PAUSE);
                }
            }
            Ok(())
        }
    });
    let answering = thread::spawn({
        let received = Arc::clone(&received);
        move || -> Result<()> {
            while server.read_exact(&mut [0; GET.len()]).is_ok() {
                received.fetch_add(1, Ordering::Release);
                server.write_all(ANSWER)?;
            }
            Ok(())
        }
    });
    let mut threads = Some((asking, answering));
    for line in std::io::stdin().lines() {
        if line? == "finish"
            && let Some((asking, answering)) = threads.take()
        {
            ending.store(true, Ordering::Release);
            asking.join().expect("the client does not panic")?;
            answering.join().expect("the server does not panic")?;
        }
        println!("{}", received.load(Ordering::Acquire));
    }
    Ok(())
}

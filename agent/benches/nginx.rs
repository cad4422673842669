//! nginx with two workers that answer everything with an empty 200.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::cpu;

const WORKERS: usize = 2;
const PATIENCE: Duration = Duration::from_secs(5);

/// A running nginx. Ended when dropped.
pub(crate) struct Nginx {
    master: Child,
    address: SocketAddr,
    workers: Vec<u32>,
    _folder: TempDir,
}

impl Nginx {
    pub(crate) fn start() -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        // Free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let configuration = folder.path().join("nginx.conf");
        fs::write(&configuration, configure(&address))?;
        let master = Command::new("nginx")
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&configuration)
            .args(["-e", "stderr"])
            .stdin(Stdio::null())
            .spawn()?;
        let mut nginx = Self { master, address, workers: Vec::new(), _folder: folder };
        let deadline = Instant::now() + PATIENCE;
        while nginx.workers.len() != WORKERS || nginx.served().is_err() {
            if Instant::now() > deadline {
                return Err(io::Error::other("nginx does not answer"));
            }
            thread::sleep(Duration::from_millis(20));
            nginx.workers = cpu::children(nginx.master.id())?;
        }
        Ok(nginx)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn workers(&self) -> &[u32] {
        &self.workers
    }

    /// Processor time of its workers.
    pub(crate) fn time(&self) -> io::Result<Duration> {
        self.workers.iter().map(|worker| cpu::time(*worker)).sum()
    }

    /// The same, once every other connection has ended: what clients left when they ended is received too.
    pub(crate) fn served_at_rest(&self) -> io::Result<u64> {
        let deadline = Instant::now() + PATIENCE;
        while !self.status()?.starts_with("Active connections: 1 ") {
            if Instant::now() > deadline {
                return Err(io::Error::other("nginx's connections do not end"));
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.served()
    }

    /// Requests it has received by its own account, this question included.
    pub(crate) fn served(&self) -> io::Result<u64> {
        let text = self.status()?;
        // "server accepts handled requests" and, in the next line, the numbers.
        let numbers = text.lines().skip_while(|line| !line.ends_with("handled requests")).nth(1);
        let requests = numbers.and_then(|numbers| numbers.split_ascii_whitespace().nth(2)?.parse().ok());
        requests.ok_or_else(|| io::Error::other(format!("nginx's status is not understood:\n{text}")))
    }

    /// The body of its status page.
    fn status(&self) -> io::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.write_all(b"GET /status HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text.split_once("\r\n\r\n").map_or_else(String::new, |(_, body)| body.to_owned()))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.master.id().cast_signed()) {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.master.wait();
    }
}

fn configure(address: &SocketAddr) -> String {
    format!(
        "daemon off; pid nginx.pid; worker_processes {WORKERS}; error_log stderr;
        events {{ }}
        http {{
            access_log off; keepalive_requests 1000000000; keepalive_timeout 60;
            server {{
                listen {address} reuseport;
                location / {{ return 200; }}
                location /status {{ stub_status; }}
            }}
        }}"
    )
}

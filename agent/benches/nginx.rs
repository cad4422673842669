//! nginx with two workers that answer everything with an empty 200.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
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
    secure: Option<SocketAddr>,
    workers: Vec<u32>,
    _folder: TempDir,
}

impl Nginx {
    pub(crate) fn start() -> io::Result<Self> {
        Self::start_at(None)
    }

    pub(crate) fn start_with_https() -> io::Result<Self> {
        Self::start_at(Some(free()?))
    }

    fn start_at(secure: Option<SocketAddr>) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = free()?;
        let configuration = folder.path().join("nginx.conf");
        let listens = match &secure {
            Some(secure) => {
                let [key, certificate] = certify(folder.path())?.map(|path| path.display().to_string());
                format!("listen {secure} reuseport ssl; ssl_certificate {certificate}; ssl_certificate_key {key};")
            }
            None => String::new(),
        };
        fs::write(&configuration, configure(&address, &listens))?;
        let master = Command::new("nginx")
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&configuration)
            .args(["-e", "stderr"])
            .stdin(Stdio::null())
            .spawn()?;
        let mut nginx = Self { master, address, secure, workers: Vec::new(), _folder: folder };
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

    /// The same over TLS.
    pub(crate) fn secure_url(&self) -> Option<String> {
        self.secure.map(|address| format!("https://{address}/"))
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

/// Free a moment ago.
fn free() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// A key and a certificate in this folder.
pub(crate) fn certify(folder: &Path) -> io::Result<[PathBuf; 2]> {
    let files = ["key.pem", "certificate.pem"].map(|name| folder.join(name));
    let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost";
    let mut openssl = Command::new("openssl");
    openssl.args(words.split_whitespace()).arg("-keyout").arg(&files[0]).arg("-out").arg(&files[1]);
    let output = openssl.output()?;
    if output.status.success() { Ok(files) } else { Err(io::Error::other("openssl makes no certificate")) }
}

fn configure(address: &SocketAddr, listens: &str) -> String {
    format!(
        "daemon off; pid nginx.pid; worker_processes {WORKERS}; error_log stderr;
        events {{ }}
        http {{
            access_log off; keepalive_requests 1000000000; keepalive_timeout 60;
            server {{
                listen {address} reuseport;
                {listens}
                location / {{ return 200; }}
                location /status {{ stub_status; }}
            }}
        }}"
    )
}

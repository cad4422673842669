//! Redis under redis-benchmark.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::cpu;

const CONNECTIONS: u32 = 50;
const PATIENCE: Duration = Duration::from_secs(5);

/// A running Redis that keeps nothing. Ended when dropped.
pub(crate) struct Redis {
    server: Child,
    port: u16,
}

impl Redis {
    pub(crate) fn start() -> io::Result<Self> {
        // Free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut server = Command::new("redis-server");
        server.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"]);
        server.arg(address.port().to_string()).stdin(Stdio::null()).stdout(Stdio::null());
        let redis = Self { server: server.spawn()?, port: address.port() };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            if Instant::now() > deadline {
                return Err(io::Error::other("Redis does not answer"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(redis)
    }

    /// Answers so many GETs, and returns the processor time that it took.
    pub(crate) fn answer(&self, requests: u32) -> io::Result<Duration> {
        let before = cpu::time(self.server.id())?;
        let status = Command::new("redis-benchmark")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-t", "get", "-q"])
            .args(["-c", &CONNECTIONS.to_string(), "-n", &requests.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()?;
        if !status.success() {
            return Err(io::Error::other(format!("redis-benchmark ended with {status}")));
        }
        Ok(cpu::time(self.server.id())? - before)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

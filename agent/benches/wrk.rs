//! wrk, which loads a server as fast as it answers.

use std::io;
use std::process::{Child, Command, Stdio};

/// One thread leaves a processor of two to the server.
const THREADS: u32 = 1;
const CONNECTIONS: u32 = 64;

/// A running wrk. Ended when dropped.
pub(crate) struct Wrk(Option<Child>);

/// What it achieved.
pub(crate) struct Load {
    pub(crate) requests: u64,
    pub(crate) per_second: f64,
}

impl Wrk {
    pub(crate) fn start(url: &str, seconds: u64) -> io::Result<Self> {
        let mut wrk = Command::new("wrk");
        wrk.args([format!("-t{THREADS}"), format!("-c{CONNECTIONS}"), format!("-d{seconds}s"), url.to_owned()]);
        Ok(Self(Some(wrk.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?)))
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self) -> io::Result<Load> {
        let child = self.0.take().ok_or_else(|| io::Error::other("wrk has ended"))?;
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        if text.contains("Non-2xx") || text.contains("Socket errors") {
            return Err(io::Error::other(format!("wrk met errors:\n{text}")));
        }
        parse(&text).ok_or_else(|| io::Error::other(format!("wrk's output is not understood:\n{text}")))
    }
}

impl Drop for Wrk {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn parse(text: &str) -> Option<Load> {
    let requests = text.lines().find_map(|line| line.split_once(" requests in ")?.0.trim().parse().ok())?;
    let per_second = text.lines().find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok())?;
    Some(Load { requests, per_second })
}

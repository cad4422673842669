//! A question to whoever serves the socket. EDGE.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::printable::printable_lines;

/// A report of 5 000 processes has about 3 MB.
const MAX_ANSWER_BYTES: u64 = 64 * 1024 * 1024;

/// Status and body of a GET on a connection that is good for one. It takes no longer than `patience`, however slowly the bytes come.
///
/// # Errors
///
/// There was no answer in that time, or none of HTTP.
pub fn get(stream: &mut UnixStream, path: &str, patience: Duration) -> io::Result<(u16, String)> {
    stream.set_write_timeout(Some(patience))?;
    // In one piece: whoever reads once has all of it.
    let request = format!("GET {path} HTTP/1.1\r\nhost: plugin\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let answer = read_until(stream, Instant::now() + patience)?;
    split(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no HTTP answer"))
}

/// Reads to the end, but not beyond the deadline, however slowly the bytes come.
fn read_until(stream: &mut UnixStream, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut piece = [0; 64 * 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || answer.len() as u64 > MAX_ANSWER_BYTES {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "too slow or too long"));
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece) {
            Ok(0) => return Ok(answer),
            Ok(length) => answer.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Status and body, fit for a terminal. The agent answers with a length and, asked to, closes: so the body is all that follows the head.
fn split(answer: &[u8]) -> Option<(u16, String)> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let body = printable_lines(std::str::from_utf8(&answer[end + 4..]).ok()?);
    Some((status, body))
}

//! What `health`, `report` and `top` do: ask the running agent over its plugin socket. EDGE.
//!
//! The image holds no shell and no curl, and the agent need listen on no port: the startup probe and `helm test` run the binary.

use crate::counting::overview::{self, Overview};
use crate::health::Question;
use crate::printable::printable_lines;
use crate::scope::plugin::{PluginsRoot, is_served, socket_path};
use crate::scope::report::ID;
use crate::settings::cli::{self, Call, Request};
use crate::settings::config::ConfigError;
use crate::settings::environment;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::process::getuid;
use serde_json::Value;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// For everything. Scope itself grants half a second; a node under pressure may need more.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two questions to an agent that is waited for.
const PAUSE: Duration = Duration::from_millis(100);
/// A report of 5 000 processes has about 3 MB.
const MAX_ANSWER_BYTES: u64 = 64 * 1024 * 1024;
const ROOT: u32 = 0;

/// What a command line that asks has for an answer.
///
/// # Errors
///
/// Why there is no answer or no good one, or that the command line asks nothing.
pub fn run(arguments: &[OsString]) -> Result<String, String> {
    match cli::parse(arguments.iter().cloned(), environment::of_process()) {
        Ok(Call::Ask(reach, request)) => ask(&reach.plugins_root, request),
        Ok(call) => Err(format!("nothing is asked: {call:?}")),
        Err(ConfigError::Usage(error)) => Err(error.to_string()),
        Err(ConfigError::Values(errors)) => Err(errors.join("\n")),
    }
}

/// Asks the agent that serves in the first of the folders.
///
/// # Errors
///
/// Why there is no answer or no good one, in one line.
pub fn ask(root: &PluginsRoot, request: Request) -> Result<String, String> {
    match request {
        Request::Health(question, wait) => health(root, question, wait),
        Request::Report => report(served(root)),
    }
}

/// The folder in which an agent serves; if none does, the one where it should.
#[must_use]
pub fn served(root: &PluginsRoot) -> &Path {
    let folders = || [&root.path].into_iter().chain(&root.fallbacks);
    folders().find(|folder| is_served(folder)).unwrap_or(&root.path)
}

/// The agent's last tick, unless it is the one with this number.
///
/// # Errors
///
/// Why there is none, in one line.
pub fn overview(root: &Path, after: Option<u64>) -> Result<Option<Overview>, String> {
    let query = after.map(|number| format!("?after={number}")).unwrap_or_default();
    match get(root, &format!("{}{query}", overview::PATH))? {
        (200, text) => Overview::of_json(&text).map(Some),
        (204, _) => Ok(None),
        (404, _) => Err("the agent there is older than this command and cannot show its counts".to_owned()),
        (status, text) => Err(format!("{status}: {}", text.trim())),
    }
}

/// Whoever waits for a start asks with one run of the program: that costs more than all its questions.
fn health(root: &PluginsRoot, question: Question, wait: Duration) -> Result<String, String> {
    let until = Instant::now() + wait;
    loop {
        let answer = match get(served(root), question.path()) {
            Ok((200, text)) => Ok(text),
            Ok((status, text)) => Err(format!("{status}: {}", text.trim())),
            Err(error) => Err(error),
        };
        if answer.is_ok() || Instant::now() >= until {
            return answer;
        }
        thread::sleep(PAUSE);
    }
}

/// The report, if Scope would take it.
fn report(root: &Path) -> Result<String, String> {
    let text = match get(root, "/report")? {
        (200, text) => text,
        (status, text) => return Err(format!("{status}: {}", text.trim())),
    };
    let json: Value = serde_json::from_str(&text).map_err(|error| format!("no JSON: {error}"))?;
    let plugin = &json["Plugins"][0];
    if plugin["id"] != ID {
        return Err(format!("the report is of {}, not of {ID}", plugin["id"]));
    }
    match plugin["status"].as_str() {
        None | Some("" | "ok") => Ok(text),
        Some(status) => Err(status.to_owned()),
    }
}

/// Status and body of a GET on the agent's socket.
fn get(root: &Path, path: &str) -> Result<(u16, String), String> {
    let socket = socket_path(root);
    exchange(&socket, path).map_err(|error| format!("no answer on {}: {error}", socket.display()))
}

fn exchange(socket: &Path, path: &str) -> io::Result<(u16, String)> {
    let mut stream = UnixStream::connect(socket)?;
    // Not with rustix: an agent of another PID namespace has PID 0 here, which it takes for an error (1.1.4).
    believe(getsockopt(&stream, PeerCredentials)?.uid())?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // In one piece: whoever reads once has all of it.
    let request = format!("GET {path} HTTP/1.1\r\nhost: plugin\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let answer = read_until(&mut stream, Instant::now() + PATIENCE)?;
    split(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no HTTP answer"))
}

/// In a folder like /tmp anybody may serve: only root, and who asks, is believed.
fn believe(server: u32) -> io::Result<()> {
    if [ROOT, getuid().as_raw()].contains(&server) {
        return Ok(());
    }
    let text = format!("user {server} serves there, who is neither root nor you; --plugins-root names another folder");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
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

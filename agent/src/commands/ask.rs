//! What `health`, `report` and `top` do: ask the running agent over its plugin socket. EDGE.
//!
//! The image holds no shell and no curl, and the agent need listen on no port: the startup probe and `helm test` run the binary.

use crate::counting::overview::{self, Overview};
use crate::health::Question;
use crate::scope::plugin::{self, PluginsRoot, is_served, server_of, socket_path};
use crate::scope::report::ID;
use crate::settings::cli::{self, Call, Request, Whose};
use crate::settings::config::ConfigError;
use crate::settings::environment;
use rustix::process::getuid;
use serde_json::Value;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// For everything. Scope itself grants half a second; a node under pressure may need more.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two questions to an agent that is waited for.
const PAUSE: Duration = Duration::from_millis(100);
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
        Request::Health(question, wait, whose) => health(root, (question, whose), wait),
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
fn health(root: &PluginsRoot, (question, whose): (Question, Whose), wait: Duration) -> Result<String, String> {
    let until = Instant::now() + wait;
    loop {
        let answer = match get_of(served(root), question.path(), whose) {
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
    get_of(root, path, Whose::Anyones)
}

fn get_of(root: &Path, path: &str, whose: Whose) -> Result<(u16, String), String> {
    let socket = socket_path(root);
    exchange(&socket, path, whose).map_err(|error| format!("no answer on {}: {error}", socket.display()))
}

fn exchange(socket: &Path, path: &str, whose: Whose) -> io::Result<(u16, String)> {
    let mut stream = UnixStream::connect(socket)?;
    let server = server_of(&stream)?;
    believe(server.uid())?;
    if whose == Whose::OfThisContainer && !is_of_this_container(server.pid())? {
        let text = "the agent that serves there is not of this container; that one does not count yet";
        return Err(io::Error::other(text));
    }
    plugin::get(&mut stream, path, PATIENCE)
}

/// Whether a process is in the same cgroup: then /proc says the same of both, whatever it calls that.
fn is_of_this_container(pid: i32) -> io::Result<bool> {
    let own = fs::read("/proc/self/cgroup")?;
    // One that this PID namespace does not show has PID 0.
    Ok(fs::read(format!("/proc/{pid}/cgroup")).is_ok_and(|others| others == own))
}

/// In a folder like /tmp anybody may serve: only root, and who asks, is believed.
fn believe(server: u32) -> io::Result<()> {
    if [ROOT, getuid().as_raw()].contains(&server) {
        return Ok(());
    }
    let text = format!("user {server} serves there, who is neither root nor you; --plugins-root names another folder");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
}

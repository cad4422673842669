//! The agent as a process: exit codes, what it says, and what it leaves behind.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking; clippy knows its functions, not their helpers")]

use std::fs::Permissions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use agent::scope::plugin::socket_path;
use rustix::process::{Pid, Signal, kill_process};

const AGENT: &str = env!("CARGO_BIN_EXE_scope-http-requests");
/// Much longer than anything here takes; only a hang reaches it.
const HANG: Duration = Duration::from_secs(20);

fn agent(arguments: &[&str]) -> Output {
    Command::new(AGENT).args(arguments).env_clear().output().unwrap()
}

#[track_caller]
fn check(arguments: &[&str], code: i32, said: &[&str]) {
    let output = agent(arguments);
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for part in said {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    check(&["--version"], 0, &["scope-http-requests 0.", "commit ", "kernel readers"]);
    check(&["--help"], 0, &["--plugins-root", "Examples:", "69"]);
    check(&["completions", "bash"], 0, &["complete -F _scope__http__requests"]);
    check(&["man"], 0, &[".TH scope-http-requests 1"]);
}

#[test]
fn wrong_values_are_told_all_at_once() {
    check(&["--hostname=a;b", "--log-format=xml"], 64, &["--hostname", "--log-format"]);
    check(&["--no-such-flag"], 64, &["--no-such-flag"]);
}

#[test]
fn a_file_has_settings_and_its_errors_are_told_with_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.yaml");
    let (option, name) = (format!("--config={}", file.display()), file.display().to_string());
    check(&[&option, "--hook=x"], 64, &[&name, "cannot be read", "--hook"]);
    fs::write(&file, "log_format: json\n").unwrap();
    check(&[&option], 64, &[&format!("{name}: \"log_format\" is no setting")]);
    fs::write(&file, "plugins-root: /nonexistent\n").unwrap();
    check(&["report", &option], 1, &["no answer on /nonexistent/http-requests/http-requests.sock"]);
}

#[test]
fn asking_where_no_agent_serves_fails_and_names_the_socket() {
    for question in [["health", "live"].as_slice(), &["health", "ready"], &["report"]] {
        let arguments = [question, &["--plugins-root=/nonexistent"]].concat();
        check(&arguments, 1, &["no answer on /nonexistent/http-requests/http-requests.sock"]);
    }
}

#[test]
fn a_folder_that_cannot_be_is_an_io_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let root = format!("--plugins-root={}", file.display());
    let settings = format!("settings: {root}, --no-terminal; else as by default");
    check(&["--no-terminal", &root], 74, &["cannot create", "/file", &settings]);
}

#[test]
fn an_agent_that_cannot_count_takes_nobodys_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = socket_path(folder.path());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::set_permissions(path.parent().unwrap(), Permissions::from_mode(0o700)).unwrap();
    let _first = UnixListener::bind(&path).unwrap();
    let before = fs::metadata(&path).unwrap().ino();
    // In a user namespace of its own even root may not load a probe.
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--", AGENT, "--no-terminal", "--log-format=human", "--plugins-root"]);
    let output = command.arg(folder.path()).env("NO_COLOR", "1").stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap() + &String::from_utf8_lossy(&output.stdout);
    if text.contains("unshare") {
        eprintln!("SKIPPED: no user namespaces here: {text}");
        return;
    }
    assert_eq!(output.status.code(), Some(69), "{text}");
    assert!(text.contains("does not hand over") && text.contains("the kernel refused"), "{text}");
    assert_eq!(fs::metadata(&path).unwrap().ino(), before);
}

#[test]
fn a_probe_that_cannot_load_is_told_to_scope_and_then_to_scripts() {
    let folder = tempfile::tempdir().unwrap();
    // In a user namespace of its own even root may not load a probe.
    let mut command = Command::new("unshare");
    command.args(["--user", "--", AGENT, "--no-terminal", "--log-format=human", "--hostname=node-1", "--plugins-root"]);
    let mut agent = command.arg(folder.path()).env("NO_COLOR", "1").stderr(Stdio::piped()).spawn().unwrap();
    let Some(answer) = poll_report(&socket_path(folder.path()), &mut agent) else {
        let mut text = String::new();
        agent.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(text.contains("unshare"), "{text}");
        eprintln!("SKIPPED: no user namespaces here: {text}");
        return;
    };
    let status = answer.lines().next().unwrap().to_owned();
    assert!(status.starts_with("HTTP/1.1 503 ") && status.len() > 40, "{answer}");
    let root = format!("--plugins-root={}", folder.path().display());
    check(&["health", "live", &root], 0, &[]);
    check(&["health", "ready", &root], 1, &["503: not counting: "]);
    check(&["report", &root], 1, &["503: "]);
    kill_process(Pid::from_child(&agent), Signal::TERM).unwrap();
    let output = agent.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{said}");
    // Scope's line is the one that is logged.
    assert!(said.contains(answer.lines().last().unwrap()), "{said}");
    assert!(!socket_path(folder.path()).exists());
}

/// A full disk or a closed pipe takes the log's lines, and nothing else.
#[test]
fn an_agent_whose_log_cannot_be_written_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    // Without privileges: it says why it cannot count, and serves that until it is ended.
    let mut command = Command::new("unshare");
    command.args(["--user", "--", AGENT, "--no-terminal", "--log-level=trace", "--plugins-root"]);
    let mut agent = command.arg(folder.path()).stderr(full).spawn().unwrap();
    let Some(answer) = poll_report(&socket_path(folder.path()), &mut agent) else {
        let status = agent.wait().unwrap().code();
        // What unshare itself exits with where there are no user namespaces.
        assert_eq!(status, Some(1), "the agent ended");
        eprintln!("SKIPPED: no user namespaces here");
        return;
    };
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    kill_process(Pid::from_child(&agent), Signal::TERM).unwrap();
    assert_eq!(agent.wait().unwrap().code(), Some(69));
}

#[test]
fn errors_that_cannot_be_printed_leave_the_exit_code() {
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for (arguments, code) in [(["--log-format=xml"].as_slice(), 64), (&["report", "--plugins-root=/nonexistent"], 1)] {
        let status = Command::new(AGENT).args(arguments).env_clear().stdout(full()).stderr(full()).status().unwrap();
        assert_eq!(status.code(), Some(code), "{arguments:?}");
    }
}

/// The answer to a poll, once the agent serves; `None` if it ends first.
fn poll_report(path: &Path, agent: &mut Child) -> Option<String> {
    let started = Instant::now();
    loop {
        if let Ok(mut stream) = UnixStream::connect(path) {
            stream.write_all(b"GET /report HTTP/1.1\r\nHost: plugin\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            return Some(answer);
        }
        if agent.try_wait().unwrap().is_some() {
            return None;
        }
        assert!(started.elapsed() < HANG, "the agent neither serves nor ends");
        thread::sleep(Duration::from_millis(10));
    }
}

//! Asking over a real socket.
#![expect(clippy::unwrap_used, reason = "tests")]

use agent::commands::ask;
use agent::scope::plugin::PluginsRoot;
use rustix::process::getuid;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::chown;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};

/// What `scope-http-requests ARGUMENTS` prints when the agent answers like this; no agent for `None`.
fn asked(arguments: &[&str], answer: Option<&'static str>) -> Result<String, String> {
    let root = tempfile::tempdir().unwrap();
    let server = answer.map(|answer| serve(root.path(), answer));
    let option = format!("--plugins-root={}", root.path().display());
    let line = ["scope-http-requests"].iter().chain(arguments).copied().chain([option.as_str()]);
    let line: Vec<OsString> = line.map(Into::into).collect();
    let result = ask::run(&line);
    if let Some(server) = server {
        assert!(server.join().unwrap().starts_with("GET /"));
    }
    result
}

/// Answers one request, and gives it back. Whoever looks whether an agent serves sends none.
fn serve(root: &Path, answer: &'static str) -> JoinHandle<String> {
    let folder = root.join("http-requests");
    std::fs::create_dir(&folder).unwrap();
    let listener = UnixListener::bind(folder.join("http-requests.sock")).unwrap();
    thread::spawn(move || {
        loop {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            if length > 0 {
                stream.write_all(answer.as_bytes()).unwrap();
                return String::from_utf8_lossy(&request[..length]).into_owned();
            }
        }
    })
}

fn fails_with(arguments: &[&str], answer: Option<&'static str>, words: &str) {
    let error = asked(arguments, answer).unwrap_err();
    assert!(error.contains(words), "{error}");
}

#[test]
fn health_is_told_or_complained_about() {
    let well = "HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\nok\npods: current\n";
    assert_eq!(asked(&["health", "live"], Some(well)).unwrap(), "ok\npods: current\n");
    let ill = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 15\r\n\r\nno tick for 31 s";
    fails_with(&["health", "ready"], Some(ill), "503: no tick for 31 s");
}

#[test]
fn what_a_socket_says_is_fit_for_a_terminal() {
    let answer = "HTTP/1.1 200 OK\r\n\r\nok\x1b[2J\n\u{9b}31mred\n";
    assert_eq!(asked(&["health", "live"], Some(answer)).unwrap(), "ok\u{fffd}[2J\n\u{fffd}31mred\n");
    let ill = "HTTP/1.1 503 Service Unavailable\r\n\r\nno \x07tick";
    fails_with(&["health", "ready"], Some(ill), "503: no \u{fffd}tick");
}

/// In a folder like /tmp anybody may have put a socket there.
#[test]
fn a_socket_that_somebody_else_serves_is_not_believed() {
    if !getuid().is_root() {
        eprintln!("SKIPPED: serving as another user needs root");
        return;
    }
    const SERVER: &str = "import socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
print('listening', flush=True)
s.accept()
sys.stdin.read()";
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("http-requests");
    std::fs::create_dir(&folder).unwrap();
    chown(&folder, Some(65_533), None).unwrap();
    chown(root.path(), Some(65_533), None).unwrap();
    let mut server = Command::new("python3");
    server.args(["-c", SERVER]).arg(folder.join("http-requests.sock")).uid(65_533);
    let Ok(mut server) = server.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else {
        eprintln!("SKIPPED: no python3");
        return;
    };
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let option = format!("--plugins-root={}", root.path().display());
    let error = ask::run(&["scope-http-requests", "health", "live", &option].map(OsString::from)).unwrap_err();
    drop(server.stdin.take());
    server.wait().unwrap();
    assert!(error.contains("user 65533 serves there") && error.contains("--plugins-root"), "{error}");
}

/// Whoever waits is answered by an agent that is not there yet, then is not well, then is.
#[test]
fn health_is_waited_for() {
    let root = tempfile::tempdir().unwrap();
    let option = format!("--plugins-root={}", root.path().display());
    let line = ["x", "health", "ready", "--wait=3000", &option].map(OsString::from);
    let waiting = thread::spawn(move || ask::run(&line));
    let ill = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 30\r\n\r\nno counts from the kernel yet\n";
    for answer in [ill, ill, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n"] {
        assert!(!waiting.is_finished());
        assert!(serve(root.path(), answer).join().unwrap().starts_with("GET /health/ready "));
        std::fs::remove_dir_all(root.path().join("http-requests")).unwrap();
    }
    assert_eq!(waiting.join().unwrap().unwrap(), "ok\n");
}

#[test]
fn an_agent_that_is_not_there_is_named_by_its_socket() {
    fails_with(&["health", "live"], None, "http-requests/http-requests.sock: No such file");
    fails_with(&["report"], Some(""), "no HTTP answer");
}

#[test]
fn a_report_is_printed_if_scope_would_take_it() {
    let good = "HTTP/1.1 200 OK\r\n\r\n{\"Plugins\":[{\"id\":\"http-requests\"}]}";
    assert!(asked(&["report"], Some(good)).unwrap().starts_with("{\"Plugins\""));
    fails_with(&["report"], Some("HTTP/1.1 200 OK\r\n\r\n<html>"), "no JSON");
    fails_with(&["report"], Some("HTTP/1.1 200 OK\r\n\r\n{\"Plugins\":[{\"id\":\"x\"}]}"), "not of http-requests");
    let refused = "HTTP/1.1 200 OK\r\n\r\n{\"Plugins\":[{\"id\":\"http-requests\",\"status\":\"no BTF\"}]}";
    fails_with(&["report"], Some(refused), "no BTF");
}

#[test]
fn a_command_line_that_asks_nothing_has_no_answer() {
    for line in [vec![], vec!["scope-http-requests"], vec!["scope-http-requests", "--help"]] {
        let line: Vec<OsString> = line.into_iter().map(Into::into).collect();
        assert!(ask::run(&line).is_err());
    }
}

fn overview(answer: &'static str) -> Result<Option<u64>, String> {
    let root = tempfile::tempdir().unwrap();
    let server = serve(root.path(), answer);
    let overview = ask::overview(root.path(), Some(7));
    assert!(server.join().unwrap().starts_with("GET /overview?after=7 HTTP/1.1"));
    overview.map(|overview| overview.map(|overview| overview.sequence))
}

#[test]
fn an_overview_is_there_is_not_newer_or_is_none() {
    assert_eq!(overview("HTTP/1.1 200 OK\r\n\r\n{\"sequence\": 8}"), Ok(Some(8)));
    assert_eq!(overview("HTTP/1.1 204 No Content\r\n\r\n"), Ok(None));
    for (answer, words) in [
        ("HTTP/1.1 200 OK\r\n\r\n{\"sequence\": \"8\"}", "no overview: "),
        ("HTTP/1.1 200 OK\r\n\r\n[[[[", "no overview: "),
        ("HTTP/1.1 200 OK\r\n\r\n\u{fffd}", "no overview: "),
        ("HTTP/1.1 404 Not Found\r\n\r\n", "older than this command"),
        ("HTTP/1.1 503 no BTF\r\n\r\nno BTF\n", "503: no BTF"),
        ("", "no HTTP answer"),
    ] {
        let error = overview(answer).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn the_first_folder_with_an_agent_is_asked() {
    let roots = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let paths = roots.each_ref().map(|root| root.path().to_owned());
    let root = PluginsRoot { path: paths[0].clone(), fallbacks: vec![paths[1].clone()] };
    assert_eq!(ask::served(&root), paths[0]);
    let folder = paths[1].join("http-requests");
    std::fs::create_dir(&folder).unwrap();
    let _listener = UnixListener::bind(folder.join("http-requests.sock")).unwrap();
    assert_eq!(ask::served(&root), paths[1]);
}

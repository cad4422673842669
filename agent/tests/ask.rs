//! Asking over a real socket.
#![expect(clippy::unwrap_used, reason = "tests")]

use agent::ask;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::thread;

/// What `scope-http-requests ARGUMENTS` prints when the agent answers like this; no agent for `None`.
fn asked(arguments: &[&str], answer: Option<&'static str>) -> Result<String, String> {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("http-requests");
    std::fs::create_dir(&folder).unwrap();
    let server = answer.map(|answer| {
        let listener = UnixListener::bind(folder.join("http-requests.sock")).unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        })
    });
    let root = format!("--plugins-root={}", root.path().display());
    let line = ["scope-http-requests"].iter().chain(arguments).copied().chain([root.as_str()]);
    let line: Vec<OsString> = line.map(Into::into).collect();
    assert!(ask::is_asked(&line));
    let result = ask::run(&line);
    if let Some(server) = server {
        assert!(server.join().unwrap().starts_with("GET /"));
    }
    result
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
fn other_command_lines_are_the_agents_own() {
    for line in [vec![], vec!["scope-http-requests"], vec!["scope-http-requests", "--help"]] {
        let line: Vec<OsString> = line.into_iter().map(Into::into).collect();
        assert!(!ask::is_asked(&line));
    }
}

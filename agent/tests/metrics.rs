//! The metrics' socket with a real HTTP client, and with clients that misbehave.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking; clippy knows its functions, not their helpers")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use agent::http::serve::Limits;
use agent::metrics::{self, Answers, Format, LIMITS};
use agent::shutdown::{self, Trigger};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Much longer than anything here takes; only a hang reaches it.
const HANG: Duration = Duration::from_secs(20);
/// Short enough to wait for.
const SHORT: Duration = Duration::from_millis(200);

struct Server {
    address: SocketAddr,
    trigger: Trigger,
    task: JoinHandle<()>,
}

/// Answers with the format's name and so many bytes, and is well.
async fn start(limits: Limits, length: usize) -> Server {
    start_being(limits, length, None).await
}

async fn start_being(limits: Limits, length: usize, complaint: Option<&'static str>) -> Server {
    let listener = metrics::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (trigger, shutdown) = shutdown::channel();
    let render = Arc::new(move |format: Format| format!("{format:?} {}", "x".repeat(length)).into());
    let complaint = Arc::new(move |_| complaint.map(str::to_owned));
    let task = tokio::spawn(metrics::serve(listener, limits, shutdown, Answers { render, complaint }));
    Server { address, trigger, task }
}

async fn until_closed(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = timeout(HANG, stream.read_to_end(&mut answer)).await.expect("the server hangs");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Everything the server sends until it closes.
async fn raw(server: &Server, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // A server that has already closed is an answer, too.
    let _ = stream.write_all(request).await;
    until_closed(&mut stream).await
}

async fn ask(server: &Server, line: &str, fields: &str) -> String {
    raw(server, format!("{line} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{fields}\r\n").as_bytes()).await
}

#[tokio::test]
async fn each_request_has_its_answer() {
    let server = start(LIMITS, 0).await;
    let rows = [
        ("GET /metrics", "", "200 OK", "version=0.0.4", "Prometheus"),
        ("GET /metrics?x=y", "Accept: text/plain\r\n", "200 OK", "text/plain", "Prometheus"),
        (
            "GET /metrics",
            "Accept: application/openmetrics-text\r\n",
            "200 OK",
            "openmetrics-text; version=1.0.0",
            "OpenMetrics",
        ),
        (
            "GET /metrics",
            "Accept: a/b\r\nAccept: application/openmetrics-text\r\n",
            "200 OK",
            "openmetrics",
            "OpenMetrics",
        ),
        ("GET /metrics", "Accept: \u{fffd}\r\n", "200 OK", "version=0.0.4", "Prometheus"),
        ("GET /", "", "200 OK", "text/html", "<a href=\"/metrics\">"),
        ("HEAD /", "", "200 OK", "text/html", ""),
        ("POST /metrics", "", "405 Method Not Allowed", "text/plain", "only GET"),
        ("GET /health/ready", "", "200 OK", "text/plain", "ok\n"),
        ("GET /health/live", "", "404 Not Found", "text/plain", "/metrics"),
        ("GET /metrics/", "", "404 Not Found", "text/plain", "/metrics"),
        ("GET /favicon.ico", "", "404 Not Found", "text/plain", "/metrics"),
    ];
    for (line, fields, status, content_type, part) in rows {
        let answer = ask(&server, line, fields).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{line} {fields}: {head}");
        assert!(head.contains(content_type), "{line} {fields}: {head}");
        assert!(body.contains(part) && (body.is_empty() == part.is_empty()), "{line} {fields}: {body}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_told_to_a_kubelet() {
    let server = start_being(LIMITS, 0, Some("no counts from the kernel for 6 s")).await;
    let answer = ask(&server, "GET /health/ready", "").await;
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("\r\n\r\nno counts from the kernel for 6 s\n"),
        "{answer}"
    );
    assert!(ask(&server, "GET /metrics", "").await.contains("Prometheus"));
}

#[tokio::test]
async fn bytes_that_are_no_request_harm_nobody() {
    let server = start(LIMITS, 0).await;
    for bytes in [&b"\0\xff\xfe\r\n\r\n"[..], b"GET", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[b'A'; 100_000]] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        until_closed(&mut stream).await;
    }
    assert!(ask(&server, "GET /metrics", "").await.contains("Prometheus"));
}

#[tokio::test]
async fn a_client_that_says_or_takes_nothing_is_left() {
    let server = start(Limits { head: SHORT, write: SHORT, ..LIMITS }, 32 << 20).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    until_closed(&mut silent).await;
    let mut greedy = TcpStream::connect(server.address).await.unwrap();
    greedy.write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    // It takes nothing until the server has given up, which closes the server's end.
    tokio::time::sleep(4 * SHORT).await;
    let taken = until_closed(&mut greedy).await.len();
    assert!(taken < 32 << 20, "it took all {taken} bytes");
}

#[tokio::test]
async fn while_all_are_being_answered_one_more_is_closed_and_room_is_made_again() {
    let server = start(Limits { connections: 1, ..LIMITS }, 32 << 20).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    first.read_u8().await.unwrap();
    assert_eq!(raw(&server, b"").await, "");
    drop(first);
    // The server notices in its own time.
    let answered = async {
        while !ask(&server, "GET /metrics", "").await.contains("Prometheus") {
            tokio::task::yield_now().await;
        }
    };
    timeout(HANG, answered).await.expect("the place stays taken");
}

#[tokio::test]
async fn idle_clients_keep_nobody_out() {
    let server = start(LIMITS, 0).await;
    let mut idle = Vec::new();
    for _ in 0..3 * LIMITS.connections {
        idle.push(TcpStream::connect(server.address).await.unwrap());
        assert!(ask(&server, "GET /metrics", "").await.contains("Prometheus"));
    }
    // The oldest went: an address has its share.
    assert_eq!(until_closed(&mut idle[0]).await, "");
}

#[tokio::test]
async fn who_has_asked_is_answered_however_many_come_behind() {
    let server = start(LIMITS, 0).await;
    // All lie in the backlog: the server has the same thread and runs only while this waits.
    let mut asking = std::net::TcpStream::connect(server.address).unwrap();
    std::io::Write::write_all(&mut asking, b"GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    let idle = (0..3 * LIMITS.share).map(|_| std::net::TcpStream::connect(server.address).unwrap());
    let _idle: Vec<_> = idle.collect();
    asking.set_nonblocking(true).unwrap();
    let answer = until_closed(&mut TcpStream::from_std(asking).unwrap()).await;
    assert!(answer.ends_with("Prometheus "), "{answer:?}");
}

#[tokio::test]
async fn one_address_has_its_share_and_others_theirs() {
    let server = start(Limits { connections: 8, share: 4, ..LIMITS }, 32 << 20).await;
    let mut greedy = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        stream.read_u8().await.unwrap();
        greedy.push(stream);
    }
    assert_eq!(raw(&server, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await, "", "its share is taken");
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(server.address).await.unwrap();
    other.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(until_closed(&mut other).await.starts_with("HTTP/1.1 200 OK"));
}

/// A runtime's only thread that is kept busy, as by a tick that waits for nobody.
#[tokio::test]
async fn what_serves_strangers_has_a_thread_of_its_own() {
    let listener = metrics::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (trigger, shutdown) = shutdown::channel();
    let render = Arc::new(|format: Format| format!("{format:?}").into());
    let answers = Answers { render, complaint: Arc::new(|_| None) };
    let thread = metrics::serve_apart(listener, LIMITS, shutdown, answers).unwrap();
    // Blocks the thread on which this test and everything else of its runtime runs.
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    std::io::Write::write_all(&mut stream, b"GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(HANG)).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(answer.ends_with("Prometheus"), "{answer}");
    trigger.pull();
    thread.join().unwrap().unwrap();
}

#[tokio::test]
async fn it_ends_when_asked_and_an_address_in_use_is_named() {
    let server = start(LIMITS, 0).await;
    let error = metrics::listen(server.address).await.unwrap_err();
    assert!(error.contains(&server.address.to_string()) && error.contains("--metrics-address"), "{error}");
    server.trigger.pull();
    timeout(HANG, server.task).await.expect("it goes on").unwrap();
}

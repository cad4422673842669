//! The probe against real servers: what it counts for each of their processes is what they counted
//! themselves.
//!
//! Needs root and a kernel that takes the probe, and servers that `.ci/setup test` installs. What
//! is missing is skipped aloud, or fails where the environment says `REQUIRE_PROBE=1`. Arguments
//! pick the cases whose names contain one of them.

mod apache;
mod client;
mod grpc;
mod haproxy;
#[path = "../harness/mod.rs"]
mod harness;
mod lighttpd;
mod nginx;
mod not_http;
mod probe;
mod process;
mod programs;
mod protocols;
mod session;
mod tls;
mod tls_servers;

use std::env;
use std::process::ExitCode;
use std::time::Instant;

use harness::caught;
use probe::Probe;
use process::Missing;
use session::{Lacking, Outcome, Session};

/// A name, and what happens.
type Case = (&'static str, fn(&mut Session) -> anyhow::Result<()>);

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("nginx: wrk, keep-alive, stub_status", nginx::keep_alive),
    ("nginx: SO_REUSEPORT listeners, wrk", nginx::reuse_port),
    ("nginx: curl, a connection each", nginx::connection_each),
    ("nginx: 2 pipelined", |session| nginx::pipelined(session, 2)),
    ("nginx: 16 pipelined", |session| nginx::pipelined(session, 16)),
    ("nginx: 100 pipelined", |session| nginx::pipelined(session, 100)),
    ("nginx: 1000 pipelined", |session| nginx::pipelined(session, 1000)),
    ("nginx: odd request lines", nginx::odd_lines),
    ("nginx: 1-byte writes", nginx::single_bytes),
    ("nginx: heads of 8, 32 and 64 KiB", nginx::large_heads),
    ("nginx: Unix socket", nginx::unix_socket),
    ("nginx: IPv6", nginx::ipv6),
    ("nginx: IPv4-mapped IPv6", nginx::ipv4_mapped),
    ("nginx: bodies of fake requests", nginx::bodies),
    ("nginx: chunked bodies of fake requests", nginx::chunked_bodies),
    ("nginx: Expect: 100-continue", nginx::expect_continue),
    ("nginx: bodies it does not want", nginx::discarded_bodies),
    ("nginx: WebSocket to Node", nginx::websocket),
    ("nginx: HTTP/2, h2load", nginx::http2_load),
    ("nginx: HTTP/2, curl", nginx::http2_curl),
    ("nginx: HTTPS, HTTP/1.1 and HTTP/2: connections", tls::nginx),
    ("Apache event: h2load, keep-alive and not", apache::event),
    ("Apache prefork: pipelined, bodies", apache::prefork),
    ("Apache: upgrade to h2c, curl --http2", apache::upgrade_to_http2),
    ("HAProxy http: before nginx", haproxy::http),
    ("HAProxy tcp: before nginx", haproxy::tcp),
    ("HAProxy tcp, splicing: before nginx", haproxy::tcp_splicing),
    ("HAProxy tcp: PROXY protocol v1 and v2", haproxy::proxy_protocol),
    ("Python: a thread per connection, GET", programs::python_get),
    ("Python: a thread per connection, POST", programs::python_post),
    ("Node: connections and pipelining", programs::node_get),
    ("Node: POST streams", programs::node_post),
    ("Node: CONNECT, then fake requests", programs::node_connect),
    ("Node: HTTP/2, h2load", programs::node_http2),
    ("Go: connections and pipelining", programs::go_get),
    ("Go: POST streams", programs::go_post),
    ("nghttpd: HTTP/2, h2load and curl", protocols::nghttpd),
    ("nghttpx: upgrades to h2c and on, before nginx", protocols::nghttpx),
    ("gRPC: unary", |session| grpc::calls(session, "unary")),
    ("gRPC: 1, 2 and 100 streams at a time", |session| grpc::calls(session, "concurrent")),
    ("gRPC: streaming up and down", |session| grpc::calls(session, "streaming")),
    ("Redis: redis-benchmark, inline GET", not_http::redis),
    ("clients: response bodies of fake requests", not_http::response_bodies),
    ("2000 processes, a request each", programs::short_lived),
    ("TLS: nginx, HTTP/1.1 and HTTP/2", tls::nginx_read),
    ("TLS: Apache event, HTTP/1.1 and HTTP/2", tls_servers::apache),
    ("TLS: HAProxy before nginx, TLS to TLS", tls_servers::haproxy),
    ("TLS: Python", tls_servers::python),
    ("TLS: Node, HTTP/1.1 and HTTP/2", tls_servers::node),
    ("TLS: Go, HTTP/1.1 and HTTP/2", tls_servers::go),
    ("TLS: lighttpd with GnuTLS, HTTP/1.1 and HTTP/2", tls_servers::lighttpd),
    ("TLS: clients", tls_servers::clients),
    ("TLS: Python, probed under load", tls_servers::attached_under_load),
    ("TLS: Python, traced by strace", tls_servers::traced),
    ("TLS: nginx, traced by strace", tls_servers::traced_nginx),
];

/// How the names of cases begin in which requests in TLS are read.
const IN_TLS: &str = "TLS: ";

/// What became of a case.
enum Verdict {
    Passed,
    /// What the kernel skips is lost; that it is said is what can be asked for.
    Marked(String),
    Failed(String),
    Skipped(String),
    /// For want of a younger kernel: nothing is missing that could be installed.
    Impossible(String),
}

fn main() -> ExitCode {
    // Asked by cargo and by test runners; there is nothing to list.
    if env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let filters: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let cases: Vec<&Case> = CASES
        .iter()
        .filter(|(name, _)| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str())))
        .collect();
    if cases.is_empty() {
        println!("0 passed, 0 failed, 0 skipped");
        return ExitCode::SUCCESS;
    }
    let required = env::var_os("REQUIRE_PROBE").is_some_and(|value| value == "1");
    let mut probe = match Probe::load() {
        Ok(probe) => probe,
        Err(error) => {
            println!("SKIPPED: counts against real servers: {error}");
            println!("0 passed, 0 failed, {} skipped", cases.len());
            return if required { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    println!("responses {}", probe.responses());
    println!("{:46} {:>9} {:>9}  verdict", "case", "expected", "counted");
    let (mut passed, mut failed, mut skipped, mut missing) = (0, 0, 0, 0);
    for entry in cases {
        let (name, _) = entry;
        let start = Instant::now();
        let (outcome, verdict) = run(&mut probe, entry);
        let column = |count: fn(&Outcome) -> u64| outcome.as_ref().map_or("-".to_owned(), |it| count(it).to_string());
        let (expected, counted) = (column(Outcome::expected), column(Outcome::counted));
        print!("{name:46} {expected:>9} {counted:>9}  ");
        match verdict {
            Verdict::Passed => {
                passed += 1;
                println!(
                    "passed, {:.1} s: {}",
                    start.elapsed().as_secs_f64(),
                    outcome.map_or(String::new(), |it| it.summary())
                );
            }
            Verdict::Marked(how) => {
                passed += 1;
                println!("passed: {how}");
            }
            Verdict::Failed(why) => {
                failed += 1;
                println!("FAILED: {why}");
            }
            Verdict::Skipped(why) => {
                skipped += 1;
                missing += 1;
                println!("SKIPPED: {why}");
            }
            Verdict::Impossible(why) => {
                skipped += 1;
                println!("SKIPPED: {why}");
            }
        }
    }
    println!("{}", probe.losses());
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed > 0 || (required && missing > 0) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn run(probe: &mut Probe, (name, case): &Case) -> (Option<Outcome>, Verdict) {
    let mut attempt = || -> anyhow::Result<(Outcome, u64)> {
        let plaintext = if name.starts_with(IN_TLS) { probe.plaintext()? } else { None };
        let mut session = Session::new(plaintext)?;
        let (before, skipped_before) = (probe.read()?, probe.skipped_calls());
        case(&mut session)?;
        let counted = probe.read()?.since(&before);
        let outcome = session.outcome(&counted);
        Ok((outcome, probe.skipped_calls() - skipped_before))
    };
    match caught(&mut attempt).map_err(anyhow::Error::from).flatten() {
        Ok((outcome, skipped)) => {
            let complaints = outcome.complaints().join("; ");
            let verdict = if complaints.is_empty() {
                Verdict::Passed
            } else if skipped > 0 && outcome.may_lack_calls() {
                Verdict::Marked(format!("the kernel skipped {skipped} calls, and the agent says so: {complaints}"))
            } else {
                Verdict::Failed(complaints)
            };
            (Some(outcome), verdict)
        }
        Err(error) if error.is::<Lacking>() => (None, Verdict::Impossible(error.to_string())),
        Err(error) if error.is::<Missing>() => (None, Verdict::Skipped(error.to_string())),
        Err(error) => (None, Verdict::Failed(format!("{error:#}"))),
    }
}

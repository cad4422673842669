//! nginx with four workers. Its access log names the worker that served each request.

use std::fs;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use crate::client::{Address, Connection, FAKE, exchange, fakes, gets, h2load, post, post_chunked};
use crate::harness::wait_for;
use crate::process::{Process, Tool, free_port, wait_for_port};
use crate::programs::Program;
use crate::session::{Session, need_ipv6};

/// A running nginx.
pub struct Nginx {
    /// What it always listens on, on 127.0.0.1.
    pub port: u16,
    /// The master.
    pub process: Process,
    log: PathBuf,
}

impl Nginx {
    /// Starts it. `listen` are more lines of its server. The server answers `ok`. Below `/backend/`
    /// it reads the body and hands over to itself through a Unix socket, so that each request is
    /// received and logged twice; below `/unbuffered/` it hands over what arrives as it arrives to
    /// another of itself that does the former: three times.
    pub fn start(session: &mut Session, listen: &str) -> Result<Self> {
        let port = free_port()?;
        let folder = session.folder().display().to_string();
        let config = format!(
            r#"
user root;
daemon off;
worker_processes 4;
pid {folder}/nginx.pid;
events {{ worker_connections 2048; }}
http {{
    log_format pid '$pid $status';
    log_format connection '$pid $connection';
    access_log {folder}/nginx.log pid;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 10000000;
    client_max_body_size 0;
    large_client_header_buffers 4 80k;
    proxy_http_version 1.1;
    upstream itself {{ server unix:{folder}/backend.sock; keepalive 8; }}
    upstream reader {{ server unix:{folder}/reader.sock; keepalive 8; }}
    server {{ listen unix:{folder}/backend.sock; return 200 "ok\n"; }}
    server {{
        listen unix:{folder}/reader.sock;
        location / {{ proxy_pass http://itself; proxy_set_header Connection ""; }}
    }}
    server {{
        listen 127.0.0.1:{port};
        {listen}
        location / {{ return 200 "ok\n"; }}
        location /status {{ stub_status; }}
        location /backend/ {{ proxy_pass http://itself; proxy_set_header Connection ""; }}
        location /unbuffered/ {{
            proxy_pass http://reader;
            proxy_set_header Connection "";
            proxy_request_buffering off;
        }}
    }}
}}
"#
        );
        let file = session.folder().join("nginx.conf");
        fs::write(&file, config)?;
        let tool = Tool::new("nginx")?.arg("-p").arg(&folder).arg("-e").arg("stderr").arg("-c").arg(&file);
        let mut process = session.start(tool)?;
        wait_for_port(&mut process, port)?;
        Ok(Self { port, process, log: session.folder().join("nginx.log") })
    }

    /// Where it always listens.
    pub fn address(&self) -> Address {
        Address::port(self.port)
    }

    /// A path on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Lets it finish, and expects what it logged; returns how much that was.
    pub fn finish(mut self, session: &mut Session) -> Result<u64> {
        for worker in self.process.children() {
            session.watch("nginx", worker);
        }
        self.process.stop(Signal::QUIT)?;
        session.expect_log("nginx", &self.log)
    }
}

/// curl, quiet, which fails unless the answer is good.
pub fn curl() -> Result<Tool> {
    Ok(Tool::new("curl")?.args("--silent --show-error --fail --noproxy * --max-time 60 --output /dev/null"))
}

/// A file of fake requests.
pub fn fake_file(session: &Session, length: usize) -> Result<PathBuf> {
    let path = session.folder().join(format!("fakes-{length}"));
    fs::write(&path, fakes(length))?;
    Ok(path)
}

/// curl's way to send a file as it is.
pub fn data(path: &Path) -> String {
    format!("@{}", path.display())
}

pub fn keep_alive(session: &mut Session) -> Result<()> {
    let nginx = Nginx::start(session, "")?;
    session.run(Tool::new("wrk")?.args("--threads 2 --connections 40 --duration 2s").arg(nginx.url("/")))?;
    // Its own counter, of all workers, once nothing is left of what wrk sent. The requests that ask are among them.
    let file = session.folder().join("status");
    let requests = wait_for("wrk's connections to end", || {
        session.run(Tool::new("curl")?.args("--silent --show-error --output").arg(&file).arg(nginx.url("/status")))?;
        let status = fs::read_to_string(&file)?;
        let counters = status.lines().nth(2).context("the third line of stub_status has the counters")?;
        let requests = counters.split_ascii_whitespace().nth(2).context("the third is that of requests")?.parse()?;
        Ok(status.starts_with("Active connections: 1 ").then_some(requests))
    })?;
    session.sent(requests);
    nginx.finish(session)?;
    Ok(())
}

pub fn reuse_port(session: &mut Session) -> Result<()> {
    let port = free_port()?;
    let nginx = Nginx::start(session, &format!("listen 127.0.0.1:{port} reuseport;"))?;
    let url = format!("http://127.0.0.1:{port}/");
    session.run(Tool::new("wrk")?.args("--threads 1 --connections 64 --duration 1s").arg(url))?;
    nginx.finish(session)?;
    Ok(())
}

pub fn connection_each(session: &mut Session) -> Result<()> {
    let nginx = Nginx::start(session, "")?;
    for _ in 0..10 {
        let four: Vec<_> = (0..4).map(|_| Ok(curl()?.arg(nginx.url("/")))).collect::<Result<_>>()?;
        session.run_all(four)?;
    }
    // One curl, many connections.
    let url = nginx.url("/[1-200]");
    session.run(curl()?.arg("--header").arg("Connection: close").arg(&url))?;
    session.run(curl()?.args("--http1.0").arg(&url))?;
    session.sent(40 + 200 + 200);
    nginx.finish(session)?;
    Ok(())
}

pub fn pipelined(session: &mut Session, requests: usize) -> Result<()> {
    let nginx = Nginx::start(session, "")?;
    let stream = gets(requests);
    // At once, cut where it hurts, and in segments of a network.
    let pieces = [usize::MAX, 7, 61, 1448];
    for piece in pieces {
        exchange(&nginx.address(), &stream, piece.min(stream.len()), requests)?;
    }
    session.sent((pieces.len() * requests) as u64);
    nginx.finish(session)?;
    Ok(())
}

/// Lines that nginx serves although they are not as they should be, and requests behind them.
pub fn odd_lines(session: &mut Session) -> Result<()> {
    const LINES: [&str; 8] = [
        "GET  / HTTP/1.1\r\n",
        "GET /   HTTP/1.1\r\n",
        "GET / HTTP/1.1 \r\n",
        "GET / HTTP/1.1  \n",
        "\rGET / HTTP/1.1\r\n",
        "\r\r\n\nGET / HTTP/1.1\r\n",
        "GET / HTTP/1.10\r\n",
        "GET / HTTP/1.01\r\n",
    ];
    let nginx = Nginx::start(session, "")?;
    for line in LINES {
        let stream = [format!("{line}Host: localhost\r\n\r\n").as_bytes(), &gets(3)].concat();
        for piece in [stream.len(), 1, 7] {
            exchange(&nginx.address(), &stream, piece, 4)?;
        }
    }
    session.sent((LINES.len() * 3 * 4) as u64);
    nginx.finish(session)?;
    Ok(())
}

pub fn single_bytes(session: &mut Session) -> Result<()> {
    let nginx = Nginx::start(session, "")?;
    exchange(&nginx.address(), &gets(50), 1, 50)?;
    let mut stream = post("/backend/", 2000, "");
    stream.extend(post_chunked("/unbuffered/", 2000, ""));
    stream.extend(gets(1));
    exchange(&nginx.address(), &stream, 1, 3)?;
    session.sent(50 + 2 + 3 + 1);
    nginx.finish(session)?;
    Ok(())
}

pub fn large_heads(session: &mut Session) -> Result<()> {
    let nginx = Nginx::start(session, "")?;
    for kilobytes in [8, 32, 64] {
        // nginx takes lines of at most 80 KiB, and the framing comes last.
        let filler = format!("X-Filler: {}\r\n", "f".repeat(kilobytes * 1024));
        let mut stream = post("/backend/", 5000, &filler);
        let fields = "X-Filler: ".to_owned() + &"GET / HTTP/1.1 ".repeat(kilobytes * 1024 / 15);
        stream.extend(format!("GET / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n").bytes());
        let body = FAKE;
        let framing = format!("Content-Length: {}", body.len());
        stream.extend(format!("POST / HTTP/1.1\r\nHost: localhost\r\n{filler}{framing}\r\n\r\n{body}").bytes());
        stream.extend(gets(1));
        exchange(&nginx.address(), &stream, usize::MAX, 4)?;
        exchange(&nginx.address(), &stream, 1000, 4)?;
    }
    session.sent(3 * 2 * (4 + 1));
    nginx.finish(session)?;
    Ok(())
}

pub fn unix_socket(session: &mut Session) -> Result<()> {
    let socket = session.folder().join("nginx.sock");
    let nginx = Nginx::start(session, &format!("listen unix:{};", socket.display()))?;
    let address = Address::Unix(socket.clone());
    let curl = curl()?.arg("--unix-socket").arg(&socket).arg("http://localhost/[1-100]");
    session.run(curl)?;
    for piece in [usize::MAX, 1, 100] {
        let mut stream = post("/backend/", 100_000, "");
        if piece == 1 {
            stream.clear();
            stream.extend(post("/backend/", 1000, ""));
        }
        stream.extend(post_chunked("/backend/", 3000, ""));
        stream.extend(gets(98));
        exchange(&address, &stream, piece.min(stream.len()), 100)?;
    }
    session.sent(100 + 3 * (100 + 2));
    nginx.finish(session)?;
    Ok(())
}

pub fn ipv6(session: &mut Session) -> Result<()> {
    need_ipv6()?;
    on_ipv6(session, Ipv6Addr::LOCALHOST, "ipv6only=on", true)
}

pub fn ipv4_mapped(session: &mut Session) -> Result<()> {
    need_ipv6()?;
    on_ipv6(session, std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped(), "ipv6only=off", false)
}

fn on_ipv6(session: &mut Session, ip: Ipv6Addr, option: &str, wrk: bool) -> Result<()> {
    let port = free_port()?;
    let nginx = Nginx::start(session, &format!("listen [{ip}]:{port} {option};"))?;
    let url = if wrk { format!("http://[{ip}]:{port}") } else { format!("http://127.0.0.1:{port}") };
    if wrk {
        session.run(Tool::new("wrk")?.args("--threads 1 --connections 10 --duration 1s").arg(&url))?;
    }
    session.run(curl()?.args("--globoff").arg(format!("{url}/")))?;
    exchange(&Address::Tcp(SocketAddr::from((ip, port))), &gets(100), 100, 100)?;
    let mut stream = post("/backend/", 200_000, "");
    stream.extend(gets(1));
    exchange(&Address::Tcp(SocketAddr::from((ip, port))), &stream, stream.len(), 2)?;
    let logged = nginx.finish(session)?;
    let exact = 1 + 100 + 3;
    ensure!(if wrk { logged > exact } else { logged == exact }, "nginx logged {logged}");
    Ok(())
}

pub fn bodies(session: &mut Session) -> Result<()> {
    let nginx = Nginx::start(session, "")?;
    for (target, times) in [("/backend/", 2), ("/unbuffered/", 3)] {
        for length in [100, 65_536, 1 << 20, 8 << 20] {
            let file = fake_file(session, length)?;
            session.run(curl()?.arg("--data-binary").arg(data(&file)).arg(nginx.url(target)))?;
        }
        let mut stream = post(target, 300_000, "");
        stream.extend(post(target, 1, ""));
        stream.extend(post(target, 70_000, "Content-Type: text/plain\r\n"));
        stream.extend(gets(2));
        for piece in [stream.len(), 34, 1000] {
            exchange(&nginx.address(), &stream, piece, 5)?;
        }
        session.sent(4 * times + 3 * (3 * times + 2));
    }
    nginx.finish(session)?;
    Ok(())
}

pub fn chunked_bodies(session: &mut Session) -> Result<()> {
    let nginx = Nginx::start(session, "")?;
    for (target, times) in [("/backend/", 2), ("/unbuffered/", 3)] {
        for length in [100, 65_536, 4 << 20] {
            let file = fake_file(session, length)?;
            let chunked = curl()?.arg("--header").arg("Transfer-Encoding: chunked");
            session.run(chunked.arg("--data-binary").arg(data(&file)).arg(nginx.url(target)))?;
        }
        let mut stream = post_chunked(target, 100_000, "");
        stream.extend(post_chunked(target, 1, ""));
        stream.extend(gets(2));
        for piece in [stream.len(), 34, 5, 1000] {
            exchange(&nginx.address(), &stream, piece, 4)?;
        }
        session.sent(3 * times + 4 * (2 * times + 2));
    }
    nginx.finish(session)?;
    Ok(())
}

pub fn expect_continue(session: &mut Session) -> Result<()> {
    let nginx = Nginx::start(session, "")?;
    for length in [100, 2 << 20] {
        let file = fake_file(session, length)?;
        let expecting = curl()?.arg("--header").arg("Expect: 100-continue").args("--expect100-timeout 30");
        session.run(expecting.arg("--data-binary").arg(data(&file)).arg(nginx.url("/backend/")))?;
    }
    session.sent(2 * 2);
    nginx.finish(session)?;
    Ok(())
}

/// It answers before it has read the body, and reads on to throw the body away.
pub fn discarded_bodies(session: &mut Session) -> Result<()> {
    let nginx = Nginx::start(session, "")?;
    let mut stream = post("/", 500_000, "");
    stream.extend(post_chunked("/", 5000, ""));
    stream.extend(gets(3));
    for piece in [stream.len(), 1448, 33] {
        exchange(&nginx.address(), &stream, piece, 5)?;
    }
    session.sent(3 * 5);
    nginx.finish(session)?;
    Ok(())
}

/// A WebSocket through nginx to Node, whose frames then hold fake requests.
pub fn websocket(session: &mut Session) -> Result<()> {
    let node = Program::node(session, "server.js", include_str!("programs/server.js"))?;
    let server = format!(
        r#"location /socket {{
            proxy_pass http://127.0.0.1:{};
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }}"#,
        node.port
    );
    let nginx = Nginx::start(session, &server)?;
    for _ in 0..5 {
        let mut connection = Connection::open(&nginx.address())?;
        let fields = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        connection.send(format!("GET /socket HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").as_bytes())?;
        let head = connection.receive_head()?;
        ensure!(head.starts_with("HTTP/1.1 101 "), "answered {head:?}");
        // A text frame whose mask of zeros shows its payload as it is; then no frame at all.
        let payload = FAKE.repeat(10);
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend((payload.len() as u16).to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(payload.bytes());
        for bytes in [frame.as_slice(), FAKE.as_bytes(), FAKE.repeat(100).as_bytes()] {
            connection.send(bytes)?;
            ensure!(connection.receive(bytes.len())? == bytes, "the tunnel changed the bytes");
        }
    }
    session.sent(5 + 5);
    nginx.finish(session)?;
    node.finish(session)?;
    Ok(())
}

pub fn http2_load(session: &mut Session) -> Result<()> {
    let port = free_port()?;
    let nginx = Nginx::start(session, &format!("listen 127.0.0.1:{port} http2;"))?;
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    h2load(session, 5000, "-c 10 -m 1", &url("/"))?;
    h2load(session, 10000, "-c 10 -m 100 -t 2", &url("/"))?;
    let file = fake_file(session, 100_000)?;
    h2load(session, 100, &format!("-c 4 -m 10 -d {}", file.display()), &url("/backend/"))?;
    session.sent(5000 + 10_000 + 100 * 2);
    nginx.finish(session)?;
    Ok(())
}

pub fn http2_curl(session: &mut Session) -> Result<()> {
    let port = free_port()?;
    let nginx = Nginx::start(session, &format!("listen 127.0.0.1:{port} http2;"))?;
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    for _ in 0..5 {
        // One each: curl 7.88 fails when it uses such a connection again.
        session.run(curl()?.args("--http2-prior-knowledge").arg(url("/")))?;
    }
    session.run(Tool::new("nghttp")?.args("--null-out --multiply=50").arg(url("/")))?;
    let file = fake_file(session, 3 << 20)?;
    session.run(curl()?.args("--http2-prior-knowledge --data-binary").arg(data(&file)).arg(url("/backend/")))?;
    // A head that needs CONTINUATION frames.
    let large = format!("X-Filler: {}", "f".repeat(40_000));
    session.run(curl()?.args("--http2-prior-knowledge --header").arg(large).arg(url("/")))?;
    session.sent(5 + 50 + 2 + 1);
    nginx.finish(session)?;
    Ok(())
}

//! What the probe costs a receive: nanoseconds per call over an empty program on the same hook, in
//! one run. Run as root with `make bench`.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;

use agent::kernel::{Baseline, Kernel, ProgramStatistics};
use agent::tick::Probe as _;

const READS_PER_ROUND: u32 = 4000;
const ROUNDS: usize = 41;
const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// A way of receiving: each call sends something and reads it with one call.
struct Case {
    name: &'static str,
    exchange: Box<dyn FnMut() -> io::Result<()>>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kernel = Kernel::load()?;
    let baseline = Baseline::load()?;
    let before = fs::read_to_string(SWITCH)?;
    fs::write(SWITCH, "1")?;
    println!("{}", kernel.description());
    println!("{:44} {:>8} {:>8} {:>8}", "receive", "probe ns", "empty ns", "net ns");
    for case in &mut cases()? {
        let (probe, empty) = measure(&kernel, &baseline, &mut case.exchange)?;
        println!("{:44} {probe:>8.0} {empty:>8.0} {:>8.0}", case.name, probe - empty);
    }
    fs::write(SWITCH, before)?;
    Ok(())
}

/// Medians over all rounds.
fn measure(
    kernel: &Kernel,
    baseline: &Baseline,
    exchange: &mut dyn FnMut() -> io::Result<()>,
) -> Result<(f64, f64), Box<dyn std::error::Error>> {
    let (mut probe, mut empty) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let before = (kernel.program_statistics()?, baseline.program_statistics()?);
        for _ in 0..READS_PER_ROUND {
            exchange()?;
        }
        let after = (kernel.program_statistics()?, baseline.program_statistics()?);
        probe.push(per_call(before.0, after.0));
        empty.push(per_call(before.1, after.1));
    }
    Ok((median(&mut probe), median(&mut empty)))
}

fn per_call(before: ProgramStatistics, after: ProgramStatistics) -> f64 {
    (after.run_time_ns - before.run_time_ns) as f64 / (after.runs - before.runs).max(1) as f64
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn cases() -> io::Result<Vec<Case>> {
    let browser = format!(
        "GET /index.html HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: {}\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nConnection: keep-alive\r\nUpgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\n\r\n",
        "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
    );
    Ok(vec![
        tcp("100-byte GET", "", request(100))?,
        tcp("500-byte GET of a browser", "", browser.into_bytes())?,
        tcp("1 KiB GET", "", request(1024))?,
        tcp(
            "100 bytes inside a known body",
            "POST / HTTP/1.1\r\nContent-Length: 1000000000000\r\n\r\n",
            vec![b'x'; 100],
        )?,
        tcp(
            "16 KiB inside a known body",
            "POST / HTTP/1.1\r\nContent-Length: 1000000000000\r\n\r\n",
            vec![b'x'; 16384],
        )?,
        tcp("100 bytes, known not to be a server's", "HTTP/1.1 200 OK\r\n\r\n", vec![b'x'; 100])?,
        tcp("HTTP/2 request, 60 bytes of headers", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", vec![])?
            .with_frames()?,
        unix("100-byte GET over a Unix socket", request(100))?,
        udp("UDP, 100 bytes")?,
    ])
}

fn request(length: usize) -> Vec<u8> {
    let head = "GET / HTTP/1.1\r\nHost: www.example.org\r\nAccept: */*\r\nCookie: ";
    format!("{head}{}\r\n\r\n", "c".repeat(length - head.len() - 4)).into_bytes()
}

fn tcp(name: &'static str, first: &str, payload: Vec<u8>) -> io::Result<Case> {
    let (mut client, mut server) = connect()?;
    let mut buffer = vec![0; payload.len().max(first.len())];
    if !first.is_empty() {
        client.write_all(first.as_bytes())?;
        server.read_exact(&mut buffer[..first.len()])?;
    }
    let exchange = move || {
        client.write_all(&payload)?;
        server.read_exact(&mut buffer[..payload.len()])
    };
    Ok(Case { name, exchange: Box::new(exchange) })
}

impl Case {
    /// A request stream of its own for every exchange.
    fn with_frames(self) -> io::Result<Self> {
        let (mut client, mut server) = connect()?;
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        client.write_all(preface)?;
        let mut buffer = vec![0; preface.len().max(69)];
        server.read_exact(&mut buffer[..preface.len()])?;
        let mut id = 1_u32;
        let exchange = move || {
            let frame = [&[0, 0, 60, 1, 5], id.to_be_bytes().as_slice(), &[0x82; 60]].concat();
            id += 2;
            client.write_all(&frame)?;
            server.read_exact(&mut buffer[..frame.len()])
        };
        Ok(Self { name: self.name, exchange: Box::new(exchange) })
    }
}

fn connect() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    client.set_nodelay(true)?;
    Ok((client, listener.accept()?.0))
}

fn unix(name: &'static str, payload: Vec<u8>) -> io::Result<Case> {
    let (mut client, mut server) = UnixStream::pair()?;
    let mut buffer = vec![0; payload.len()];
    let exchange = move || {
        client.write_all(&payload)?;
        server.read_exact(&mut buffer)
    };
    Ok(Case { name, exchange: Box::new(exchange) })
}

fn udp(name: &'static str) -> io::Result<Case> {
    let (client, server) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    client.connect(server.local_addr()?)?;
    let mut buffer = [0; 100];
    let exchange = move || {
        client.send(&[b'x'; 100])?;
        server.recv(&mut buffer).map(drop)
    };
    Ok(Case { name, exchange: Box::new(exchange) })
}

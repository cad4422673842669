//! What streams cost their receiver that are made to cost: a read of 64 KiB, and a MiB of a connection.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use agent::kernel::Kernel;
use agent::settings::config::probe_of_variables;
use aya::sys::{Stats, enable_stats};
use rustix::time::{ClockId, clock_gettime};

use crate::Figures;
use crate::spread::Spread;
use crate::table::Figure;

const READ_BYTES: usize = 64 << 10;
const STREAM_MIB: usize = 8;
const ROUNDS: usize = 11;
/// Of what a call of the probe may take, in microseconds.
const LONGEST_CALL: f64 = 200.0;
/// Of what a stream may cost beside the same one that nobody looks at.
const MOST_TIMES: f64 = 2.0;

const POST: &str = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
const HEAD: &str = "GET / HTTP/1.1\r\nHost: x\r\n";
const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A name, what comes first, and what repeats.
type Pattern = (&'static str, &'static [&'static str], &'static str);

#[rustfmt::skip]
const PATTERNS: [Pattern; 18] = [
    ("no HTTP", &["\x16\x03\x01"], "xxxxxxxx"),
    ("a known body", &["POST / HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n"], "xxxxxxxx"),
    ("empty lines", &[HEAD, "\r\n"], "\r\n"),
    ("chunks of a byte", &[POST], "1\r\nx\r\n"),
    ("digits of a chunk's size", &[POST, "0"], "0"),
    ("trailers", &[POST, "0\r\n"], "x\n"),
    ("digits of a length", &[HEAD, "Content-Length: 0"], "0"),
    ("letters of a coding", &[HEAD, "Transfer-Encoding: "], "a"),
    ("a folded field", &[HEAD, "x: "], "\n "),
    ("fields of a letter", &[HEAD], "x\n"),
    ("fields that nearly matter", &[HEAD], "content-l\n"),
    ("requests of 15 bytes", &[], "G / HTTP/1.1\n\n"),
    ("one field", &[HEAD], "x"),
    ("one target", &["GET /"], "x"),
    ("an extension", &[POST, "1;"], "a"),
    ("HTTP/2 pings", &[PREFACE], "\0\0\x08\x06\0\0\0\0\x0012345678"),
    ("HTTP/2, empty frames", &[PREFACE], "\0\0\0\0\0\0\0\0\x01"),
    ("requests of 27 bytes", &[], "GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
];

pub(crate) fn measure() -> Figures {
    let without = PATTERNS.iter().map(of_a_mib).collect::<io::Result<Vec<_>>>()?;
    let kernel = Kernel::load(probe_of_variables(|name| std::env::var(name).ok()))?;
    let with = PATTERNS.iter().map(of_a_mib).collect::<io::Result<Vec<_>>>()?;
    let statistics = enable_stats(Stats::RunTime)?;
    let mut figures = Vec::new();
    for (index, pattern) in PATTERNS.iter().enumerate() {
        let reads = (0..ROUNDS).map(|_| of_a_read(&kernel, pattern)).collect::<io::Result<Vec<_>>>()?;
        let read = Figure::new(format!("{}: a read of 64 KiB", pattern.0), "us", Spread::of(reads));
        figures.push(read.at_most(LONGEST_CALL));
        let times = with[index].iter().zip(&without[index]).map(|(with, without)| with / without);
        let note = Spread::of(without[index].iter().copied()).map_or(0.0, |alone| alone.median);
        let times = Figure::new(format!("{}: a MiB", pattern.0), "times", Spread::of(times));
        figures.push(times.at_most(MOST_TIMES).note(format!("{note:.0} us without")));
    }
    drop(statistics);
    Ok(figures)
}

fn bytes((_, before, unit): &Pattern, length: usize) -> Vec<u8> {
    let before = before.concat();
    let units = (length - before.len()) / unit.len();
    [before.as_bytes(), unit.repeat(units).as_bytes()].concat()
}

fn connection() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    Ok((client, listener.accept()?.0))
}

/// Microseconds of the probe, for the first 64 KiB of a connection.
fn of_a_read(kernel: &Kernel, pattern: &Pattern) -> io::Result<f64> {
    let (mut client, mut server) = connection()?;
    let bytes = bytes(pattern, READ_BYTES);
    let mut buffer = vec![0; bytes.len()];
    let writer = thread::spawn(move || client.write_all(&bytes).map(|()| client));
    let before = kernel.program_statistics()?.run_time_ns;
    server.read_exact(&mut buffer)?;
    let after = kernel.program_statistics()?.run_time_ns;
    writer.join().expect("the writer does not panic")?;
    Ok((after - before) as f64 / 1e3)
}

/// Microseconds of the receiving thread's processor time a MiB, of some connections.
fn of_a_mib(pattern: &Pattern) -> io::Result<Vec<f64>> {
    let bytes = bytes(pattern, STREAM_MIB << 20);
    let one = || -> io::Result<f64> {
        let (mut client, mut server) = connection()?;
        thread::scope(|scope| -> io::Result<f64> {
            let bytes = &bytes;
            let writer = scope.spawn(move || client.write_all(bytes));
            let mut buffer = vec![0; READ_BYTES];
            let before = thread_time();
            while server.read(&mut buffer)? > 0 {}
            let time = thread_time() - before;
            writer.join().expect("the writer does not panic")?;
            Ok(time.as_secs_f64() * 1e6 / STREAM_MIB as f64)
        })
    };
    (0..ROUNDS).map(|_| one()).collect()
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}

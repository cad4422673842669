//! What requests in TLS cost those who read them: the probes of a read alone, and servers whose TLS is read and not.
#![expect(unsafe_code, reason = "a function whose instructions' places are known")]

use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agent::counting::counts::{Pid, requests};
use agent::kernel::{Kernel, ProbeConfig, ResponseChoice, Uprobes, detach};
use agent::settings::config::probe_of_variables;
use agent::tls::place::Place;
use common::tls::action::Action;
use rustix::time::{ClockId, clock_gettime};
use tempfile::TempDir;

use crate::Figures;
use crate::agent_process::AgentProcess;
use crate::cpu;
use crate::nginx::{Nginx, certify};
use crate::own_program::{library_of, offset};
use crate::pairs::{self, Pair};
use crate::spread::Spread;
use crate::table::Figure;
use crate::wrk::Wrk;

const READS_PER_ROUND: u32 = 10_000;
const ROUNDS: usize = 21;
const PAIRS: usize = 10;
const DETACH_ROUNDS: usize = 5;
const FILES: u64 = 100;
const PLACES: u64 = 10;
const WINDOW_SECONDS: u64 = 1;
/// 100 bytes.
const REQUEST: &[u8; 100] =
    b"GET /path HTTP/1.1\r\nHost: example.org\r\nUser-Agent: bench\r\nAccept: */*\r\nX-Padding: 01234567890123\r\n\r\n";
/// Any number will do for a session's address.
const SESSION: u64 = 0x1000;

// As `SSL_read`: session, buffer, size; returns the size. A `nop` is emulated, a `ret` on x86-64 is stepped over.
#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".globl bench_begin\nbench_begin:\n nop\n ret\n",
    ".globl bench_read\nbench_read:\n nop\n mov eax, edx\n",
    ".globl bench_read_within\nbench_read_within:\n nop\n",
    ".globl bench_read_end\nbench_read_end:\n ret\n",
);
#[cfg(target_arch = "aarch64")]
std::arch::global_asm!(
    ".globl bench_begin\nbench_begin:\n nop\n ret\n",
    ".globl bench_read\nbench_read:\n nop\n mov x0, x2\n",
    ".globl bench_read_within\nbench_read_within:\n nop\n",
    ".globl bench_read_end\nbench_read_end:\n ret\n",
);
unsafe extern "C" {
    fn bench_begin(session: u64);
    fn bench_read(session: u64, buffer: *const u8, size: u64) -> i64;
    static bench_read_within: u8;
    static bench_read_end: u8;
}

pub(crate) fn measure() -> Figures {
    let mut figures = reads()?;
    if crate::missing_for_load().is_none() {
        figures.extend(nginx()?);
        figures.extend(go()?);
    }
    Ok(figures)
}

/// The same read without probes, with both on instructions that the kernel emulates, and with its end stepped over.
fn reads() -> Figures {
    let config = probe_of_variables(|name| std::env::var(name).ok());
    let mut kernel = Kernel::load(ProbeConfig { responses: ResponseChoice::Off, ..config })?;
    let uprobes = kernel.uprobes()?;
    let (mut emulated, mut stepped, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let without = round();
        bare.push(without);
        emulated.push(probed(&uprobes, &raw const bench_read_within)? - without);
        stepped.push(probed(&uprobes, &raw const bench_read_end)? - without);
    }
    let reading = kernel.read_all(Duration::ZERO)?;
    let own = reading.processes.iter().find(|process| process.pid == Some(Pid(std::process::id())));
    let (counted, read) = (own.map_or(0, |own| requests(&own.counts)), 2 * ROUNDS as u64 * u64::from(READS_PER_ROUND));
    let added = "added to a read of a 100-byte GET";
    let (attached, detached): (Vec<_>, Vec<_>) =
        (0..DETACH_ROUNDS).map(|_| many(&uprobes)).collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    let files = format!("{FILES} files of {PLACES} places");
    Ok(vec![
        Figure::new("a call without probes", "ns", Spread::of(bare)),
        Figure::new("both places emulated", "ns", Spread::of(emulated)).note(added),
        Figure::new("the end's place stepped over", "ns", Spread::of(stepped)).note(added),
        Figure::once("requests counted less those read", "", counted as f64 - read as f64)
            .at_most(0.0)
            .note(format!("{counted} - {read}")),
        Figure::new("attaching", "ms", Spread::of(attached)).note(files.as_str()),
        Figure::new("detaching", "ms", Spread::of(detached)).at_most(2000.0).note(files),
    ])
}

/// Milliseconds that it takes to probe many files, and to let them go.
fn many(uprobes: &Uprobes) -> Result<(f64, f64), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let libraries: Vec<_> = (0..FILES)
        .map(|index| {
            let path = folder.path().join(index.to_string());
            // Instructions that do nothing; nobody runs them.
            fs::write(&path, [0x90; 4096])?;
            let places = (0..PLACES).map(|place| Place { offset: 16 * place, action: Action::ReadEntry, depth: 0 });
            library_of(File::open(&path)?, places.collect())
        })
        .collect::<io::Result<_>>()?;
    let begun = Instant::now();
    let links = libraries.iter().map(|library| uprobes.attach(library)).collect::<Result<Vec<_>, _>>()?;
    let attached = Instant::now();
    detach(links);
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    Ok((milliseconds(attached - begun), milliseconds(attached.elapsed())))
}

fn probed(uprobes: &Uprobes, end: *const u8) -> Result<f64, Box<dyn Error>> {
    let places = [
        (bench_begin as *const u8, Action::BeginServer),
        (bench_read as *const u8, Action::ReadEntry),
        (end, Action::ReadEnd),
    ];
    let maps = fs::read_to_string("/proc/self/maps")?;
    let places = places.into_iter().map(|(address, action)| {
        let offset = offset(&maps, address.addr() as u64).ok_or("this program is not mapped")?;
        Ok(Place { offset, action, depth: 0 })
    });
    let library = library_of(File::open("/proc/self/exe")?, places.collect::<Result<Vec<_>, Box<dyn Error>>>()?)?;
    let _link = uprobes.attach(&library)?;
    Ok(round())
}

/// Processor time of this thread.
fn own_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}

/// Nanoseconds of processor time a read, in a new session.
fn round() -> f64 {
    // SAFETY: they do nothing.
    unsafe {
        bench_begin(SESSION);
        let started = own_time();
        for _ in 0..READS_PER_ROUND {
            bench_read(SESSION, REQUEST.as_ptr(), REQUEST.len() as u64);
        }
        (own_time() - started).as_nanos() as f64 / f64::from(READS_PER_ROUND)
    }
}

fn nginx() -> Figures {
    let nginx = Nginx::start_with_https()?;
    let url = nginx.secure_url().ok_or("nginx has no HTTPS")?;
    in_pairs("nginx", &url, "--tls=auto", nginx.workers())
}

fn go() -> Figures {
    if !crate::machine::has_command("go") {
        return Ok(vec![Figure::new("Go: CPU time a request", "us", None).note("go is not installed")]);
    }
    let server = GoServer::start()?;
    in_pairs("Go", &format!("https://127.0.0.1:{}/", server.port), "--tls=auto,go", &[server.child.id()])
}

/// Pairs of windows under wrk, beside an agent that reads the server's TLS and one that does not.
fn in_pairs(name: &str, url: &str, reads: &str, pids: &[u32]) -> Figures {
    let off = || AgentProcess::start_with(&[OsString::from("--tls=off")]);
    let on = || {
        let agent = AgentProcess::start_with(&[OsString::from(reads)])?;
        // From its first tick on, and with a connection that begins then.
        agent.wait_until("overview", |answer| !answer.starts_with("{\"sequence\":0,"))?;
        hello(url)?;
        let is_read = |answer: &str| answer.contains(" sessions read; of ") && !answer.contains("; of 0 living");
        agent.wait_until("overview", is_read)?;
        Ok(agent)
    };
    let window = |agent: &AgentProcess, is_read: bool| {
        let before = time(pids)?;
        let load = Wrk::start(url, WINDOW_SECONDS)?.finish()?;
        let used = time(pids)? - before;
        if is_read {
            agent.wait_until_counted(pids, load.requests)?;
        }
        Ok(used.as_secs_f64() * 1e6 / load.requests as f64)
    };
    let pairs = pairs::beside(PAIRS, off, on, window)?;
    let figure = |what: &str, unit, of: fn(&Pair<f64>) -> f64| {
        Figure::new(format!("{name}: {what}"), unit, Spread::of(pairs.iter().map(of)))
    };
    Ok(vec![
        figure("CPU time a request, TLS not read", "us", |pair| pair.without),
        figure("CPU time a request, TLS read", "us", |pair| pair.with),
        figure("added, pair by pair", "us", |pair| pair.with - pair.without).note(format!("{PAIRS} pairs, {reads}")),
        figure("added, pair by pair", "%", |pair| 100.0 * (pair.with / pair.without - 1.0)),
    ])
}

fn time(pids: &[u32]) -> io::Result<Duration> {
    pids.iter().map(|pid| cpu::time(*pid)).sum()
}

/// Begins a connection in TLS, and says no more.
fn hello(url: &str) -> io::Result<()> {
    let address = url.trim_start_matches("https://").trim_end_matches('/');
    TcpStream::connect(address)?.write_all(&[0x16, 3, 1, 0, 200, 1])
}

/// `net/http` over TLS. Ended when dropped.
struct GoServer {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl GoServer {
    fn start() -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/programs/server.go");
        let (cache, program) = (format!("{}/go", env!("CARGO_TARGET_TMPDIR")), folder.path().join("server"));
        let build = Command::new("go")
            .args(["build", "-o"])
            .arg(&program)
            .arg(source)
            .env("GOCACHE", &cache)
            .env("GOPATH", format!("{cache}/path"))
            .envs([("GO111MODULE", "off"), ("CGO_ENABLED", "0"), ("GOTOOLCHAIN", "local")])
            .output()?;
        if !build.status.success() {
            return Err(format!("go build: {}", String::from_utf8_lossy(&build.stderr)).into());
        }
        let files = certify(folder.path())?;
        let mut child = Command::new(&program)
            .args(files)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        let said = child.stdout.take().map(|output| BufReader::new(output).read_line(&mut line)).transpose();
        let mut server = Self { child, port: 0, _folder: folder };
        said?;
        server.port = line.trim().strip_prefix("listening ").ok_or("the Go server does not listen")?.parse()?;
        Ok(server)
    }
}

impl Drop for GoServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! What happens to the machine while it is counted: clocks that are set, a suspend, processors that go and come, memory
//! that ends.
//!
//! The machine must be the cases' own, so they run in `.ci/kernel`'s alone, which sets `IN_QEMU`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use agent::counting::counts::Pid;
use agent::kernel::memory::{CONNECTION_BYTES, RESERVE_BYTES};
use agent::kernel::{Kernel, ProbeConfig};
use agent::settings::config::probe_of_variables;
use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};

use crate::beside::{Beside, Said};
use crate::lab::{Case, Expected, Lab, here, loopback};
use crate::load::{CONNECTIONS, Slow, busy, ten_thousand_connections};
use crate::streams::GET;

const DAY: i64 = 86_400;
/// So much later the alarm wakes the machine, and so long it must have slept at least.
const SLEEP_SECONDS: u64 = 8;
const SLEPT_SECONDS: i64 = 4;
const ONLINE: &str = "/sys/devices/system/cpu/cpu1/online";

pub fn cases() -> Vec<Case> {
    let case = |name: &str, run: fn(&mut Lab) -> Result<()>| {
        Case::new(name, here(0), move |lab: &mut Lab| {
            if std::env::var_os("IN_QEMU").is_none() {
                let why = "it would be done to this machine, and others use that (see .ci/test-kernels)";
                return Err(io::Error::new(io::ErrorKind::Unsupported, why));
            }
            run(lab).map_err(|error| match error.downcast::<io::Error>() {
                Ok(error) => error,
                Err(error) => io::Error::other(format!("{error:#}")),
            })
        })
    };
    vec![
        case("the wall clock set by days, forth and back", clock_set_by_days),
        case("the wall clock set a hundred times within seconds", clock_set_often),
        case("the machine sleeps, and wakes", suspended),
        case("a processor goes and comes under load", processor_goes_and_comes),
        case("a processor that comes after the probe", processor_comes_later),
        case("sockets of others fill the agent's memory", memory_ends),
    ]
}

// ---- Time ---------------------------------------------------------------------------------------

fn now(clock: ClockId) -> Timespec {
    clock_gettime(clock)
}

/// The wall clock, which is right again afterwards.
struct WallClock {
    /// Seconds since 1970 at the machine's start.
    started: i64,
}

impl WallClock {
    fn new() -> Self {
        Self { started: now(ClockId::Realtime).tv_sec - now(ClockId::Boottime).tv_sec }
    }

    fn is_wrong_by(&self, seconds: i64) -> io::Result<()> {
        let right = self.started + now(ClockId::Boottime).tv_sec;
        Ok(clock_settime(ClockId::Realtime, Timespec { tv_sec: right + seconds, tv_nsec: 0 })?)
    }
}

impl Drop for WallClock {
    fn drop(&mut self) {
        let _ = self.is_wrong_by(0);
    }
}

/// Of the present, by the clock as it is now.
fn is_recent(at: Timestamp) -> bool {
    at.duration_since(Timestamp::now()).abs().as_secs() < DAY / 2
}

/// No more than the client can have sent, and in the order in which Scope wants them.
fn check_samples(said: &Said) -> Result<()> {
    let samples = || said.samples.iter();
    ensure!(samples().is_sorted_by(|a, b| a.at < b.at), "dates do not ascend");
    let highest = samples().map(|sample| sample.rate).fold(0.0, f64::max);
    // A tick's ends are as exact as the machine is quick: a spike would be several times as high.
    ensure!(highest <= Slow::MOST_A_SECOND * 1.5, "{highest} requests a second");
    Ok(())
}

/// The end of a case in which the agent and a slow server worked.
fn check_end(lab: &mut Lab, mut agent: Beside, slow: Slow) -> Result<()> {
    let received = slow.finish()?;
    check_samples(&agent.until(&format!("{received} requests"), |said| said.total == received)?)?;
    ensure!(agent.is_ready()?, "it is ready no more: {}", agent.log());
    let asked = agent.asked;
    let log = agent.finish()?;
    ensure!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
    ensure!(lost_nothing(&log), "{log}");
    lab.expect(Expected { elsewhere: asked, ..here(received) });
    Ok(())
}

/// By the agent's last words. Where a task can be preempted inside the probe the kernel may skip a call of a receive, of any
/// process; that is said, and what the probe's second program did not make good would lack in the count.
fn lost_nothing(log: &str) -> bool {
    let end = log.split_once(" counted; ").map_or("", |(_, end)| end);
    let lost = end.split([';', '\n']).next().unwrap_or_default();
    let skipped = lost.strip_prefix("losses: skipped_calls ").is_some_and(|calls| calls.parse::<u64>().is_ok());
    lost == "nothing was lost" || (skipped && log.contains("preemption held off"))
}

fn clock_set_by_days(lab: &mut Lab) -> Result<()> {
    let clock = WallClock::new();
    let (mut agent, slow) = (Beside::start()?, Slow::start()?);
    let mut total = agent.until("the first requests", |said| said.total > 0)?.total;
    for days in [3, -3, -4, 400, 0] {
        clock.is_wrong_by(days * DAY)?;
        let newest_is_recent = |said: &Said| said.samples.last().is_some_and(|sample| is_recent(sample.at));
        let what = format!("a sample {days} days from now");
        let said = agent.until(&what, |said| newest_is_recent(said) && said.total > total)?;
        check_samples(&said).context(what)?;
        ensure!(said.samples.iter().all(|sample| is_recent(sample.at)), "samples of another time, {days} days");
        total = said.total;
    }
    check_end(lab, agent, slow)
}

fn clock_set_often(lab: &mut Lab) -> Result<()> {
    let clock = WallClock::new();
    let (mut agent, slow) = (Beside::start()?, Slow::start()?);
    let mut total = agent.until("the first requests", |said| said.total > 0)?.total;
    for turn in 0..100 {
        clock.is_wrong_by(if turn % 2 == 0 { DAY } else { -DAY })?;
        if turn % 25 == 0 {
            let said = agent.until("more requests", |said| said.total > total)?;
            check_samples(&said)?;
            total = said.total;
        }
    }
    drop(clock);
    check_end(lab, agent, slow)
}

fn suspended(lab: &mut Lab) -> Result<()> {
    let (mut agent, slow) = (Beside::start()?, Slow::start()?);
    agent.until("the first requests", |said| said.total > 0)?;
    // Which of the others go on depends on the machine.
    let before = now(ClockId::Boottime).tv_sec;
    let alarm = "/sys/class/rtc/rtc0/wakealarm";
    fs::write(alarm, "0").and_then(|()| fs::write(alarm, format!("+{SLEEP_SECONDS}"))).map_err(unsupported)?;
    fs::write("/sys/power/state", "mem").map_err(unsupported)?;
    let slept = now(ClockId::Boottime).tv_sec - before;
    ensure!(slept >= SLEPT_SECONDS, "it slept for {slept} s only");
    let total = agent.said()?.context("it is known no more")?.total;
    check_samples(&agent.until("requests after it", |said| said.total > total)?)?;
    check_end(lab, agent, slow)
}

fn unsupported(error: io::Error) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("this machine cannot do it: {error}"))
}

// ---- Processors ---------------------------------------------------------------------------------

/// The second processor, which is there again afterwards.
struct Processor;

impl Processor {
    fn set(online: &str) -> io::Result<()> {
        fs::write(ONLINE, online).map_err(unsupported)
    }

    fn off() -> io::Result<Self> {
        Self::set("0").map(|()| Self)
    }
}

impl Drop for Processor {
    fn drop(&mut self) {
        let _ = Self::set("1");
    }
}

fn processor_goes_and_comes(lab: &mut Lab) -> Result<()> {
    let mut times = 0;
    busy(lab, |lab| {
        let off = Processor::off()?;
        lab.read()?;
        drop(off);
        lab.read()?;
        times += 1;
        Ok(())
    })?;
    ensure!(times > 1, "it went {times} times only");
    Ok(())
}

fn processor_comes_later(lab: &mut Lab) -> Result<()> {
    const REQUESTS: u64 = 100;
    let off = Processor::off()?;
    let config = probe_of_variables(|name| std::env::var(name).ok());
    let mut late = Kernel::load(ProbeConfig { max_processes: 64, ..config }).map_err(io::Error::other)?;
    drop(off);
    let reading = thread::spawn(|| -> io::Result<()> {
        let mut second = CpuSet::new();
        second.set(1);
        sched_setaffinity(None, &second)?;
        for _ in 0..REQUESTS {
            let (mut client, mut server) = loopback()?;
            io::Write::write_all(&mut client, GET.as_bytes())?;
            io::Read::read_exact(&mut server, &mut [0; GET.len()])?;
        }
        Ok(())
    });
    reading.join().expect("the reader does not panic")?;
    let own = Some(Pid(std::process::id()));
    let read = late.read_all(Duration::ZERO)?;
    let of_own = read.processes.iter().find(|process| process.pid == own);
    let counted = of_own.map(|process| process.counts.requests.iter().sum::<u64>());
    ensure!(counted == Some(REQUESTS), "{counted:?} of {REQUESTS} requests");
    lab.expect(here(REQUESTS));
    Ok(())
}

// ---- Memory -------------------------------------------------------------------------------------

/// A cgroup with a limit of memory, which is gone afterwards.
struct Limited(PathBuf);

impl Limited {
    const ROOT: &str = "/sys/fs/cgroup";

    fn new(bytes: u64) -> io::Result<Self> {
        let root = Path::new(Self::ROOT);
        fs::write(root.join("cgroup.subtree_control"), "+memory").map_err(unsupported)?;
        let limited = Self(root.join("cases-limited"));
        fs::create_dir(&limited.0)?;
        limited.limit(bytes)?;
        Ok(limited)
    }

    fn limit(&self, bytes: u64) -> io::Result<()> {
        fs::write(self.0.join("memory.max"), bytes.to_string())
    }

    fn used(&self) -> Result<u64> {
        Ok(fs::read_to_string(self.0.join("memory.current"))?.trim().parse()?)
    }

    /// The most it has used, where the kernel knows (Linux 5.19).
    fn peak(&self) -> Option<u64> {
        fs::read_to_string(self.0.join("memory.peak")).ok()?.trim().parse().ok()
    }

    fn killed(&self) -> Result<u64> {
        let events = fs::read_to_string(self.0.join("memory.events"))?;
        let killed = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        Ok(killed.context("no oom_kill")?.parse()?)
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        // The kernel may still be busy with the end of its last process.
        while fs::remove_dir(&self.0).is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy) {}
        let _ = fs::write(Path::new(Self::ROOT).join("cgroup.subtree_control"), "-memory");
    }
}

/// The least limit that the docs name is enough to start; then there is room for a tenth of the connections that come.
fn memory_ends(lab: &mut Lab) -> Result<()> {
    const LEAST: u64 = 96 << 20;
    const ROOM: u64 = CONNECTIONS as u64 / 10;
    let limited = Limited::new(LEAST)?;
    let mut agent = Beside::start_in(&limited.0.display().to_string())?;
    if let Some(peak) = limited.peak() {
        println!("note: a start took {} MiB at most, and then {}", peak >> 20, limited.used()? >> 20);
    }
    let slow = Slow::start()?;
    limited.limit(limited.used()? + RESERVE_BYTES + ROOM * CONNECTION_BYTES)?;
    // It looks at the limit at each tick. At the second from now it has.
    for _ in 0..2 {
        let total = agent.said()?.map_or(0, |said| said.total);
        agent.until("a tick", |said| said.total > total)?;
    }
    ten_thousand_connections()?;
    let received = slow.finish()?;
    ensure!(agent.is_ready()?, "it is ready no more");
    let (asked, killed) = (agent.asked, limited.killed()?);
    let log = agent.finish()?;
    ensure!(killed == 0, "{killed} processes were killed");
    let lost = log.rsplit_once("storage_full ").context("storage_full is not said")?.1;
    let lost: u64 = lost.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default().parse()?;
    // Each is read from twice, and may be without room both times.
    ensure!((1..=2 * CONNECTIONS as u64).contains(&lost), "{lost} reads without room");
    lab.expect(Expected { elsewhere: asked, ..here(received + 2 * CONNECTIONS as u64) });
    Ok(())
}

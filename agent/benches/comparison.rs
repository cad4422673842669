//! The probe beside others: nginx under wrk, one of them at a time, in rounds.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use agent::counting::counts::Pid;
use agent::kernel::{Attached, Comparison, Kernel, ProgramStatistics, StandIn};
use agent::settings::config::probe_of_variables;
use aya::maps::{MapData, RingBuf};
use aya::sys::{Stats, enable_stats};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};

use crate::Figures;
use crate::nginx::Nginx;
use crate::receive::PerCall;
use crate::record;
use crate::spread::Spread;
use crate::table::Figure;
use crate::wrk::Wrk;

const ROUNDS: usize = 7;
/// Of a run that is kept.
const RECORDED_ROUNDS: usize = 20;
const WINDOW_SECONDS: u64 = 1;
/// The part of a window in which CPU time is taken. Run times are taken in the rest: the kernel takes longer while it
/// measures them.
const CPU_TIME: Duration = Duration::from_millis(600);
/// How long the reader of events waits before it looks whether it is to end.
const READER_PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Who counts during a window.
#[derive(Clone, Copy)]
enum Contender {
    Nobody,
    Probe,
    StandIn(StandIn),
}

const CONTENDERS: [(Contender, &str); 7] = [
    (Contender::Nobody, "nobody"),
    (Contender::Probe, "this probe"),
    (Contender::StandIn(StandIn::EmptyAtCopy), "an empty program, same hook"),
    (Contender::StandIn(StandIn::LinearPart), "method in the linear part, same hook"),
    (Contender::StandIn(StandIn::EventPerRequest), "an event a request, same hook"),
    (Contender::StandIn(StandIn::EmptyAtEnd), "an empty program, end of receive"),
    (Contender::StandIn(StandIn::UserMemory), "method in user memory, end of receive"),
];

/// What was seen in one window.
struct Window {
    /// Nanoseconds of nginx's processor time.
    time_per_request: f64,
    /// Of the contender's program and of the empty one on its hook.
    calls: Option<(f64, f64)>,
    counted: u64,
    served: u64,
    /// Processor time of who reads the events.
    reader: Duration,
}

/// A contender at work.
enum Running {
    Nobody,
    Probe(Box<Kernel>),
    StandIn { _attached: Attached },
}

struct Field {
    nginx: Nginx,
    comparison: Comparison,
    events: RingBuf<MapData>,
}

pub(crate) fn measure() -> Figures {
    let mut comparison = Comparison::load()?;
    let events = comparison.take_events()?;
    let mut field = Field { nginx: Nginx::start()?, comparison, events };
    let rounds = if record::is_asked() { RECORDED_ROUNDS } else { ROUNDS };
    let mut windows: Vec<Vec<Window>> = CONTENDERS.iter().map(|_| Vec::with_capacity(rounds)).collect();
    window(&mut field, Contender::Nobody)?; // Caches and clock rates settle.
    for round in 0..rounds {
        for turn in 0..CONTENDERS.len() {
            // Whose neighbour is busy changes from round to round.
            let index = (round + turn) % CONTENDERS.len();
            windows[index].push(window(&mut field, CONTENDERS[index].0)?);
        }
    }
    let (nobody, others) = windows.split_first().ok_or("no contenders")?;
    let times = nobody.iter().map(|window| window.time_per_request / 1e3);
    let mut figures = vec![
        Figure::new("nginx's CPU time a request, nobody counting", "us", Spread::of(times))
            .note(format!("{rounds} rounds")),
    ];
    for ((contender, name), windows) in CONTENDERS[1..].iter().zip(others) {
        figures.extend(figures_of(*contender, name, windows, nobody));
    }
    Ok(figures)
}

fn figures_of(contender: Contender, name: &str, windows: &[Window], nobody: &[Window]) -> Vec<Figure> {
    let is_floor = matches!(contender, Contender::StandIn(of) if of.floor() == of);
    let calls: Vec<_> = windows.iter().filter_map(|window| window.calls).collect();
    let of_calls = |value: fn(&(f64, f64)) -> f64| Spread::of(calls.iter().map(value));
    let call = if is_floor {
        Figure::new(format!("{name}: a call"), "ns", of_calls(|(own, _)| *own)).note("the floor")
    } else {
        let median = |value| of_calls(value).map_or(0.0, |spread: Spread| spread.median);
        Figure::new(format!("{name}: a call"), "ns", of_calls(|(own, floor)| own - floor)).note(format!(
            "{:.0} - {:.0}",
            median(|(own, _)| *own),
            median(|(_, floor)| *floor)
        ))
    };
    let added = windows.iter().zip(nobody).map(|(own, nobody)| own.time_per_request - nobody.time_per_request);
    let mut figures =
        vec![call, Figure::new(format!("{name}: nginx"), "ns", Spread::of(added)).note("added to a request")];
    if is_floor {
        return figures;
    }
    let sum = |of: fn(&Window) -> u64| windows.iter().map(of).sum::<u64>();
    let (counted, served) = (sum(|window| window.counted), sum(|window| window.served));
    let percent = 100.0 * counted as f64 / served as f64;
    figures.push(
        Figure::once(format!("{name}: counted"), "%", percent)
            .note(format!("{counted} of the {served} that nginx served")),
    );
    if matches!(contender, Contender::StandIn(StandIn::EventPerRequest)) {
        let reader = windows.iter().map(|window| window.reader.as_nanos() as f64 / window.served as f64);
        figures.push(Figure::new(format!("{name}: its reader"), "ns", Spread::of(reader)).note("a request"));
    }
    figures
}

fn window(field: &mut Field, contender: Contender) -> Result<Window, Box<dyn Error>> {
    let Field { nginx, comparison, events } = field;
    // What came after the last window.
    while events.next().is_some() {}
    let before = (nginx.served_at_rest()?, counted_in_kernel(comparison, nginx)?);
    let running = contender.start(comparison)?;
    let done = AtomicBool::new(false);
    let (seen, read) = thread::scope(|scope| {
        let is_reader = matches!(contender, Contender::StandIn(StandIn::EventPerRequest));
        let reader = is_reader.then(|| scope.spawn(|| read_events(events, &done)));
        let seen = under_load(nginx, comparison, contender, &running);
        // The reader drains what there is once it is told so.
        done.store(true, Ordering::Release);
        let read = reader.map(|reader| reader.join().expect("the reader does not panic")).transpose();
        (seen, read)
    });
    let (time_per_request, calls, after) = seen?;
    let (events, reader) = read?.unwrap_or_default();
    let counted = match running {
        Running::Nobody => 0,
        Running::Probe(kernel) => counted_by_probe(*kernel, nginx)?,
        Running::StandIn { .. } => {
            let by_events: u64 = nginx.workers().iter().filter_map(|worker| events.get(worker)).sum();
            by_events + counted_in_kernel(comparison, nginx)? - before.1
        }
    };
    Ok(Window { time_per_request, calls, counted, served: after - before.0, reader })
}

/// CPU time of a request, nanoseconds of a call and of an empty one, and what nginx has served at the end.
type Seen = (f64, Option<(f64, f64)>, u64);

fn under_load(
    nginx: &Nginx,
    comparison: &mut Comparison,
    contender: Contender,
    running: &Running,
) -> Result<Seen, Box<dyn Error>> {
    let wrk = Wrk::start(&nginx.url(), WINDOW_SECONDS)?;
    let before = (nginx.time()?, nginx.served()?);
    thread::sleep(CPU_TIME);
    let after = (nginx.time()?, nginx.served()?);
    let time_per_request = (after.0 - before.0).as_nanos() as f64 / (after.1 - before.1) as f64;
    let calls = match contender {
        Contender::Nobody => {
            wrk.finish()?;
            None
        }
        _ => Some(run_times(comparison, contender, running, wrk)?),
    };
    Ok((time_per_request, calls, nginx.served_at_rest()?))
}

/// Nanoseconds of a call until wrk ends, of the contender and of an empty program on the same hook.
fn run_times(
    comparison: &mut Comparison,
    contender: Contender,
    running: &Running,
    wrk: Wrk,
) -> Result<(f64, f64), Box<dyn Error>> {
    let stand_in = match contender {
        Contender::StandIn(stand_in) => stand_in,
        _ => StandIn::EmptyAtCopy,
    };
    let floor = stand_in.floor();
    let _attached =
        (!matches!(contender, Contender::StandIn(of) if of == floor)).then(|| comparison.attach(floor)).transpose()?;
    let statistics = || -> io::Result<(ProgramStatistics, ProgramStatistics)> {
        let own = match running {
            Running::Probe(kernel) => kernel.program_statistics()?,
            _ => comparison.program_statistics(stand_in)?,
        };
        Ok((own, comparison.program_statistics(floor)?))
    };
    let before = statistics()?;
    let measured = enable_stats(Stats::RunTime)?;
    wrk.finish()?;
    drop(measured);
    let after = statistics()?;
    Ok((PerCall::between(before.0, after.0).nanoseconds, PerCall::between(before.1, after.1).nanoseconds))
}

impl Contender {
    fn start(self, comparison: &mut Comparison) -> Result<Running, Box<dyn Error>> {
        Ok(match self {
            Self::Nobody => Running::Nobody,
            Self::Probe => {
                let config = probe_of_variables(|name| std::env::var(name).ok());
                Running::Probe(Box::new(Kernel::load(config)?))
            }
            Self::StandIn(stand_in) => Running::StandIn { _attached: comparison.attach(stand_in)? },
        })
    }
}

fn counted_by_probe(mut kernel: Kernel, nginx: &Nginx) -> io::Result<u64> {
    let reading = kernel.read_all(Duration::ZERO)?;
    let is_worker = |pid: Option<Pid>| pid.is_some_and(|Pid(pid)| nginx.workers().contains(&pid));
    let workers = reading.processes.iter().filter(|process| is_worker(process.pid));
    Ok(workers.map(|process| process.counts.requests.iter().sum::<u64>()).sum())
}

fn counted_in_kernel(comparison: &Comparison, nginx: &Nginx) -> io::Result<u64> {
    nginx.workers().iter().map(|worker| comparison.counted(*worker)).sum()
}

/// Events by process until `done`, and the processor time that reading them took.
fn read_events(events: &mut RingBuf<MapData>, done: &AtomicBool) -> io::Result<(HashMap<u32, u64>, Duration)> {
    let mut counts = HashMap::new();
    loop {
        let ends = done.load(Ordering::Acquire);
        while let Some(event) = events.next() {
            let process = event.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
            *counts.entry(process).or_insert(0) += 1;
        }
        if ends {
            break;
        }
        poll(&mut [PollFd::new(&*events, PollFlags::IN)], Some(&READER_PATIENCE))?;
    }
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Ok((counts, Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)))
}

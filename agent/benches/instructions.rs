//! How many instructions the probe executes a receive, and how many the verifier looks at: figures that repeat exactly.
//!
//! `.ci/instructions` runs this twice. `measure`, inside an emulated machine in which an instruction takes one
//! nanosecond: there the run time that the kernel notes of a program is a count. `compare ENTRY`, outside: it reads what
//! was measured and fails if something grew beyond what docs/instructions.json says of that entry; `update ENTRY`
//! writes it there.

#[expect(dead_code, reason = "the figures in nanoseconds have aims")]
mod cases;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::io::{self, Read as _};
use std::process::ExitCode;

use agent::kernel::{Comparison, Kernel, ProbeConfig, ProgramStatistics, ResponseChoice, SendHook, Sends, StandIn};
use agent::settings::config::probe_of_variables;
use aya::sys::{Stats, enable_stats};
use cases::Case;
use serde::{Deserialize, Serialize};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/instructions.json");
const MAX_GROWTH_PERCENT: f64 = 5.0;
/// Odd, so that one of them is the median. Interrupts fall into some.
const EXCHANGES: usize = 101;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Figures of one kernel, by hook.
#[derive(Serialize, Deserialize)]
struct Instructions {
    kernel: String,
    /// By the verifier, once.
    verified: u64,
    /// By a receive, less those of an empty program on the same hook.
    executed: BTreeMap<String, u64>,
    /// Where responses are counted: by the verifier, in each program.
    #[serde(default)]
    verified_with_responses: BTreeMap<String, u64>,
    /// And executed: by all receives and all sends of an exchange, less those of empty programs.
    #[serde(default)]
    executed_with_responses: BTreeMap<String, u64>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["measure"] => print_measured(),
        ["compare", entry] => compare(entry),
        ["update", entry] => update(entry),
        _ => Err("usage: measure | compare ENTRY | update ENTRY".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn print_measured() -> Result<()> {
    println!("{}", serde_json::to_string(&measure()?)?);
    Ok(())
}

fn measure() -> Result<Instructions> {
    let config = probe_of_variables(|name| std::env::var(name).ok());
    let load = |responses| Kernel::load(ProbeConfig { responses, ..config });
    let kernel = load(ResponseChoice::Off)?;
    let mut comparison = Comparison::load()?;
    let _attached = comparison.attach(StandIn::EmptyAtCopy)?;
    let _statistics = enable_stats(Stats::RunTime)?;
    let mut executed = BTreeMap::new();
    for mut case in cases::all()? {
        let look = || -> io::Result<_> {
            Ok([(kernel.program_statistics()?, comparison.program_statistics(StandIn::EmptyAtCopy)?)])
        };
        if let Some(instructions) = executed_by(look, Some(1), &mut case)? {
            executed.insert(case.name.to_owned(), instructions);
        }
    }
    let verified = kernel.program_statistics()?.verified_instructions.into();
    drop(kernel);
    let kernel = load(ResponseChoice::Auto)?;
    let mut verified_with_responses = BTreeMap::new();
    let mut executed_with_responses = BTreeMap::new();
    if matches!(kernel.sends(), Sends::Counted(_)) {
        verified_with_responses.insert("receive".to_owned(), kernel.program_statistics()?.verified_instructions.into());
        verified_with_responses
            .extend(kernel.verified_for_responses().into_iter().map(|(name, count)| (name.to_owned(), count.into())));
    }
    // Only the tracepoint has a place for an empty program.
    if matches!(kernel.sends(), Sends::Counted(SendHook::Tracepoint)) {
        let _attached = comparison.attach(StandIn::EmptyAtSend)?;
        let look = || -> io::Result<_> {
            let sends = kernel.send_statistics()?.unwrap_or_default();
            let receives = (kernel.program_statistics()?, comparison.program_statistics(StandIn::EmptyAtCopy)?);
            Ok([receives, (sends, comparison.program_statistics(StandIn::EmptyAtSend)?)])
        };
        for mut case in cases::answers()?.into_iter().filter(|case| !case.name.contains("MiB")) {
            if let Some(instructions) = executed_by(look, None, &mut case)? {
                executed_with_responses.insert(case.name.to_owned(), instructions);
            }
        }
    }
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
    Ok(Instructions { kernel, verified, executed, verified_with_responses, executed_with_responses })
}

/// The median of many exchanges, each of so many `calls` (if that is known) on every hook that `look` looks at, by the probe
/// and by an empty program; `None` where the hook is not called.
fn executed_by<const HOOKS: usize>(
    look: impl Fn() -> io::Result<[(ProgramStatistics, ProgramStatistics); HOOKS]>,
    calls: Option<u64>,
    case: &mut Case,
) -> Result<Option<u64>> {
    let mut executed: Vec<[(u64, u64); HOOKS]> = Vec::with_capacity(EXCHANGES);
    for _ in 0..EXCHANGES {
        let before = look()?;
        (case.exchange)()?;
        let after = look()?;
        let hooks = || before.iter().zip(&after);
        let undisturbed = hooks().all(|(before, after)| {
            let runs = after.0.runs - before.0.runs;
            runs == after.1.runs - before.1.runs && calls.is_none_or(|calls| calls == runs)
        });
        if undisturbed {
            let took = |before: ProgramStatistics, after: ProgramStatistics| after.run_time_ns - before.run_time_ns;
            let mut hooks = hooks().map(|(before, after)| (took(before.0, after.0), took(before.1, after.1)));
            executed.push(std::array::from_fn(|_| hooks.next().unwrap_or_default()));
        }
    }
    if executed.is_empty() {
        return Ok(None);
    }
    let median = |mut numbers: Vec<u64>| {
        numbers.sort_unstable();
        numbers[numbers.len() / 2]
    };
    let net = |hook: usize| {
        let own = median(executed.iter().map(|hooks| hooks[hook].0).collect());
        own.saturating_sub(median(executed.iter().map(|hooks| hooks[hook].1).collect()))
    };
    Ok(Some((0..HOOKS).map(net).sum()))
}

/// What was measured: the last line of the input.
fn measured() -> Result<Instructions> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    Ok(serde_json::from_str(text.trim_end().lines().next_back().unwrap_or_default())?)
}

fn data() -> Result<BTreeMap<String, Instructions>> {
    Ok(serde_json::from_str(&fs::read_to_string(DATA)?)?)
}

fn update(entry: &str) -> Result<()> {
    let mut data = data()?;
    data.insert(entry.to_owned(), measured()?);
    Ok(fs::write(DATA, serde_json::to_string_pretty(&data)? + "\n")?)
}

fn compare(entry: &str) -> Result<()> {
    let (now, mut data) = (measured()?, data()?);
    let stored = data.remove(entry).ok_or_else(|| format!("docs/instructions.json has no entry {entry}"))?;
    println!("{:44} {:>9} {:>9} {:>8}", format!("{entry}: Linux {}", now.kernel), "stored", "now", "growth");
    let mut faults = 0;
    let mut lines = |title: &str, stored: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>| {
        let names: BTreeSet<&String> = stored.keys().chain(now.keys()).collect();
        for name in names {
            faults += line(&format!("{name}{title}"), stored.get(name), now.get(name));
        }
    };
    lines("", &stored.executed, &now.executed);
    lines(", answered", &stored.executed_with_responses, &now.executed_with_responses);
    lines(": verified, with responses", &stored.verified_with_responses, &now.verified_with_responses);
    faults += line("verified", Some(&stored.verified), Some(&now.verified));
    if faults == 0 {
        return Ok(());
    }
    let kernel = if now.kernel == stored.kernel { String::new() } else { format!(" (stored on {})", stored.kernel) };
    Err(format!(
        "{faults} of these instruction counts grew by more than {MAX_GROWTH_PERCENT} %{kernel}. If that is meant, run \
         `.ci/instructions --update {entry}` and commit docs/instructions.json with the change that causes it, and with \
         the reason"
    )
    .into())
}

/// One line of the table; how many faults there are in it.
fn line(name: &str, stored: Option<&u64>, now: Option<&u64>) -> usize {
    let number = |count: Option<&u64>| count.map_or_else(|| "-".to_owned(), u64::to_string);
    let growth = stored.zip(now).map(|(stored, now)| 100.0 * (*now as f64 / *stored as f64 - 1.0));
    let is_fault = growth.is_none_or(|growth| growth > MAX_GROWTH_PERCENT);
    let percent = growth.map_or_else(|| "-".to_owned(), |growth| format!("{growth:+.1} %"));
    let verdict = if is_fault { "TOO MUCH" } else { "" };
    let line = format!("  {name:42} {:>9} {:>9} {percent:>8}  {verdict}", number(stored), number(now));
    println!("{}", line.trim_end());
    is_fault.into()
}

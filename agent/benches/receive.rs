//! What the probe costs a receive: nanoseconds a call, less those of an empty program on the same
//! hook that runs for the same receives.

use std::io;

use agent::kernel::{Comparison, Kernel, ProbeConfig, ProgramStatistics, ResponseChoice, StandIn};
use agent::settings::config::probe_of_variables;
use aya::sys::{Stats, enable_stats};

use crate::Figures;
use crate::cases::{self, Case};
use crate::nginx::Nginx;
use crate::spread::Spread;
use crate::table::Figure;
use crate::wrk::Wrk;

const RECEIVES_PER_ROUND: u32 = 4000;
const ROUNDS: usize = 41;
/// Rounds of a second each under real load.
const LOADED_ROUNDS: usize = 5;
/// The kernel's statistics know no process: a round in which others received more than this part
/// of all is left out, if there are enough without.
const FOREIGN: f64 = 0.02;
const ENOUGH_ROUNDS: usize = 9;
/// Above this the build is to be failed (see docs/performance.md).
const MAX_VERIFIED_INSTRUCTIONS: f64 = 150_000.0;

/// What both programs took in one round of one case.
struct Round {
    probe: PerCall,
    empty: PerCall,
}

/// What one program took.
pub(crate) struct PerCall {
    pub(crate) calls: u64,
    pub(crate) nanoseconds: f64,
}

pub(crate) fn measure() -> Figures {
    let config = probe_of_variables(|name| std::env::var(name).ok());
    // What responses add is a section of its own.
    let kernel = Kernel::load(ProbeConfig { responses: ResponseChoice::Off, ..config })?;
    let mut comparison = Comparison::load()?;
    let _attached = comparison.attach(StandIn::EmptyAtCopy)?;
    // The kernel counts as long as this is open. Unlike kernel.bpf_stats_enabled it needs no
    // restoring, however this process ends.
    let _statistics = enable_stats(Stats::RunTime)?;
    let mut cases = cases::all()?;
    let mut rounds: Vec<Vec<Round>> = cases.iter().map(|_| Vec::with_capacity(ROUNDS)).collect();
    for _ in 0..ROUNDS {
        for (case, rounds) in cases.iter_mut().zip(&mut rounds) {
            rounds.push(round(&kernel, &comparison, case)?);
        }
    }
    let mut figures: Vec<Figure> = cases.iter().zip(&rounds).map(|(case, rounds)| figure(case, rounds)).collect();
    if crate::missing_for_load().is_none() {
        figures.push(under_load(&kernel, &comparison)?);
    }
    let verified = kernel.program_statistics()?.verified_instructions;
    figures.push(
        Figure::once("instructions that the verifier looked at", "", verified.into())
            .at_most(MAX_VERIFIED_INSTRUCTIONS)
            .note("repeats exactly on one kernel"),
    );
    Ok(figures)
}

/// A loop of one exchange keeps everything in the processor's caches. Here two programs contend for
/// them.
fn under_load(kernel: &Kernel, comparison: &Comparison) -> io::Result<Figure> {
    let nginx = Nginx::start()?;
    let mut nets = Vec::with_capacity(LOADED_ROUNDS);
    for _ in 0..LOADED_ROUNDS {
        let round = observe(kernel, comparison, || Wrk::start(&nginx.url(), 1)?.finish().map(drop))?;
        nets.push(round.probe.nanoseconds - round.empty.nanoseconds);
    }
    Ok(Figure::new("nginx under wrk, a receive of either", "ns", Spread::of(nets))
        .note("half of them wrk's, of responses"))
}

fn round(kernel: &Kernel, comparison: &Comparison, case: &mut Case) -> io::Result<Round> {
    observe(kernel, comparison, || (0..RECEIVES_PER_ROUND).try_for_each(|_| (case.exchange)()))
}

fn observe(kernel: &Kernel, comparison: &Comparison, receive: impl FnOnce() -> io::Result<()>) -> io::Result<Round> {
    let before = (kernel.program_statistics()?, comparison.program_statistics(StandIn::EmptyAtCopy)?);
    receive()?;
    let after = (kernel.program_statistics()?, comparison.program_statistics(StandIn::EmptyAtCopy)?);
    Ok(Round { probe: PerCall::between(before.0, after.0), empty: PerCall::between(before.1, after.1) })
}

impl PerCall {
    pub(crate) fn between(before: ProgramStatistics, after: ProgramStatistics) -> Self {
        let calls = after.runs - before.runs;
        let nanoseconds = (after.run_time_ns - before.run_time_ns) as f64 / calls.max(1) as f64;
        Self { calls, nanoseconds }
    }
}

fn figure(case: &Case, rounds: &[Round]) -> Figure {
    let receives = f64::from(RECEIVES_PER_ROUND);
    let undisturbed = |round: &&Round| (round.probe.calls as f64 / receives - 1.0).abs() <= FOREIGN;
    let kept: Vec<&Round> = rounds.iter().filter(undisturbed).collect();
    let calls = Spread::of(rounds.iter().map(|round| round.probe.calls as f64 / receives));
    let calls = calls.map_or(0.0, |calls| calls.median);
    if calls < 0.5 {
        return Figure::new(case.name, "ns", None).note("0 calls: this kernel copies it without the hook");
    }
    let (kept, disturbed) = if kept.len() >= ENOUGH_ROUNDS { (kept, false) } else { (rounds.iter().collect(), true) };
    let median = |of: fn(&Round) -> f64| Spread::of(kept.iter().map(|round| of(round))).map_or(0.0, |all| all.median);
    let (probe, empty) = (median(|round| round.probe.nanoseconds), median(|round| round.empty.nanoseconds));
    let net = Spread::of(kept.iter().map(|round| round.probe.nanoseconds - round.empty.nanoseconds));
    let disturbance = if disturbed { format!("; {calls:.2} calls a receive") } else { String::new() };
    let figure = Figure::new(case.name, "ns", net)
        .note(format!("{probe:.0} - {empty:.0}, {} of {ROUNDS} rounds{disturbance}", kept.len()));
    match case.aim {
        Some(aim) => figure.at_most(aim),
        None => figure,
    }
}

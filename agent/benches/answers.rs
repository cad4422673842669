//! What responses cost: nanoseconds a send, less those of an empty program on the same hook, and what they add to the
//! receive of a request.

use std::io;

use agent::counting::tick::Probe as _;
use agent::kernel::{Comparison, Kernel, ProbeConfig, ProgramStatistics, ResponseChoice, StandIn};
use agent::settings::config::probe_of_variables;
use aya::sys::{Stats, enable_stats};

use crate::Figures;
use crate::cases::{self, Case};
use crate::receive::PerCall;
use crate::spread::Spread;
use crate::table::Figure;

const EXCHANGES_PER_ROUND: u32 = 2000;
/// A MiB each.
const LARGE_PER_ROUND: u32 = 20;
const ROUNDS: usize = 21;

pub(crate) fn measure() -> Figures {
    let config = probe_of_variables(|name| std::env::var(name).ok());
    let load = |responses| Kernel::load(ProbeConfig { responses, ..config });
    let (without, with) = (load(ResponseChoice::Off)?, load(ResponseChoice::Auto)?);
    if with.send_statistics()?.is_none() {
        return Ok(vec![Figure::new("a send", "ns", None).note(format!("responses {}", with.responses()))]);
    }
    let mut comparison = Comparison::load()?;
    // Only the tracepoint has a place for an empty program.
    let _attached = comparison.attach(StandIn::EmptyAtSend)?;
    let _statistics = enable_stats(Stats::RunTime)?;
    let mut figures = Vec::new();
    let mut unserved = 0.0;
    for mut case in cases::answers()? {
        let rounds = (0..ROUNDS).map(|_| round([&without, &with], &comparison, &mut case));
        let rounds = rounds.collect::<io::Result<Vec<_>>>()?;
        let is_large = case.name.contains("MiB");
        let is_served = unserved != 0.0;
        // All calls are the server's, but one of the client's that sends the request.
        let net = |round: &Round| {
            let calls = round.sends.calls as f64 / f64::from(round.exchanges);
            let answering = (calls - f64::from(u8::from(is_served))).max(1.0);
            let all =
                (round.sends.nanoseconds - round.empty.nanoseconds) * calls - if is_served { unserved } else { 0.0 };
            if is_large { all / answering } else { all }
        };
        let nets = Spread::of(rounds.iter().map(net));
        let calls = Spread::of(rounds.iter().map(|round| round.sends.calls as f64 / f64::from(round.exchanges)));
        let calls = calls.map_or(0.0, |calls| calls.median);
        if !is_served {
            unserved = nets.map_or(0.0, |net| net.median);
        }
        let figure = Figure::new(case.name, "ns", nets).note(format!("{calls:.1} calls an exchange"));
        figures.push(match case.aim {
            Some(aim) => figure.at_most(aim),
            None => figure,
        });
        if is_served && !is_large {
            let added = |round: &Round| (round.with.nanoseconds - round.without.nanoseconds) * 2.0;
            let name = format!("{}: added to its receives", case.name);
            figures.push(
                Figure::new(name, "ns", Spread::of(rounds.iter().map(added))).at_most(80.0).note("a pair of probes"),
            );
        }
    }
    for (name, count) in with.verified_for_responses() {
        figures.push(Figure::once(format!("instructions that the verifier looked at in {name}"), "", f64::from(count)));
    }
    Ok(figures)
}

/// What a round of exchanges took in each program.
struct Round {
    exchanges: u32,
    sends: PerCall,
    empty: PerCall,
    /// Receives, by the probe that counts requests only.
    without: PerCall,
    /// By the one that counts responses too.
    with: PerCall,
}

fn round([without, with]: [&Kernel; 2], comparison: &Comparison, case: &mut Case) -> io::Result<Round> {
    let exchanges = if case.name.contains("MiB") { LARGE_PER_ROUND } else { EXCHANGES_PER_ROUND };
    let look = || -> io::Result<[ProgramStatistics; 4]> {
        let sends = with.send_statistics()?.ok_or_else(|| io::Error::other("responses are not counted"))?;
        let empty = comparison.program_statistics(StandIn::EmptyAtSend)?;
        Ok([sends, empty, without.program_statistics()?, with.program_statistics()?])
    };
    let before = look()?;
    (0..exchanges).try_for_each(|_| (case.exchange)())?;
    let after = look()?;
    let mut calls = before.into_iter().zip(after).map(|(before, after)| PerCall::between(before, after));
    let mut next = || calls.next().ok_or_else(|| io::Error::other("four programs"));
    Ok(Round { exchanges, sends: next()?, empty: next()?, without: next()?, with: next()? })
}

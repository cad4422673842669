//! What responses cost: nanoseconds a send, less those of an empty program on the same hook, and what they add to the
//! receive of a request.

use std::error::Error;
use std::io;

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
/// Where the kernel puts a program's code makes a response up to a third dearer, and in a machine without other programs it is the same
/// place each time: it is measured in several.
const PLACES: usize = 3;

/// Beside the probe that counts responses, one that does not.
#[derive(Clone, Copy)]
enum Beside {
    Nothing,
    First,
    Second,
}

pub(crate) fn measure() -> Figures {
    // Sends are measured without another probe, as they are where an agent runs. Of receives, the probe that comes second finds in the
    // caches what the first one brought there: each is that once, and then compared.
    let [Some(alone), Some(one), Some(other)] = rounds()? else {
        return Ok(vec![Figure::new("a send", "ns", None).note("responses are not counted here")]);
    };
    let mut figures = Vec::new();
    let mut unserved = 0.0;
    for (alone, (one, other)) in alone.cases.into_iter().zip(one.cases.into_iter().zip(other.cases)) {
        let is_large = alone.name.contains("MiB");
        let is_served = unserved != 0.0;
        // All calls are the server's, but one of the client's that sends the request.
        let net = |round: &Round| {
            let calls = round.calls();
            let answering = (calls - f64::from(u8::from(is_served))).max(1.0);
            let all =
                (round.sends.nanoseconds - round.empty.nanoseconds) * calls - if is_served { unserved } else { 0.0 };
            if is_large { all / answering } else { all }
        };
        let nets = Spread::of(alone.rounds.iter().map(net));
        let calls = Spread::of(alone.rounds.iter().map(Round::calls)).map_or(0.0, |calls| calls.median);
        if !is_served {
            unserved = nets.map_or(0.0, |net| net.median);
        }
        let figure = Figure::new(alone.name, "ns", nets).note(format!("{calls:.1} calls an exchange"));
        figures.push(match alone.aim {
            Some(aim) => figure.at_most(aim),
            None => figure,
        });
        if is_served && !is_large {
            let rounds = one.rounds.iter().zip(&other.rounds);
            let added = rounds.map(|(one, other)| 2.0 * (one.with.nanoseconds - other.without.nanoseconds));
            let name = format!("{}: added to its receives", alone.name);
            figures.push(
                Figure::new(name, "ns", Spread::of(added)).at_most(80.0).note("two probes, each behind the other"),
            );
        }
    }
    for (name, count) in alone.verified {
        figures.push(Figure::once(format!("instructions that the verifier looked at in {name}"), "", f64::from(count)));
    }
    Ok(figures)
}

/// What was measured with one of those.
struct Measured {
    cases: Vec<Rounds>,
    verified: Vec<(&'static str, u32)>,
}

struct Rounds {
    name: &'static str,
    aim: Option<f64>,
    rounds: Vec<Round>,
}

impl Measured {
    fn append(&mut self, other: Self) {
        self.cases.iter_mut().zip(other.cases).for_each(|(case, other)| case.rounds.extend(other.rounds));
    }
}

/// Alone, and as the first and the second of two; `None` where responses are not counted.
fn rounds() -> Result<[Option<Measured>; 3], Box<dyn Error>> {
    let mut all: [Option<Measured>; 3] = [None, None, None];
    for place in 0..PLACES {
        for (all, beside) in all.iter_mut().zip([Beside::Nothing, Beside::First, Beside::Second]) {
            match (&mut *all, rounds_in(place, beside)?) {
                (Some(all), Some(here)) => all.append(here),
                (_, here) => *all = here,
            }
        }
    }
    Ok(all)
}

/// Behind `place` probes, which are gone when it is measured.
fn rounds_in(place: usize, beside: Beside) -> Result<Option<Measured>, Box<dyn Error>> {
    let config = probe_of_variables(|name| std::env::var(name).ok());
    let load = |responses| Kernel::load(ProbeConfig { responses, ..config });
    let before = (0..place).map(|_| load(ResponseChoice::Off)).collect::<Result<Vec<_>, _>>()?;
    let (without, with) = match beside {
        Beside::Nothing => (None, load(ResponseChoice::Auto)?),
        Beside::First => (Some(load(ResponseChoice::Off)?), load(ResponseChoice::Auto)?),
        Beside::Second => {
            let with = load(ResponseChoice::Auto)?;
            (Some(load(ResponseChoice::Off)?), with)
        }
    };
    drop(before);
    if with.send_statistics()?.is_none() {
        return Ok(None);
    }
    let mut comparison = Comparison::load()?;
    // Only the tracepoint has a place for an empty program.
    let _attached = comparison.attach(StandIn::EmptyAtSend)?;
    let _statistics = enable_stats(Stats::RunTime)?;
    let mut cases = Vec::new();
    for mut case in cases::answers()? {
        let (name, aim) = (case.name, case.aim);
        let rounds = (0..ROUNDS).map(|_| round((without.as_ref(), &with), &comparison, &mut case));
        cases.push(Rounds { name, aim, rounds: rounds.collect::<io::Result<_>>()? });
    }
    Ok(Some(Measured { cases, verified: with.verified_for_responses() }))
}

/// What a round of exchanges took in each program.
struct Round {
    exchanges: u32,
    sends: PerCall,
    empty: PerCall,
    /// Receives, by the probe that counts requests only, if there is one.
    without: PerCall,
    /// By the one that counts responses too.
    with: PerCall,
}

impl Round {
    /// Sends an exchange.
    fn calls(&self) -> f64 {
        self.sends.calls as f64 / f64::from(self.exchanges)
    }
}

fn round((without, with): (Option<&Kernel>, &Kernel), comparison: &Comparison, case: &mut Case) -> io::Result<Round> {
    let exchanges = if case.name.contains("MiB") { LARGE_PER_ROUND } else { EXCHANGES_PER_ROUND };
    let look = || -> io::Result<[ProgramStatistics; 4]> {
        let sends = with.send_statistics()?.ok_or_else(|| io::Error::other("responses are not counted"))?;
        let empty = comparison.program_statistics(StandIn::EmptyAtSend)?;
        let without = without.map(Kernel::program_statistics).transpose()?.unwrap_or_default();
        Ok([sends, empty, without, with.program_statistics()?])
    };
    let before = look()?;
    (0..exchanges).try_for_each(|_| (case.exchange)())?;
    let after = look()?;
    let mut calls = before.into_iter().zip(after).map(|(before, after)| PerCall::between(before, after));
    let mut next = || calls.next().ok_or_else(|| io::Error::other("four programs"));
    Ok(Round { exchanges, sends: next()?, empty: next()?, without: next()?, with: next()? })
}

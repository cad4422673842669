//! Windows in pairs: without and with the agent's process, or beside two of its kinds.

use std::io;
use std::thread;
use std::time::Duration;

use crate::agent_process::AgentProcess;

/// For the kernel to free what the last window left.
const PAUSE: Duration = Duration::from_millis(200);

pub(crate) struct Pair<W> {
    pub(crate) without: W,
    pub(crate) with: W,
}

/// So many pairs, in alternating order: a drift of the machine falls on both sides alike. One window before them is
/// not kept: in it caches and clock rates settle.
pub(crate) fn alternate<W>(count: usize, mut window: impl FnMut() -> io::Result<W>) -> io::Result<Vec<Pair<W>>> {
    window()?;
    let mut pairs = Vec::with_capacity(count);
    for number in 0..count {
        pairs.push(if number % 2 == 0 {
            let without = without_agent(&mut window)?;
            Pair { without, with: with_agent(&mut window)? }
        } else {
            let with = with_agent(&mut window)?;
            Pair { without: without_agent(&mut window)?, with }
        });
    }
    Ok(pairs)
}

/// The same, beside an agent of one kind and one of the other, by turns. A window is told of its agent, and whether that is the second's.
pub(crate) fn beside<W>(
    count: usize,
    mut without: impl FnMut() -> io::Result<AgentProcess>,
    mut with: impl FnMut() -> io::Result<AgentProcess>,
    mut window: impl FnMut(&AgentProcess, bool) -> io::Result<W>,
) -> io::Result<Vec<Pair<W>>> {
    let mut seen = |agent: AgentProcess, is_with| {
        thread::sleep(PAUSE);
        let seen = window(&agent, is_with)?;
        agent.stop()?;
        Ok::<_, io::Error>(seen)
    };
    seen(without()?, false)?;
    let mut pairs = Vec::with_capacity(count);
    for number in 0..count {
        pairs.push(if number % 2 == 0 {
            let without = seen(without()?, false)?;
            Pair { without, with: seen(with()?, true)? }
        } else {
            let with = seen(with()?, true)?;
            Pair { without: seen(without()?, false)?, with }
        });
    }
    Ok(pairs)
}

fn without_agent<W>(window: &mut impl FnMut() -> io::Result<W>) -> io::Result<W> {
    thread::sleep(PAUSE);
    window()
}

fn with_agent<W>(window: &mut impl FnMut() -> io::Result<W>) -> io::Result<W> {
    let agent = AgentProcess::start()?;
    thread::sleep(PAUSE);
    let seen = window()?;
    agent.stop()?;
    Ok(seen)
}

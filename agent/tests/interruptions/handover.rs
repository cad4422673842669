//! One agent goes on with what another one counts, or with nothing where that cannot be.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;
use std::{fs, thread};

use agent::kernel::{Kernel, ProbeConfig, ResponseChoice};
use agent::scope::plugin::{PATH, PROTOCOL, TLS_LAYOUT, socket_path};
use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::lab::Agent;
use crate::server::Server;

/// Agents that follow one another.
pub const UPGRADES: u32 = 10;
/// A handover takes less than so many of them.
const MOMENT: Duration = Duration::from_millis(20);
const MOMENTS: u32 = 12;

pub fn upgrades() -> Result<()> {
    let mut agent = Agent::start()?;
    let (mut fast, slow) = (Server::start("fast")?, Server::start("slow")?);
    agent.wait_for(&fast, |total| total > 0)?;
    agent.wait_for(&slow, |total| total > 0)?;
    let (mut ended, mut shown) = (0, 0);
    for number in 1..=UPGRADES {
        // One that receives requests, and ends while an agent may be handing over.
        let passing = Server::start("fast")?;
        let next = Agent::beside(agent.give_folder()?, &[])?;
        agent.wait_ended()?;
        ended += passing.finish()?.received;
        ensure!(next.started_from()? == "handover", "number {number}: {}", next.said()?);
        // What it shows first is no less than what the one before has shown last.
        let before = fast.received_so_far()?;
        next.wait_for(&fast, |total| total >= shown)?;
        next.wait_for(&fast, |total| total >= before)?;
        shown = before;
        agent = next;
    }
    let (fast, slow) = (fast.finish()?, slow.finish()?);
    for server in [&fast, &slow] {
        agent.wait_for(server, |total| total == server.received)?;
        agent.expect_all_answered(server)?;
    }
    agent.expect_sums()?;
    // Of those that have ended there is the machine's total, to which other programs add.
    let (all, total) = (fast.received + slow.received + ended, agent.total_of_host()?);
    ensure!(total >= all, "{total} of all processes, and these alone received {all}");
    Ok(())
}

pub fn another_layout() -> Result<()> {
    let mut agent = Agent::start()?;
    let mut old = Server::start("fast")?;
    agent.wait_for(&old, |total| total > 0)?;
    let received_before = old.received_so_far()?;
    let next = Agent::beside(agent.give_folder()?, &["--max-processes=100"])?;
    agent.wait_ended()?;
    ensure!(next.started_from()? == "other_layout", "{}", next.said()?);
    let new = Server::start("fast")?;
    next.wait_for(&new, |total| total > 0)?;
    next.wait_for(&old, |total| total > 0)?;
    let (old, new) = (old.finish()?, new.finish()?);
    next.wait_for(&new, |total| total == new.received)?;
    // Not those that the one before had counted.
    next.wait_for(&old, |total| total <= old.received - received_before)
}

/// What one that serves answers, and whether it then keeps silent; else it ends.
const ANSWERS: [(&[u8], bool); 8] = [
    (b"", true),
    (b"", false),
    (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", false),
    (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", true),
    (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", false),
    (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", true),
    // A length without as many bytes, and one that nobody has.
    (b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x09\0\0\0\0\0\0\0{}", true),
    (b"HTTP/1.1 101 Switching Protocols\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff", true),
];

pub fn refusals() -> Result<()> {
    for (answer, keeps_silent) in ANSWERS {
        let folder = tempfile::tempdir()?;
        let _serving = serving(folder.path(), answer, keeps_silent)?;
        let next = Agent::beside(folder, &[])?;
        ensure!(next.started_from()? == "refused", "{}: {}", answer.escape_ascii(), next.said()?);
        counts(&next)?;
    }
    Ok(())
}

/// Serves the plugin socket, and answers each client alike.
fn serving(root: &Path, answer: &'static [u8], keeps_silent: bool) -> Result<UnixListener> {
    let path = socket_path(root);
    let folder = path.parent().unwrap_or(root);
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    let listener = UnixListener::bind(&path)?;
    let accepting = listener.try_clone()?;
    thread::spawn(move || {
        let mut kept = Vec::new();
        for client in accepting.incoming().flatten() {
            let mut client: UnixStream = client;
            if client.read(&mut [0; 1024]).is_ok() && client.write_all(answer).is_ok() && keeps_silent {
                kept.push(client);
            }
        }
    });
    Ok(listener)
}

/// Whether an agent counts: a server of its own, to the last request.
pub fn counts(agent: &Agent) -> Result<()> {
    let server = Server::start("fast")?;
    agent.wait_for(&server, |total| total > 0)?;
    let server = server.finish()?;
    agent.wait_for(&server, |total| total == server.received)
}

pub fn vain_takers() -> Result<()> {
    let agent = Agent::start()?;
    let server = Server::start("fast")?;
    agent.wait_for(&server, |total| total > 0)?;
    let ask = || taker(&agent, None);
    let resumed = |times| agent.wait_said("did not go on with what is counted here", times);
    // It leaves at once; in the middle; it says something else than that it has taken; and it keeps silent.
    drop(ask()?);
    resumed(1)?;
    let mut reads = ask()?;
    reads.read_exact(&mut [0; 100])?;
    drop(reads);
    resumed(2)?;
    let mut speaks = ask()?;
    speaks.write_all(b"?")?;
    resumed(3)?;
    let _silent = ask()?;
    resumed(4)?;
    let server = server.finish()?;
    agent.wait_for(&server, |total| total == server.received)?;
    counts(&agent)
}

/// Asks for what an agent counts; and for what reads TLS, if that is like this.
pub fn taker(agent: &Agent, tls: Option<&str>) -> Result<UnixStream> {
    let mut stream = UnixStream::connect(agent.socket())?;
    let query = format!("{PATH}?layout={}", Kernel::layout_of(config()));
    let tls = tls.map(|layout| format!("{TLS_LAYOUT}: {layout}\r\n")).unwrap_or_default();
    let head = format!("GET {query} HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: {PROTOCOL}\r\n{tls}\r\n");
    stream.write_all(head.as_bytes())?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    ensure!(&status == b"HTTP/1.1 101", "{}", status.escape_ascii());
    Ok(stream)
}

/// Of an agent without settings.
pub fn config() -> ProbeConfig {
    ProbeConfig { responses: ResponseChoice::Auto, ..ProbeConfig::default() }
}

pub fn giver_killed() -> Result<()> {
    for moment in 0..MOMENTS {
        let mut agent = Agent::start()?;
        let next = Agent::beside(agent.give_folder()?, &[])?;
        thread::sleep(MOMENT * moment);
        agent.kill()?;
        next.started_from()?;
        counts(&next)?;
    }
    Ok(())
}

pub fn taker_killed() -> Result<()> {
    let mut agent = Agent::start()?;
    for moment in 0..MOMENTS {
        let server = Server::start("fast")?;
        agent.wait_for(&server, |total| total > 0)?;
        let mut next = Agent::beside(agent.give_folder()?, &[])?;
        thread::sleep(MOMENT * moment);
        next.kill()?;
        let folder = next.give_folder()?;
        if next.said()?.contains("started_from") {
            // What was taken went with it.
            agent.wait_ended()?;
        }
        let after = Agent::beside(folder, &[])?;
        let origin = after.started_from()?;
        let server = server.finish()?;
        if origin == "handover" {
            // From the first, which counted on.
            after.wait_for(&server, |total| total == server.received)?;
        }
        counts(&after)?;
        agent = after;
    }
    Ok(())
}

pub fn standing_by() -> Result<()> {
    let mut first = Agent::in_pod(tempfile::tempdir()?)?;
    ensure!(first.started_from()? == "nothing", "{}", first.said()?);
    let server = Server::start("fast")?;
    first.wait_for(&server, |total| total > 0)?;
    let mut next = Agent::in_pod(first.give_folder()?)?;
    ensure!(next.started_from()? == "handover", "{}", next.said()?);
    first.wait_said("standing by", 1)?;
    let server = server.finish()?;
    next.wait_for(&server, |total| total == server.received)?;
    next.kill()?;
    first.wait_said("started_from", 2)?;
    counts(&first)?;
    first.signal(Signal::TERM)?;
    first.wait_ended()
}

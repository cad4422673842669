//! Processes: who counts.

use std::collections::HashSet;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use agent::counting::counts::Pid;
use agent::kernel::Kernel;
use agent::settings::config::probe_of_variables;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::beside;
use crate::lab::{Case, Expected, Lab, elsewhere, here, is_this_binary, loopback};
use crate::load;
use crate::responses_processes;
use crate::streams::GET;
use crate::tls_lives;
use crate::transports;

/// What this binary does when a case starts it again.
pub fn play(role: &str, arguments: &[String]) -> ExitCode {
    let done = match role {
        "read-stdin" => read_stdin(),
        "read-in-cgroup" => read_in_cgroup(arguments.first().map_or("", String::as_str)),
        "receive-descriptor" => receive_descriptor(),
        "exec" => exec(),
        "nested-agent" => nested_agent(),
        tls_lives::ROLE => tls_lives::play(arguments),
        transports::WITHOUT_OPTIONS => transports::without_options(),
        beside::ROLE => beside::play(arguments),
        load::CLIENTS => load::ten_thousand_clients(arguments.first().map_or("", String::as_str)),
        _ => responses_processes::play(role)
            .unwrap_or_else(|| Err(io::Error::other(format!("no role {role} {arguments:?}")))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{role}: {error}");
            ExitCode::FAILURE
        }
    }
}

pub fn cases() -> Vec<Case> {
    let both = Expected { elsewhere: 1, ..here(1) };
    vec![
        Case::new("accepted here, read in a child", elsewhere(1), |_| {
            let (mut client, server) = loopback()?;
            let child = start("read-stdin", &[], OwnedFd::from(server))?;
            client.write_all(GET.as_bytes())?;
            drop(client);
            finish(child)
        }),
        Case::new("half read here, completed by a process that got the descriptor", elsewhere(1), |_| {
            let (mut client, mut server) = loopback()?;
            client.write_all(GET.as_bytes())?;
            server.read_exact(&mut [0; 10])?;
            let (ours, theirs) = UnixStream::pair()?;
            let child = start("receive-descriptor", &[], OwnedFd::from(theirs))?;
            send_descriptor(&ours, &server)?;
            drop((server, client));
            finish(child)
        }),
        Case::new("one request here, the next in a child on the same connection", both, |_| {
            let (mut client, mut server) = loopback()?;
            client.write_all(GET.as_bytes())?;
            server.read_exact(&mut [0; GET.len()])?;
            let child = start("read-stdin", &[], OwnedFd::from(server))?;
            client.write_all(GET.as_bytes())?;
            drop(client);
            finish(child)
        }),
        Case::new("exec between two requests keeps the process", elsewhere(2), |lab| {
            let known: HashSet<_> = ours(lab)?;
            let (mut client, server) = loopback()?;
            let child = start("exec", &[], OwnedFd::from(server))?;
            client.write_all(&GET.repeat(2).into_bytes())?;
            drop(client);
            finish(child)?;
            let added = ours(lab)?.difference(&known).count();
            if added == 1 { Ok(()) } else { Err(io::Error::other(format!("{added} processes instead of one"))) }
        }),
        Case::new("2 000 threads that read one request each", here(2000), |_| {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            for _ in 0..2000 {
                let mut client = TcpStream::connect(listener.local_addr()?)?;
                let mut server = listener.accept()?.0;
                client.write_all(GET.as_bytes())?;
                let reader = thread::spawn(move || server.read_exact(&mut [0; GET.len()]));
                reader.join().expect("the reader does not panic")?;
            }
            Ok(())
        }),
        Case::new("100 processes that live shorter than a tick", elsewhere(100), |_| {
            (0..100).try_for_each(|_| read_in_a_child(GET))
        }),
        Case::new("two processes one after another with the same PID", elsewhere(2), reused_pid),
        Case::new("a process of a PID namespace below", elsewhere(1), namespace_below),
        Case::new("an agent in a PID namespace: its own PIDs, beside this agent", elsewhere(1), |_| {
            finish(unshared("--pid", "nested-agent").stdin(Stdio::null()).spawn()?)
        }),
    ]
}

/// The processes of this binary that have counted; others of this machine come as they like.
fn ours(lab: &mut Lab) -> io::Result<HashSet<(u32, u64)>> {
    let processes = lab.read()?.processes;
    let ours = processes.iter().filter(|process| is_this_binary(&process.command));
    Ok(ours.map(|process| (process.key.tgid, process.key.start_ns)).collect())
}

/// A process of its own reads a stream, and ends.
pub fn read_in_a_child(stream: &str) -> io::Result<()> {
    let (mut client, server) = loopback()?;
    client.write_all(stream.as_bytes())?;
    drop(client);
    finish(start("read-stdin", &[], OwnedFd::from(server))?)
}

fn this_binary() -> Command {
    Command::new("/proc/self/exe")
}

pub fn start(role: &str, arguments: &[String], stdin: impl Into<Stdio>) -> io::Result<Child> {
    in_role(role, arguments).stdin(stdin).spawn()
}

pub fn in_role(role: &str, arguments: &[String]) -> Command {
    let mut command = this_binary();
    command.args(["--role", role]).args(arguments);
    command
}

/// This binary in this role, in a namespace of its own.
pub fn unshared(namespace: &str, role: &str) -> Command {
    let mut command = Command::new("unshare");
    let binary = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
    command.arg(namespace).arg("--fork");
    if namespace == "--pid" {
        command.arg("--mount-proc");
    }
    command.arg(binary).args(["--role", role]);
    command
}

pub fn finish(mut child: Child) -> io::Result<()> {
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("a child ended with {status}"))) }
}

fn read_stdin() -> io::Result<()> {
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

/// Moves itself into a cgroup, by its folder, before it reads.
fn read_in_cgroup(folder: &str) -> io::Result<()> {
    std::fs::write(format!("{folder}/cgroup.procs"), "0")?;
    read_stdin()
}

fn exec() -> io::Result<()> {
    use std::os::unix::process::CommandExt as _;
    let mut first = [0; GET.len()];
    rustix::net::recv(io::stdin().as_fd(), &mut first, RecvFlags::WAITALL)?;
    Err(this_binary().args(["--role", "read-stdin"]).exec())
}

pub fn send_descriptor(through: &UnixStream, descriptor: &TcpStream) -> io::Result<()> {
    let descriptors = [descriptor.as_fd()];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(through, &[io::IoSlice::new(b"x")], &mut ancillary, SendFlags::empty())?;
    Ok(())
}

fn receive_descriptor() -> io::Result<()> {
    receive_one()?.read_to_end(&mut Vec::new()).map(drop)
}

/// The connection that comes through the standard input.
pub fn receive_one() -> io::Result<TcpStream> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, recvmsg};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    recvmsg(io::stdin().as_fd(), &mut [io::IoSliceMut::new(&mut [0; 1])], &mut ancillary, RecvFlags::empty())?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = message
            && let Some(descriptor) = descriptors.next()
        {
            return Ok(TcpStream::from(descriptor));
        }
    }
    Err(io::Error::other("no descriptor came"))
}

/// The kernel gives the PID behind the last one, which can be set; other processes may be faster.
fn reused_pid(lab: &mut Lab) -> io::Result<()> {
    const LAST_PID: &str = "/proc/sys/kernel/ns_last_pid";
    const ATTEMPTS: u32 = 100;
    let unsupported = |why: String| io::Error::new(io::ErrorKind::Unsupported, why);
    let mut wanted = None;
    for _ in 0..ATTEMPTS {
        if let Some(pid) = wanted {
            std::fs::write(LAST_PID, format!("{}", pid - 1))
                .map_err(|error| unsupported(format!("{LAST_PID}: {error}")))?;
        }
        let (mut client, server) = loopback()?;
        let child = start("read-stdin", &[], OwnedFd::from(server))?;
        let pid = child.id();
        // Whoever got another PID receives nothing.
        if wanted.is_none_or(|wanted| wanted == pid) {
            client.write_all(GET.as_bytes())?;
        }
        drop(client);
        finish(child)?;
        if wanted == Some(pid) {
            let holders = lab.read()?.processes.iter().filter(|process| process.pid == Some(Pid(pid))).count();
            let error = || io::Error::other(format!("{holders} processes counted with PID {pid}"));
            return if holders == 2 { Ok(()) } else { Err(error()) };
        }
        wanted = wanted.or(Some(pid));
    }
    Err(unsupported("the PID was always taken by others".to_owned()))
}

/// Its PID must be the one that it has here.
fn namespace_below(lab: &mut Lab) -> io::Result<()> {
    let known = lab.read()?.processes;
    let (mut client, server) = loopback()?;
    let mut child = unshared("--pid", "read-stdin").stdin(Stdio::from(OwnedFd::from(server))).spawn()?;
    client.write_all(GET.as_bytes())?;
    let counted = loop {
        let new = lab.read()?.processes.into_iter().find(|process| known.iter().all(|old| old.key != process.key));
        match new {
            Some(process) => break process,
            None if child.try_wait()?.is_some() => return Err(io::Error::other("the child ended uncounted")),
            None => thread::sleep(Duration::from_millis(10)),
        }
    };
    let parent = child.id();
    let pid = counted.pid.ok_or_else(|| io::Error::other("it has no PID here"))?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.0))?;
    drop(client);
    finish(child)?;
    let expected = format!("PPid:\t{parent}");
    if status.lines().any(|line| line == expected) {
        Ok(())
    } else {
        Err(io::Error::other(format!("PID {} is not the child of {parent}", pid.0)))
    }
}

/// Loads a probe of its own and looks for itself under the PID that it has in its namespace.
fn nested_agent() -> io::Result<()> {
    let mut kernel = Kernel::load(probe_of_variables(|name| std::env::var(name).ok())).map_err(io::Error::other)?;
    let (mut client, mut server) = loopback()?;
    client.write_all(GET.as_bytes())?;
    server.read_exact(&mut [0; GET.len()])?;
    let own = Some(Pid(std::process::id()));
    let reading = kernel.read_all(Duration::ZERO)?;
    let of_own = reading.processes.iter().find(|process| process.pid == own);
    match of_own.map(|process| process.counts.requests.iter().sum::<u64>()) {
        Some(1) => Ok(()),
        other => Err(io::Error::other(format!("counted {other:?} for PID {own:?} of {reading:?}"))),
    }
}

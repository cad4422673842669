//! What the kernel offers, whether the probe loads, and whether it sees a request. EDGE.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process;
use std::time::Duration;

use rustix::system::uname;

use super::finding::Finding;
use crate::counting::counts::{Pid, requests};
use crate::counting::tick::Probe as _;
use crate::kernel::survey::{Piece, Survey, VMLINUX_BTF, survey};
use crate::kernel::{Kernel, LoadError, ProbeConfig};

/// Requests that it makes itself.
const REQUESTS: u64 = 3;
const REQUEST: &[u8] = b"GET /scope-http-requests/check HTTP/1.1\r\nHost: localhost\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
/// On loopback, to itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is there without loading anything. What is missing here shows again when the probe loads, which decides.
pub(super) fn kernel() -> Vec<Finding> {
    let system = uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    let release = format!("{} {}, {}", text(system.sysname()), text(system.release()), text(system.machine()));
    let mut findings = vec![Finding::ok("kernel", release)];
    match survey() {
        Err(error) => findings.push(failed("BTF", &error)),
        Ok(Survey { btf_bytes, layout, hooks, functions }) => {
            findings.push(Finding::ok("BTF", format!("{VMLINUX_BTF}, {} KiB", btf_bytes / 1024)));
            findings.push(match layout {
                Ok(()) => Finding::ok("kernel types", "all members known"),
                Err(error) => failed("kernel types", &error),
            });
            findings.extend(hooks.into_iter().map(|piece| of_piece("hook", &piece)));
            findings.extend(functions.into_iter().map(|piece| of_piece("kernel function", &piece)));
        }
    }
    findings
}

fn of_piece(check: &'static str, Piece { name, is_there }: &Piece) -> Finding {
    if *is_there { Finding::ok(check, name.as_str()) } else { Finding::note(check, format!("{name} is missing")) }
}

/// Loads the probe for a moment and makes requests.
pub(super) fn probe(config: ProbeConfig) -> Vec<Finding> {
    let mut probe = match Kernel::load(config) {
        Ok(probe) => probe,
        Err(error) => return vec![failed("probe", &error)],
    };
    let loaded = Finding::ok("probe", format!("loads and attaches: {}", probe.description()));
    let counted = match exchange().and_then(|()| count(&mut probe)) {
        Err(error) => Finding::failed(
            "own requests",
            format!("cannot be made or counted: {error}"),
            "is the loopback interface up? Otherwise please report it",
        ),
        Ok(REQUESTS) => Finding::ok("own requests", format!("{REQUESTS} sent, {REQUESTS} counted")),
        Ok(counted) => Finding::failed(
            "own requests",
            format!("{REQUESTS} sent, {counted} counted"),
            "please report it with the output of `uname -r`",
        ),
    };
    vec![loaded, counted]
}

/// The sentence of an error has the cure behind its last colon.
fn failed(check: &'static str, error: &LoadError) -> Finding {
    let sentence = error.to_string();
    match (error, sentence.rsplit_once(": ")) {
        (LoadError::Other(_), _) | (_, None) => {
            Finding::failed(check, sentence, "please report it, with the output of `uname -r`")
        }
        (_, Some((cause, cure))) => Finding::failed(check, cause, cure),
    }
}

/// A connection to itself, over which each request is answered before the next one.
fn exchange() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect_timeout(&listener.local_addr()?, PATIENCE)?;
    let (mut server, _) = listener.accept()?;
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
    }
    for _ in 0..REQUESTS {
        client.write_all(REQUEST)?;
        server.read_exact(&mut [0; REQUEST.len()])?;
        server.write_all(ANSWER)?;
        client.read_exact(&mut [0; ANSWER.len()])?;
    }
    Ok(())
}

/// Requests that this process received, as the probe counted them.
fn count(probe: &mut Kernel) -> io::Result<u64> {
    let own = Some(Pid(process::id()));
    let reading = probe.read_all(Duration::ZERO)?;
    Ok(reading.processes.iter().filter(|process| process.pid == own).map(|process| requests(&process.counts)).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: &LoadError, found: &str, to_do: &str) {
        let finding = failed("probe", error);
        assert!(finding.found.starts_with(found) && finding.to_do.starts_with(to_do), "{finding:?}");
    }

    #[test]
    fn cause_and_cure_are_told_apart() {
        let missing = LoadError::NoFunction { name: "f", since: "9.9" };
        check(&missing, "this kernel lacks the function f", "use a newer kernel");
        check(&LoadError::NoHook("f".into()), "this kernel has no f", "use a kernel built with");
        check(&LoadError::Lockdown("confidentiality".into()), "kernel lockdown", "boot without");
        check(
            &LoadError::Verifier("a: b".into()),
            "this kernel's verifier refused the probe (a: b)",
            "please report it",
        );
        check(&LoadError::Refused("bpf: no".into()), "the kernel refused the probe (bpf: no)", "a seccomp profile");
        check(&LoadError::NoFexit("BPF_PROG_LOAD".into()), "the kernel takes programs", "leave out --hook=fexit");
        check(
            &LoadError::UserNamespace("BPF_MAP_CREATE".into()),
            "the kernel refused the probe (BPF_MAP_CREATE), as root",
            "run in",
        );
        let missing = vec!["CAP_BPF", "CAP_PERFMON"];
        let missing = LoadError::NoCapability { what: "BPF_MAP_CREATE".into(), missing };
        let cure = "CAP_BPF and CAP_PERFMON missing; run as root, or in Kubernetes add BPF and PERFMON to";
        check(&missing, "the kernel refused the probe (BPF_MAP_CREATE)", cure);
        check(&LoadError::Other("a: b".into()), "the probe cannot be loaded: a: b", "please report it");
    }
}

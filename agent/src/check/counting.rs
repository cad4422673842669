//! What the kernel offers, whether the probe loads, and whether it sees a request. EDGE.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process;
use std::time::Duration;

use common::maps::Counts;
use rustix::system::uname;

use super::finding::Finding;
use crate::counting::answered::name;
use crate::counting::counts::{Pid, requests};
use crate::counting::tick::Probe as _;
use crate::kernel::survey::{Piece, Survey, VMLINUX_BTF, survey};
use crate::kernel::{Kernel, LoadError, ProbeConfig, TlsChoice};

/// Requests that it makes itself: one for each answer.
const REQUESTS: u64 = ANSWERS.len() as u64;
const REQUEST: &[u8] = b"GET /scope-http-requests/check HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// Its own answers to them, with their statuses in ascending order.
const ANSWERS: [(u32, &[u8]); 4] = [
    (200, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    (204, b"HTTP/1.1 204 No Content\r\n\r\n"),
    (404, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
    (503, b"HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
];
/// Of a TLS ClientHello, as far as it is looked at.
const HELLO: &[u8] = b"\x16\x03\x01\x00\x01\x01";
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
    let counted = match exchange().and_then(|()| sum(&mut probe, requests)) {
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
    let is_made = counted.is_passed();
    let responses = is_made.then(|| own_responses(&mut probe));
    let tls = is_made.then(|| own_tls(&mut probe));
    let plaintext = is_made.then(|| plaintext(&probe, config.tls));
    [loaded, counted].into_iter().chain(responses).chain(tls).chain(plaintext).collect()
}

/// Whether the probe notices TLS.
fn own_tls(probe: &mut Kernel) -> Finding {
    let what = "own TLS";
    match say_hello().and_then(|()| sum(probe, |counts| counts.tls_connections)) {
        Ok(1) => Finding::ok(what, "1 ClientHello sent, 1 seen: processes that receive TLS are named"),
        Ok(seen) => Finding::failed(
            what,
            format!("1 ClientHello sent, {seen} seen"),
            "please report it with the output of `uname -r`",
        ),
        Err(error) => Finding::failed(what, format!("cannot be sent or counted: {error}"), "please report it"),
    }
}

/// Whether requests in TLS can be counted, if they are to be.
fn plaintext(probe: &Kernel, choice: TlsChoice) -> Finding {
    let what = "requests in TLS";
    if choice == TlsChoice::Off {
        return Finding::note(what, "not counted: --tls=off");
    }
    match probe.uprobes().and_then(|uprobes| uprobes.try_out()) {
        Ok(()) => Finding::ok(
            what,
            "the program loads, and is put into a file; libraries are looked at when a process receives TLS",
        ),
        Err(error) => failed(what, &error),
    }
}

/// What the probe saw of the answers.
fn own_responses(probe: &mut Kernel) -> Finding {
    let what = "own responses";
    let counted = probe.responses();
    match answered(probe) {
        Err(error) => {
            Finding::failed(what, format!("cannot be read: {error}"), "please report it, or use --responses=off")
        }
        Ok(None) => Finding::note(what, counted.to_string()),
        Ok(Some(seen)) if seen == expected() => Finding::ok(what, format!("{seen}; {counted}")),
        Ok(Some(seen)) => {
            let found = format!("{} sent; counted: {seen}", expected());
            Finding::failed(what, found, "please report it with the output of `uname -r`, or use --responses=off")
        }
    }
}

fn expected() -> String {
    said(&ANSWERS.map(|(status, _)| (status, 1)), 0)
}

/// `200 1, 404 2, all durations known`.
fn said(statuses: &[(u32, u64)], unknown: u64) -> String {
    let statuses: Vec<_> = statuses.iter().map(|(status, count)| format!("{} {count}", name(*status))).collect();
    let durations =
        if unknown == 0 { "all durations known".to_owned() } else { format!("{unknown} durations unknown") };
    format!("{}, {durations}", statuses.join(", "))
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

/// A connection to itself: the client's end, and the server's.
fn connect() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect_timeout(&listener.local_addr()?, PATIENCE)?;
    let (server, _) = listener.accept()?;
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
    }
    Ok((client, server))
}

fn say_hello() -> io::Result<()> {
    let (mut client, mut server) = connect()?;
    client.write_all(HELLO)?;
    server.read_exact(&mut [0; HELLO.len()])
}

/// Over one connection, each request is answered before the next one.
fn exchange() -> io::Result<()> {
    let (mut client, mut server) = connect()?;
    for (_, answer) in ANSWERS {
        client.write_all(REQUEST)?;
        server.read_exact(&mut [0; REQUEST.len()])?;
        server.write_all(answer)?;
        client.read_exact(&mut vec![0; answer.len()])?;
    }
    Ok(())
}

/// What this process received, as the probe counted it.
fn sum(probe: &mut Kernel, of: impl Fn(&Counts) -> u64) -> io::Result<u64> {
    let own = Some(Pid(process::id()));
    let reading = probe.read_all(Duration::ZERO)?;
    Ok(reading.processes.iter().filter(|process| process.pid == own).map(|process| of(&process.counts)).sum())
}

/// The same of what it sent; `None` where responses are not counted.
fn answered(probe: &mut Kernel) -> io::Result<Option<String>> {
    let own = Some(Pid(process::id()));
    let reading = probe.read_all(Duration::ZERO)?;
    let keys: Vec<_> =
        reading.processes.iter().filter(|process| process.pid == own).map(|process| process.key).collect();
    let Some(responses) = probe.read_responses()? else { return Ok(None) };
    let (mut statuses, mut unknown) = (BTreeMap::<u32, u64>::new(), 0);
    for series in responses.series.iter().filter(|series| keys.contains(&series.process)) {
        *statuses.entry(series.status).or_default() += series.count();
        unknown += series.value.unknown;
    }
    Ok(Some(said(&statuses.into_iter().collect::<Vec<_>>(), unknown)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_answered_is_said() {
        assert_eq!(expected(), "200 1, 204 1, 404 1, 503 1, all durations known");
        assert_eq!(said(&[(200, 3)], 2), "200 3, 2 durations unknown");
    }

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
        let confined =
            LoadError::Confined { what: "BPF_MAP_CREATE".into(), missing: vec!["CAP_BPF"], profile: "p".into() };
        let cure = "the AppArmor profile p withholds CAP_BPF; run without it, in Kubernetes by";
        check(&confined, "the kernel refused the probe (BPF_MAP_CREATE)", cure);
        check(&LoadError::Other("a: b".into()), "the probe cannot be loaded: a: b", "please report it");
    }
}

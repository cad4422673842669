//! Requests in TLS: what servers say that they received is what their libraries handed to them, and each is answered as its client saw.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;

use crate::apache::{Apache, MODULES};
use crate::client::h2load;
use crate::haproxy::Haproxy;
use crate::harness::wait_for;
use crate::lighttpd::Lighttpd;
use crate::nginx::{Nginx, curl, data, fake_file};
use crate::process::{Tool, free_port};
use crate::programs::{Program, write};
use crate::session::Session;
use crate::tls::certify;

/// Connections kept and not, pipelining, bodies of fake requests, HTTP/2: how many requests that is.
fn load(session: &mut Session, port: u16, (pipelining, http2): (bool, bool)) -> Result<u64> {
    let url = format!("https://127.0.0.1:{port}/");
    let mut sent = 2000 + 20 + 3;
    h2load(session, 2000, "--h1 -c 20", &url)?;
    let closing = curl()?.args("--insecure --http1.1 --header").arg("Connection: close");
    session.run(closing.arg(format!("{url}?[1-20]")))?;
    for length in [100, 70_000, 3 << 20] {
        let file = fake_file(session, length)?;
        session.run(curl()?.args("--insecure --http1.1 --data-binary").arg(data(&file)).arg(&url))?;
    }
    if pipelining {
        h2load(session, 2000, "--h1 -c 10 -m 16", &url)?;
        sent += 2000;
    }
    if http2 {
        h2load(session, 2000, "-c 10 -m 10", &url)?;
        session.run(curl()?.args("--insecure --http2").arg(&url))?;
        sent += 2000 + 1;
    }
    Ok(sent)
}

pub fn apache(session: &mut Session) -> Result<()> {
    let [key, certificate] = certify(session)?;
    let modules = MODULES.into_iter().find(|folder| std::fs::metadata(folder).is_ok()).context("Apache's modules")?;
    let more = format!(
        "LoadModule ssl_module {modules}/mod_ssl.so\nProtocols h2 http/1.1\nSSLEngine on\nSSLCertificateKeyFile {}\nSSLCertificateFile {}",
        key.display(),
        certificate.display()
    );
    let apache = Apache::start(session, "event", &more)?;
    session.read_tls("apache2", apache.process.pid())?;
    let sent = load(session, apache.port, (true, true))?;
    session.sent(sent);
    apache.finish(session)
}

/// Where nginx listens, in its words, with this key and certificate.
fn listen(port: u16, words: &str, [key, certificate]: &[PathBuf; 2]) -> String {
    format!(
        "listen 127.0.0.1:{port} {words};\nssl_certificate {};\nssl_certificate_key {};",
        certificate.display(),
        key.display()
    )
}

/// It is a client of TLS, too, whose sessions count nothing.
pub fn haproxy(session: &mut Session) -> Result<()> {
    let [key, certificate] = certify(session)?;
    let both = session.folder().join("both.pem");
    std::fs::write(&both, [std::fs::read(&certificate)?, std::fs::read(&key)?].concat())?;
    let port = free_port()?;
    let nginx = Nginx::start(session, &listen(port, "ssl", &[key, certificate]))?;
    let bound = format!("ssl crt {} alpn h2,http/1.1", both.display());
    let haproxy = Haproxy::bound(session, ("http", &bound), (port, "ssl verify none"), "")?;
    session.read_tls("haproxy", haproxy.process.pid())?;
    session.read_tls("nginx", nginx.process.pid())?;
    let sent = load(session, haproxy.port, (true, true))?;
    session.sent(2 * sent);
    let requests = haproxy.at_rest()?.requests;
    let pid = haproxy.process.pid();
    haproxy.finish(session, requests)?;
    session.expect_answers(pid, 200);
    nginx.finish(session)?;
    Ok(())
}

fn program(
    session: &mut Session,
    start: impl FnOnce(&mut Session, &[PathBuf]) -> Result<Program>,
    how: (bool, bool),
) -> Result<()> {
    let files = certify(session)?;
    let program = start(session, &files)?;
    session.read_tls(&program.process.name.clone(), program.process.pid())?;
    let sent = load(session, program.port, how)?;
    session.sent(sent);
    let pid = program.process.pid();
    program.finish(session)?;
    session.expect_answers(pid, 200);
    Ok(())
}

pub fn python(session: &mut Session) -> Result<()> {
    let text = include_str!("programs/threads.py");
    program(session, |session, files| Program::python_with(session, ("threads.py", text), files), (true, false))
}

pub fn node(session: &mut Session) -> Result<()> {
    let text = include_str!("programs/http2.js");
    program(session, |session, files| Program::node_with(session, ("http2.js", text), files), (true, true))
}

pub fn go(session: &mut Session) -> Result<()> {
    program(session, Program::go, (true, true))
}

/// A client of the same library, whether it says a server's name or not, has no session.
pub fn lighttpd(session: &mut Session) -> Result<()> {
    let lighttpd = Lighttpd::start(session)?;
    session.read_tls("lighttpd", lighttpd.process.pid())?;
    let sent = load(session, lighttpd.port, (true, true))?;
    let names = ["--sni-hostname=localhost", "--disable-sni"];
    for name in names {
        let client = Tool::new("gnutls-cli")?.args("--insecure").arg(name).args("127.0.0.1 --port");
        let mut client = session.start(client.arg(lighttpd.port.to_string()))?;
        client.say(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        client.wait()?;
        ensure!(client.output()?.contains("HTTP/1.1 200 "), "gnutls-cli: {}", client.output()?);
    }
    session.sent(sent + names.len() as u64);
    lighttpd.finish(session)
}

/// Stops each thread at each system call, and at each signal.
fn strace() -> Result<Tool> {
    Ok(Tool::new("strace")?.args("--follow-forks --output /dev/null"))
}

pub fn traced(session: &mut Session) -> Result<()> {
    let files = certify(session)?;
    let file = write(session, "threads.py", include_str!("programs/threads.py"))?;
    let tool = files.iter().fold(strace()?.arg("python3").arg(file), Tool::arg);
    let mut strace = Program::start(session, tool)?;
    let [python] = strace.process.children()[..] else { bail!("not one process is traced") };
    session.watch("python3", python);
    session.read_tls("python3", python)?;
    let url = format!("https://127.0.0.1:{}/", strace.port);
    h2load(session, 500, "--h1 -c 5", &url)?;
    session.run(curl()?.args("--insecure --http1.1 --header").arg("Connection: close").arg(format!("{url}?[1-10]")))?;
    session.sent(510);
    strace.process.close_input()?;
    let requests = strace.process.printed("requests")?;
    session.expect("python3", python, requests);
    Ok(())
}

/// Its workers are traced for a while, as they serve.
pub fn traced_nginx(session: &mut Session) -> Result<()> {
    let files = certify(session)?;
    let port = free_port()?;
    let nginx = Nginx::start(session, &listen(port, "ssl http2", &files))?;
    session.read_tls("nginx", nginx.process.pid())?;
    let url = format!("https://127.0.0.1:{port}/");
    h2load(session, 500, "--h1 -c 10", &url)?;
    let traced = nginx.process.children().into_iter().fold(strace()?, |tool, pid| tool.arg(format!("--attach={pid}")));
    let mut strace = session.start(traced)?;
    wait_for("each worker to be traced", || {
        strace.ensure_running()?;
        let status = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/status"));
        let is_traced = |pid: &u32| status(pid).is_ok_and(|text| !text.contains("TracerPid:\t0\n"));
        Ok(nginx.process.children().iter().all(is_traced).then_some(()))
    })?;
    h2load(session, 500, "--h1 -c 10", &url)?;
    h2load(session, 500, "-c 10 -m 10", &url)?;
    strace.stop(Signal::INT)?;
    h2load(session, 500, "--h1 -c 10", &url)?;
    session.sent(2000);
    nginx.finish(session).map(drop)
}

/// Whose library is probed, and which read nothing but answers. The server is one that is not.
pub fn clients(session: &mut Session) -> Result<()> {
    let files = certify(session)?;
    let program = Program::go(session, &files)?;
    // A process that maps the library that they map.
    let url = format!("https://127.0.0.1:{}/", program.port);
    let text =
        "import ssl, sys\nprint('listening', 1, flush=True)\nsys.stdin.read()\nprint('requests', 0, flush=True)\n";
    let idle = Program::python(session, "idle.py", text)?;
    session.read_tls("python3", idle.process.pid())?;
    h2load(session, 1000, "--h1 -c 10", &url)?;
    for _ in 0..10 {
        session.run(curl()?.arg("--insecure").arg(&url))?;
    }
    idle.finish(session)?;
    session.watch("go-server", program.process.pid());
    session.sent(0);
    drop(program);
    Ok(())
}

/// The server answers every request, though its functions are probed meanwhile; what is counted is no more than that.
pub fn attached_under_load(session: &mut Session) -> Result<()> {
    let files = certify(session)?;
    let text = include_str!("programs/threads.py");
    let mut program = Program::python_with(session, ("threads.py", text), &files)?;
    let url = format!("https://127.0.0.1:{}/", program.port);
    let mut load = session.start(Tool::new("wrk")?.args("--threads 1 --connections 8 --duration 3s").arg(&url))?;
    // Some have been answered before, and others are on their way.
    session.run(curl()?.args("--insecure").arg(&url))?;
    session.read_tls("python3", program.process.pid())?;
    load.wait()?;
    let report = load.output()?;
    ensure!(!report.contains("Socket errors") && !report.contains("Non-2xx"), "wrk: {report}");
    program.process.ensure_running()?;
    program.process.close_input()?;
    let requests = program.process.printed("requests")?;
    session.at_most("threads.py", program.process.pid(), requests);
    Ok(())
}

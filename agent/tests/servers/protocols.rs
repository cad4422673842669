//! The HTTP/2 servers of nghttp2: nghttpd, and the proxy nghttpx.

use std::fs;

use anyhow::{Result, bail};
use rustix::process::Signal;

use crate::client::h2load;
use crate::nginx::Nginx;
use crate::nginx::{curl, data, fake_file};
use crate::process::{Tool, free_port, wait_for_port};
use crate::session::Session;

pub fn nghttpd(session: &mut Session) -> Result<()> {
    fs::write(session.folder().join("index.html"), "ok\n")?;
    let port = free_port()?;
    let tool = Tool::new("nghttpd")?.args("--verbose --no-tls --address=127.0.0.1 --htdocs").arg(session.folder());
    let mut server = session.start(tool.arg(port.to_string()))?;
    wait_for_port(&mut server, port)?;
    let url = format!("http://127.0.0.1:{port}/index.html");
    h2load(session, 500, "-c 5 -m 10", &url)?;
    session.run(Tool::new("nghttp")?.args("--null-out --continuation --padding=200 --multiply=10").arg(&url))?;
    session.run(curl()?.args("--http2-prior-knowledge").arg(&url))?;
    let file = fake_file(session, 200_000)?;
    session.run(curl()?.args("--http2-prior-knowledge --data-binary").arg(data(&file)).arg(&url))?;
    session.sent(500 + 10 + 1 + 1);
    server.stop(Signal::TERM)?;
    let opened = server.output()?.lines().filter(|line| line.trim() == "; Open new stream").count();
    session.expect("nghttpd", server.pid(), opened as u64);
    Ok(())
}

/// A proxy that takes every upgrade to h2c and serves more streams on the connection.
pub fn nghttpx(session: &mut Session) -> Result<()> {
    let nginx = Nginx::start(session, "")?;
    let port = free_port()?;
    let log = session.folder().join("nghttpx.log");
    let tool = Tool::new("nghttpx")?
        .args("--conf=/dev/null --workers=2 --accesslog-format=$request --accesslog-file")
        .arg(&log)
        .arg(format!("--frontend=127.0.0.1,{port};no-tls"))
        .arg(format!("--backend=127.0.0.1,{}", nginx.port));
    let mut proxy = session.start(tool)?;
    wait_for_port(&mut proxy, port)?;
    let url = |query: &str| format!("http://127.0.0.1:{port}/{query}");
    for _ in 0..5 {
        session.run(Tool::new("nghttp")?.args("--upgrade --null-out --multiply=50").arg(url("")))?;
        session.run(curl()?.args("--http2").arg(url("?[1-10]")))?;
    }
    // It asks for the upgrade with a request of its own, OPTIONS *.
    let file = fake_file(session, 20_000)?;
    session.run(Tool::new("nghttp")?.args("--upgrade --null-out --data").arg(file).arg(url("")))?;
    h2load(session, 1000, "-c 10 -m 10", &url(""))?;
    h2load(session, 1000, "--h1 -c 10", &url(""))?;
    session.sent(2 * (5 * (50 + 10) + 2 + 1000 + 1000));
    // The main process never reads; in its log, $pid is that of the main process all the same.
    let children = proxy.children();
    let [worker] = children[..] else { bail!("nghttpx has not one child, but {children:?}") };
    proxy.stop(Signal::QUIT)?;
    session.expect("nghttpx", worker, fs::read_to_string(log)?.lines().count() as u64);
    nginx.finish(session)?;
    Ok(())
}

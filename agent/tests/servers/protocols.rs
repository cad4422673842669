//! nghttpd, the HTTP/2 server of nghttp2.

use std::fs;

use anyhow::Result;
use rustix::process::Signal;

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
    session.run(Tool::new("h2load")?.args("-n 500 -c 5 -m 10").arg(&url))?;
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

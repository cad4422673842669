//! What looks like a request and is none.

use std::fs;

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::client::{Address, Connection, fakes, h2load};
use crate::nginx::{Nginx, curl};
use crate::process::{Tool, free_port, wait_for_port};
use crate::programs::write;
use crate::session::Session;

pub fn redis(session: &mut Session) -> Result<()> {
    let port = free_port()?;
    let tool = Tool::new("redis-server")?.args("--bind 127.0.0.1 --appendonly no --save").arg("");
    let tool = tool.arg("--dir").arg(session.folder()).arg("--port").arg(port.to_string());
    let mut server = session.start(tool)?;
    wait_for_port(&mut server, port)?;
    let benchmark = Tool::new("redis-benchmark")?.args("-n 20000 -c 20 -q -t ping_inline,set,get,lpush -d 300");
    session.run(benchmark.arg("-p").arg(port.to_string()))?;
    let pipelined = Tool::new("redis-benchmark")?.args("-n 20000 -c 5 -P 50 -q -t get");
    session.run(pipelined.arg("-p").arg(port.to_string()))?;
    // Commands as lines: the first word is a method, and no version follows.
    let mut connection = Connection::open(&Address::port(port))?;
    for command in ["GET /\r\n", "SET / HTTP\r\n", "GET / \r\n"] {
        connection.send(command.as_bytes())?;
    }
    let answers = "$-1\r\n+OK\r\n$4\r\nHTTP\r\n";
    ensure!(connection.receive(answers.len())? == answers.as_bytes(), "Redis answers otherwise");
    session.sent(0);
    server.stop(Signal::TERM)
}

/// A client whose reads begin with requests, in the bodies of what it is answered.
pub fn response_bodies(session: &mut Session) -> Result<()> {
    const TIMES: u64 = 100;
    fs::write(session.folder().join("fakes"), "GET / HTTP/1.1\r\n".to_owned() + &fakes(300_000))?;
    let locations = format!(
        r#"location = /small {{ return 200 "GET / HTTP/1.1\r\nHost: fake\r\n\r\n"; }}
        location = /fakes {{ root {}; }}"#,
        session.folder().display()
    );
    let nginx = Nginx::start(session, &locations)?;
    let client = write(session, "client.py", include_str!("programs/client.py"))?;
    for path in ["/small", "/fakes"] {
        let python = Tool::new("python3")?.arg(&client).arg(nginx.port.to_string());
        session.run(python.arg(path).arg(TIMES.to_string()))?;
        h2load(session, 500, "--h1 -c 5", &nginx.url(path))?;
        session.run(curl()?.arg(nginx.url(path)))?;
    }
    session.sent(2 * (2 * TIMES + 500 + 1));
    nginx.finish(session)?;
    Ok(())
}

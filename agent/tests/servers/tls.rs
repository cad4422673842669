//! HTTPS: the TLS connections of each process are those that its server had; requests in them count nothing, or are those that
//! it logged.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use crate::client::h2load;
use crate::nginx::{Nginx, curl, data, fake_file};
use crate::process::{Tool, free_port};
use crate::session::Session;

/// A key and a certificate of this case's own.
pub fn certify(session: &mut Session) -> Result<[PathBuf; 2]> {
    let folder = session.folder().to_owned();
    let files = ["key.pem", "certificate.pem"].map(|name| folder.join(name));
    let certificate = Tool::new("openssl")?
        .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost")
        .arg("-keyout")
        .arg(&files[0])
        .arg("-out")
        .arg(&files[1]);
    session.run(certificate)?;
    Ok(files)
}

/// Requests in TLS count nothing.
pub fn nginx(session: &mut Session) -> Result<()> {
    serve(session, false)
}

/// They do.
pub fn nginx_read(session: &mut Session) -> Result<()> {
    serve(session, true)
}

/// Its log has a line for each request, with worker and connection.
fn serve(session: &mut Session, reads: bool) -> Result<()> {
    certify(session)?;
    let folder = session.folder().display().to_string();
    let condition = if reads { "" } else { "if=$plain" };
    let port = free_port()?;
    let log = session.folder().join("tls.log");
    let listen = format!(
        r#"
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate {folder}/certificate.pem;
        ssl_certificate_key {folder}/key.pem;
        set $plain 1;
        if ($https) {{ set $plain ""; }}
        access_log {folder}/nginx.log pid {condition};
        access_log {folder}/tls.log connection if=$https;
        location = /204 {{ return 204; }}
        location = /301 {{ return 301 /; }}
        location = /404 {{ return 404; }}
        location = /503 {{ return 503; }}
        "#
    );
    let nginx = Nginx::start(session, &listen)?;
    if reads {
        session.read_tls("nginx", nginx.process.pid())?;
        h2load(session, 2000, "-c 10 -m 8 --h1", &format!("https://127.0.0.1:{port}/"))?;
        for flags in ["--http1.1", "--http1.1 --head", "--http2", "--http2 --head"] {
            let paths = ["", "204", "301", "404", "503"].map(|path| format!("https://127.0.0.1:{port}/{path}"));
            let client =
                Tool::new("curl")?.args("--silent --show-error --insecure --noproxy * --max-time 60").args(flags);
            session.run(paths.iter().fold(client, |client, url| client.args("--output /dev/null").arg(url)))?;
        }
        let file = fake_file(session, 100_000)?;
        session.run(
            curl()?
                .args("--insecure --http1.1 --data-binary")
                .arg(data(&file))
                .arg(format!("https://127.0.0.1:{port}/")),
        )?;
    }
    let url = format!("https://127.0.0.1:{port}/");
    for flags in ["--http1.1", "--http2", "--tls-max 1.2"] {
        for _ in 0..5 {
            session.run(curl()?.args("--insecure").args(flags).arg(&url))?;
        }
    }
    session.run(curl()?.args("--insecure").arg(&url).args("--output /dev/null").arg(&url))?;
    h2load(session, 1000, "-c 10 -m 10", &url)?;
    session.run(Tool::new("wrk")?.args("--threads 1 --connections 8 --duration 1s").arg(&url))?;
    if !reads {
        session.run(curl()?.arg(nginx.url("/")))?;
        session.sent(1);
    }
    nginx.finish(session)?;
    let lines = fs::read_to_string(&log).with_context(|| format!("{}", log.display()))?;
    let connections: BTreeSet<&str> = lines.lines().collect();
    ensure!(connections.len() >= 15 + 1 + 10 + 8, "only {} connections", connections.len());
    for connection in connections {
        let (pid, _) = connection.split_once(' ').context("worker and connection")?;
        session.expect_tls("nginx", pid.parse()?, 1);
    }
    Ok(())
}

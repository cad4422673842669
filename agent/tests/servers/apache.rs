//! Apache. Its access log names the process that served each request.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use rustix::process::Signal;

use crate::client::{Address, exchange, gets, post, post_chunked};
use crate::nginx::{curl, data, fake_file};
use crate::process::{Process, Tool, free_port, wait_for_port};
use crate::session::{Missing, Session};

/// Where distributions keep Apache's modules.
const MODULES: [&str; 3] = ["/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/libexec/apache2"];

struct Apache {
    port: u16,
    process: Process,
    log: PathBuf,
}

impl Apache {
    /// Two children of the named way of processing.
    fn start(session: &mut Session, processing: &str, more: &str) -> Result<Self> {
        let port = free_port()?;
        let tool = Tool::new("apache2")?;
        let modules = MODULES
            .into_iter()
            .find(|folder| fs::metadata(folder).is_ok())
            .ok_or_else(|| Missing("the folder of Apache's modules".to_owned()))?;
        let folder = session.folder().display().to_string();
        let config = format!(
            r#"
ServerRoot {folder}
ServerName localhost
PidFile {folder}/apache.pid
ErrorLog {folder}/apache-errors.log
User www-data
Group www-data
LoadModule mpm_{processing}_module {modules}/mod_mpm_{processing}.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule dir_module {modules}/mod_dir.so
LoadModule http2_module {modules}/mod_http2.so
Listen 127.0.0.1:{port}
StartServers 2
MinSpareServers 2
MaxKeepAliveRequests 0
KeepAliveTimeout 30
LimitRequestFieldSize 80000
DocumentRoot {folder}/documents
DirectoryIndex index.html
LogFormat "%P" pid
CustomLog {folder}/apache.log pid
{more}
"#
        );
        let config = match processing {
            "event" => config.replace("MinSpareServers 2\n", "ThreadsPerChild 16\n"),
            _ => config.replace(&format!("LoadModule http2_module {modules}/mod_http2.so\n"), ""),
        };
        fs::create_dir(session.folder().join("documents"))?;
        fs::write(session.folder().join("documents/index.html"), "ok\n")?;
        let file = session.folder().join("apache.conf");
        fs::write(&file, config)?;
        let mut process = session.start(tool.apart().arg("-DFOREGROUND").arg("-f").arg(file))?;
        wait_for_port(&mut process, port)?;
        Ok(Self { port, process, log: session.folder().join("apache.log") })
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn finish(mut self, session: &mut Session) -> Result<()> {
        for child in self.process.children() {
            session.watch("apache2", child);
        }
        // A graceful stop.
        self.process.stop(Signal::WINCH)?;
        session.expect_log("apache2", &self.log)?;
        Ok(())
    }
}

pub fn event(session: &mut Session) -> Result<()> {
    let apache = Apache::start(session, "event", "")?;
    session.run(Tool::new("h2load")?.args("--h1 -n 4000 -c 20").arg(apache.url("/")))?;
    session.run(curl()?.arg("--header").arg("Connection: close").arg(apache.url("/?[1-100]")))?;
    session.sent(4000 + 100);
    apache.finish(session)
}

pub fn prefork(session: &mut Session) -> Result<()> {
    let apache = Apache::start(session, "prefork", "")?;
    let mut stream = post("/", 200_000, "");
    stream.extend(post_chunked("/", 20_000, ""));
    stream.extend(gets(98));
    let address = Address::port(apache.port);
    for piece in [stream.len(), 100, 1448] {
        exchange(&address, &stream, piece, 100)?;
    }
    session.sent(3 * 100);
    apache.finish(session)
}

pub fn upgrade_to_http2(session: &mut Session) -> Result<()> {
    let apache = Apache::start(session, "event", "Protocols h2c http/1.1")?;
    // The first request asks for the upgrade and is answered as stream 1.
    for _ in 0..5 {
        session.run(curl()?.args("--http2").arg(apache.url("/")))?;
    }
    for upgrade in ["--upgrade", "--no-dep"] {
        session.run(Tool::new("nghttp")?.arg(upgrade).args("--null-out --multiply=50").arg(apache.url("/")))?;
    }
    // A body of an upgrading request belongs to HTTP/1, and what follows it to HTTP/2.
    let file = fake_file(session, 20_000)?;
    for version in ["--http2", "--http2-prior-knowledge"] {
        session.run(curl()?.arg(version).arg("--data-binary").arg(data(&file)).arg(apache.url("/")))?;
    }
    session.sent(5 + 2 * 50 + 2);
    apache.finish(session)
}

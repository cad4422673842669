//! Apache. Its access log names the process that served each request.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use rustix::process::Signal;

use crate::client::{Address, exchange, gets, h2load, post, post_chunked};
use crate::nginx::{curl, data, fake_file};
use crate::process::Missing;
use crate::process::{Process, Tool, free_port, wait_for_port};
use crate::session::Session;

/// Where distributions keep Apache's modules.
pub const MODULES: [&str; 3] = ["/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/libexec/apache2"];

pub struct Apache {
    pub port: u16,
    pub process: Process,
    log: PathBuf,
}

impl Apache {
    /// Two children of the named way of processing. Its log leaves the PID out of a second line, the
    /// 101 that it writes of a request it upgrades.
    ///
    /// There are threads for every connection: short of them, Apache closes idle connections, and
    /// what it reads of these while they linger it has received, but does not log.
    pub fn start(session: &mut Session, processing: &str, more: &str) -> Result<Self> {
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
LogFormat "%!101P" pid
CustomLog {folder}/apache.log pid
{more}
"#
        );
        let config = match processing {
            "event" => {
                config.replace("MinSpareServers 2\n", "ThreadsPerChild 64\nMinSpareThreads 1\nMaxSpareThreads 1000\n")
            }
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

    pub fn finish(mut self, session: &mut Session) -> Result<()> {
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
    h2load(session, 4000, "--h1 -c 20", &apache.url("/"))?;
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
    // The first request asks for the upgrade and is answered as stream 1. No more than that one:
    // Apache may say GOAWAY after it, and does not log what it then still reads.
    for _ in 0..5 {
        session.run(curl()?.args("--http2").arg(apache.url("/")))?;
    }
    session.run(Tool::new("nghttp")?.args("--upgrade --null-out").arg(apache.url("/")))?;
    session.run(Tool::new("nghttp")?.args("--null-out --multiply=50").arg(apache.url("/")))?;
    // Apache does not upgrade a request with a body, and answers it as it is.
    let file = fake_file(session, 20_000)?;
    session.run(curl()?.args("--http2 --data-binary").arg(data(&file)).arg(apache.url("/")))?;
    session.sent(5 + 1 + 50 + 1);
    apache.finish(session)
}

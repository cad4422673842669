//! lighttpd with GnuTLS: one process, whose access log has a line for each request.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use rustix::process::Signal;

use crate::process::Missing;
use crate::process::{Process, Tool, free_port, wait_for_port};
use crate::session::Session;
use crate::tls::certify;

/// Where distributions keep its modules.
const MODULES: [&str; 2] = ["/usr/lib/lighttpd", "/usr/lib64/lighttpd"];

pub struct Lighttpd {
    pub port: u16,
    pub process: Process,
    log: PathBuf,
}

impl Lighttpd {
    /// A file answers GET, and a program POST, once the body is there.
    pub fn start(session: &mut Session) -> Result<Self> {
        let tool = Tool::new("lighttpd")?;
        let module = |folder: &&str| fs::metadata(format!("{folder}/mod_gnutls.so")).is_ok();
        let modules = MODULES.iter().find(|folder| module(folder));
        let modules = modules.ok_or_else(|| Missing("lighttpd's mod_gnutls".to_owned()))?;
        let [key, certificate] = certify(session)?;
        let (port, folder) = (free_port()?, session.folder().to_owned());
        let documents = folder.join("documents");
        fs::create_dir(&documents)?;
        fs::write(documents.join("index.html"), "ok\n")?;
        fs::write(documents.join("index.cgi"), "echo 'Content-Type: text/plain'\necho\necho ok\n")?;
        let log = folder.join("lighttpd.log");
        // A connection of HTTP/2 has a line more, without a request: of its status it is left out.
        let config = format!(
            r#"
server.modules = ("mod_gnutls", "mod_accesslog", "mod_cgi")
server.document-root = "{}"
server.bind = "127.0.0.1"
server.port = {port}
server.max-keep-alive-requests = 1000000
server.max-keep-alive-idle = 300
ssl.engine = "enable"
ssl.pemfile = "{}"
ssl.privkey = "{}"
accesslog.filename = "{}"
accesslog.format = "%s %r"
mimetype.assign = ("" => "text/plain")
cgi.assign = (".cgi" => "/bin/sh")
index-file.names = ("index.html")
$HTTP["request-method"] == "POST" {{ index-file.names = ("index.cgi") }}
"#,
            documents.display(),
            certificate.display(),
            key.display(),
            log.display()
        );
        let file = folder.join("lighttpd.conf");
        fs::write(&file, config)?;
        let mut process = session.start(tool.args("-D -m").arg(modules).arg("-f").arg(file))?;
        wait_for_port(&mut process, port)?;
        Ok(Self { port, process, log })
    }

    /// Lets it finish, and expects what it logged.
    pub fn finish(mut self, session: &mut Session) -> Result<()> {
        self.process.stop(Signal::INT)?;
        let log = fs::read_to_string(&self.log).with_context(|| format!("{}", self.log.display()))?;
        let requests = log.lines().filter(|line| !line.ends_with(" PRI * HTTP/2.0")).count();
        session.expect("lighttpd", self.process.pid(), requests as u64);
        Ok(())
    }
}

//! The wired agent in this process, with a kernel and a /proc that are played, beside an API server.

use std::convert::Infallible;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use agent::counting::counts::ProcessCounts;
use agent::counting::identity::Identity;
use agent::counting::rates::Looked;
use agent::counting::tick::Processes;
use agent::exit::Failure;
use agent::pods::cgroup::candidates;
use agent::run::End;
use agent::scope::plugin::socket_path;
use agent::settings::cli;
use agent::telemetry::HeldLines;
use common::maps::ProcessKey;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::api_server::ApiServer;
use crate::played::Steady;

/// The played processes live, each in the cgroup at its place; their PIDs are 1 and up.
struct InCgroups(Vec<String>);

impl Processes for InCgroups {
    fn ended(&mut self) -> Vec<ProcessKey> {
        Vec::new()
    }

    fn forget(&mut self, _given_up: &[ProcessKey]) {}

    fn track(&mut self, process: &ProcessCounts) -> Looked {
        let cgroup = &self.0[process.key.tgid as usize - 1];
        Identity { candidates: candidates(cgroup).into(), ..Identity::from_counts(process) }.into()
    }

    fn unreadable(&self) -> u64 {
        0
    }
}

pub struct Agent {
    folder: TempDir,
    pub lines: HeldLines,
    task: JoinHandle<Result<End, Failure>>,
    _log: tracing::subscriber::DefaultGuard,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Agent {
    /// On `node-1`, with these arguments as well; it asks the server as this user. A process runs in each of the cgroups.
    pub fn start(server: &ApiServer, user: &Value, more: &[&str], cgroups: Vec<String>) -> Self {
        let processes = cgroups.len() as u32;
        let (folder, lines) = (tempfile::tempdir().unwrap(), HeldLines::default());
        let filter = agent::telemetry::filter("info");
        let subscriber =
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines.clone()).with_ansi(false).finish();
        let log = tracing::subscriber::set_default(subscriber);
        let kubeconfig = server.write_kubeconfig(folder.path(), user);
        let option = |name: &str, path: &Path| OsString::from(format!("--{name}={}", path.display()));
        let mut arguments: Vec<OsString> =
            ["agent", "--no-terminal", "--hostname=node-1", "--node-name=node-1"].map(Into::into).into();
        arguments.push(option("plugins-root", folder.path()));
        arguments.push(option("kubeconfig", &kubeconfig));
        arguments.extend(more.iter().map(Into::into));
        let config = cli::config_of(arguments);
        let load = move |_| Ok::<_, Infallible>(Steady::of(processes));
        let task = tokio::spawn(agent::run::run(config, None, load, InCgroups(cgroups)));
        Self { folder, lines, task, _log: log }
    }

    pub async fn get(&self, path: &str) -> String {
        let path_of_socket = socket_path(self.folder.path());
        let mut stream = loop {
            match UnixStream::connect(&path_of_socket).await {
                Ok(stream) => break stream,
                Err(error) if self.task.is_finished() => panic!("the agent ended: {error}"),
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        };
        let request = format!("GET {path} HTTP/1.1\r\nhost: plugin\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

//! The agent's binary on the running kernel, beside a scripted API server: processes in cgroups as Kubernetes makes
//! them, which live for less than a tick.
//!
//! Needs root and cgroup v2. What cannot be done here is skipped aloud; with `REQUIRE_PROBE=1` that fails.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking; clippy knows its functions, not their helpers")]

#[expect(dead_code, reason = "other tests use the rest of it")]
mod api_server;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use agent::commands::ask;
use agent::pods::cgroup_tree;
use api_server::{ApiServer, Scenario};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

const AGENT: &str = env!("CARGO_BIN_EXE_scope-http-requests");
/// Much longer than anything here takes; only a hang reaches it.
const HANG: Duration = Duration::from_secs(60);
const UID: &str = "44c76ce5-f953-4bd3-bc89-12621681af49";

/// An API server on a thread of its own.
fn api_server() -> ApiServer {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(ApiServer::start(Scenario::Serve));
    thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    server
}

struct Agent {
    child: Child,
    folder: TempDir,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Agent {
    /// A running agent, or `None` where the probe cannot run.
    fn start(server: &ApiServer, user: &Value) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = server.write_kubeconfig(folder.path(), user);
        let log = File::create(folder.path().join("log")).unwrap();
        let child = Command::new(AGENT)
            .args(["--no-terminal", "--hostname=node-1", "--node-name=node-1", "--kubeconfig"])
            .arg(&kubeconfig)
            .arg("--plugins-root")
            .arg(folder.path())
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut agent = Self { child, folder };
        let refused = agent.until("an answer", |agent| match agent.ask(&["health", "ready"]) {
            Ok(_) => Some(None),
            Err(complaint) if complaint.contains("not counting") => Some(Some(complaint)),
            Err(_) => None,
        });
        let Some(complaint) = refused else { return Some(agent) };
        assert!(std::env::var_os("REQUIRE_PROBE").is_none(), "the probe is required here: {complaint}");
        eprintln!("SKIPPED: {complaint}");
        None
    }

    fn ask(&self, question: &[&str]) -> Result<String, String> {
        let mut line: Vec<OsString> = ["agent"].iter().chain(question).map(Into::into).collect();
        line.extend(["--plugins-root".into(), self.folder.path().into()]);
        ask::run(&line)
    }

    /// Asks until there is an answer.
    fn until<T>(&mut self, what: &str, mut answer: impl FnMut(&mut Self) -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(answer) = answer(self) {
                return answer;
            }
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap();
            assert!(started.elapsed() < HANG, "{what}: never; {}\n{:?}", log(), self.ask(&["report"]));
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn report(&self) -> Value {
        serde_json::from_str(&self.ask(&["report"]).unwrap()).unwrap()
    }

    fn terminate(&mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.until("an end", |agent| agent.child.try_wait().unwrap())
    }
}

/// A cgroup as a container of the pod has, gone with its test.
struct Cgroup(PathBuf);

impl Cgroup {
    fn of_container(id: &str) -> Option<Self> {
        let root = cgroup_tree::unified(Path::new("/sys/fs/cgroup"))?;
        let top = root.join(format!("kubepods-test-{}", std::process::id()));
        let path = top.join(format!("pod{UID}")).join(id);
        fs::create_dir_all(&path).ok()?;
        Some(Self(path))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for folder in self.0.ancestors().take(3) {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// A process of this cgroup that reads one request and ends.
fn serve_once(cgroup: &Cgroup) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    let script = format!("echo $$ >{}/cgroup.procs && exec head -n 1", cgroup.0.display());
    let mut child =
        Command::new("sh").args(["-c", &script]).stdin(OwnedFd::from(server)).stdout(Stdio::piped()).spawn().unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut line = String::new();
    child.stdout.take().unwrap().read_to_string(&mut line).unwrap();
    assert_eq!(line, "GET / HTTP/1.1\r\n");
    assert!(child.wait().unwrap().success());
}

#[test]
fn processes_that_live_for_less_than_a_tick_count_for_their_container_and_pod() {
    const PROCESSES: usize = 25;
    let id = "c".repeat(64);
    let Some(cgroup) = Cgroup::of_container(&id) else {
        assert!(std::env::var_os("REQUIRE_PROBE").is_none(), "no cgroup v2 in which one can be made");
        eprintln!("SKIPPED: no cgroup v2 in which one can be made");
        return;
    };
    let server = api_server();
    let container = json!({"name": "app", "containerID": format!("containerd://{id}")});
    server.put(json!({
        "metadata": {"name": "cgi-1", "namespace": "shop", "uid": UID},
        "status": {"containerStatuses": [container]},
    }));
    let Some(mut agent) = Agent::start(&server, &json!({})) else { return };
    agent.until("pods", |agent| {
        agent.ask(&["health", "ready"]).is_ok_and(|text| text.ends_with("pods: current\n")).then_some(())
    });
    (0..PROCESSES).for_each(|_| serve_once(&cgroup));
    let expected = PROCESSES.to_string();
    let total = |report: &Value, topology: &str, id: &str| {
        report[topology]["nodes"][id]["latest"]["http_requests_total"]["value"].as_str().map(str::to_owned)
    };
    agent.until("their totals", |agent| {
        let report = agent.report();
        let totals = [("Container", format!("{id};<container>")), ("Pod", format!("{UID};<pod>"))];
        let totals = totals.map(|(topology, id)| total(&report, topology, &id));
        totals.iter().all(|total| total.as_ref() == Some(&expected)).then_some(())
    });
    assert!(agent.terminate().success());
}

#[test]
fn a_credential_plugin_that_never_answers_does_not_hold_up_the_end() {
    let server = api_server();
    let signal = tempfile::tempdir().unwrap();
    // It ends with the test, whose folder goes.
    let begun = signal.path().join("begun");
    let script = format!("touch {0}; while [ -e {0} ]; do sleep 0.1; done", begun.display());
    let plugin = json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", script],
        "interactiveMode": "Never",
    }});
    let Some(mut agent) = Agent::start(&server, &plugin) else { return };
    agent.until("the plugin", |_| begun.exists().then_some(()));
    assert!(agent.terminate().success());
}

/// A line of `/proc/PID/status`, in bytes.
fn status(agent: &Agent, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/status", agent.child.id())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_matches([':', '\t', ' ', 'k', 'B']).parse::<u64>().unwrap() * 1024
}

#[test]
fn starting_takes_the_memory_of_the_kernel_s_types_but_once() {
    // The bytes themselves, and twice as much for what aya makes of them.
    const TIMES: u64 = 4;
    let server = api_server();
    let Some(agent) = Agent::start(&server, &json!({})) else { return };
    // Pages of the program's file are mapped as they are needed, stay, and can be dropped.
    let highest = status(&agent, "VmHWM") - status(&agent, "RssFile");
    let types = fs::metadata("/sys/kernel/btf/vmlinux").unwrap().len();
    eprintln!("at most {highest} bytes of its own, for {types} bytes of types");
    assert!(highest < TIMES * types, "at most {highest} bytes of its own, for {types} bytes of types");
}

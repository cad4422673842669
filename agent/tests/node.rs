//! The agent's binary on the running kernel, beside a scripted API server: processes in cgroups as Kubernetes makes
//! them, which live for less than a tick.
//!
//! Needs root and cgroup v2. What cannot be done here is skipped aloud; with `REQUIRE_PROBE=1` that fails.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking; clippy knows its functions, not their helpers")]

#[expect(dead_code, reason = "other tests use the rest of it")]
mod api_server;
mod hierarchy;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use agent::commands::ask;
use api_server::{ApiServer, Scenario};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

const AGENT: &str = env!("CARGO_BIN_EXE_scope-http-requests");
/// Much longer than anything here takes; only a hang reaches it.
const HANG: Duration = Duration::from_secs(60);

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
        Self::start_by(Command::new(AGENT), server, user)
    }

    /// By a program that becomes the agent.
    fn start_by(mut program: Command, server: &ApiServer, user: &Value) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = server.write_kubeconfig(folder.path(), user);
        let log = File::create(folder.path().join("log")).unwrap();
        let child = program
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

/// A cgroup as a container of a pod has, gone with its test at the latest.
struct Cgroup(PathBuf);

impl Cgroup {
    /// Of this container in this pod, and there `below`, if that is not empty. `None` where none can be made; that is said.
    fn make(uid: &str, id: &str, below: &str) -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let made = hierarchy::unified(Path::new("/sys/fs/cgroup")).and_then(|root| {
            let number = MADE.fetch_add(1, Ordering::Relaxed);
            let top = root.join(format!("kubepods-test-{}-{number}", std::process::id()));
            let path = top.join(format!("pod{uid}")).join(id).join(below);
            fs::create_dir_all(&path).ok()?;
            Some(Self(path))
        });
        if made.is_none() {
            assert!(std::env::var_os("REQUIRE_PROBE").is_none(), "no cgroup v2 in which one can be made");
            eprintln!("SKIPPED: no cgroup v2 in which one can be made");
        }
        made
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let is_below = |folder: &&Path| folder.to_string_lossy().contains("kubepods-test-");
        for folder in self.0.ancestors().take_while(is_below) {
            // The kernel may still be busy with the end of its last process.
            while fs::remove_dir(folder).is_err_and(|error| error.kind() == ErrorKind::ResourceBusy) {}
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

/// A pod as the API server has it, with this container, if it has started.
fn pod(name: &str, uid: &str, id: Option<&str>) -> Value {
    let container = id.map(|id| json!({"name": "app", "containerID": format!("containerd://{id}")}));
    json!({
        "metadata": {"name": name, "namespace": "shop", "uid": uid},
        "status": {"containerStatuses": container.into_iter().collect::<Vec<_>>()},
    })
}

fn uid(n: usize) -> String {
    format!("{n:08x}-f953-4bd3-bc89-12621681af49")
}

/// An agent that knows this node's pods, or `None` where the probe cannot run.
fn agent_with_pods(server: &ApiServer) -> Option<Agent> {
    let mut agent = Agent::start(server, &json!({}))?;
    agent.until("pods", |agent| {
        agent.ask(&["health", "ready"]).is_ok_and(|text| text.ends_with("pods: current\n")).then_some(())
    });
    Some(agent)
}

fn total(report: &Value, topology: &str, id: &str) -> Option<u64> {
    report[topology]["nodes"][id]["latest"]["http_requests_total"]["value"].as_str()?.parse().ok()
}

/// Waits until these pods, by UID, and their containers have these totals in the report.
fn wait_for_totals(agent: &mut Agent, expected: &[(String, String, u64)]) {
    agent.until("their totals", |agent| {
        let report = agent.report();
        let is_met = |(uid, id, requests): &(String, String, u64)| {
            let ids = [("Container", format!("{id};<container>")), ("Pod", format!("{uid};<pod>"))];
            ids.iter().all(|(topology, id)| total(&report, topology, id) == Some(*requests))
        };
        expected.iter().all(is_met).then_some(())
    });
}

#[test]
fn pods_that_are_gone_before_anybody_looks_have_all_their_requests() {
    const PODS: usize = 10;
    const REQUESTS: usize = 5;
    let server = api_server();
    let pods: Vec<_> = (1..=PODS).map(|n| (uid(n), format!("{n:064x}"))).collect();
    for (n, (uid, id)) in pods.iter().enumerate() {
        server.put(pod(&format!("job-{n}"), uid, Some(id)));
    }
    let Some(mut agent) = agent_with_pods(&server) else { return };
    for (uid, id) in &pods {
        let Some(cgroup) = Cgroup::make(uid, id, "") else { return };
        (0..REQUESTS).for_each(|_| serve_once(&cgroup));
    }
    let expected: Vec<_> = pods.into_iter().map(|(uid, id)| (uid, id, REQUESTS as u64)).collect();
    wait_for_totals(&mut agent, &expected);
    assert!(agent.terminate().success());
}

#[test]
fn a_pod_that_claims_to_be_another_takes_nothing_from_it() {
    let server = api_server();
    let (victim, attacker) = ((uid(1), "a".repeat(64)), (uid(2), "b".repeat(64)));
    server.put(pod("victim", &victim.0, Some(&victim.1)));
    let mut claims = pod("attacker", &attacker.0, Some(&attacker.1));
    claims["metadata"]["annotations"] = json!({"kubernetes.io/config.hash": victim.0});
    server.put(claims);
    let Some(mut agent) = agent_with_pods(&server) else { return };
    let named_like_it = format!("kubepods/burstable/pod{}/{}", victim.0, victim.1);
    let cgroups = [(&victim, ""), (&attacker, ""), (&attacker, named_like_it.as_str())];
    for (count, ((uid, id), below)) in [1, 3, 5].into_iter().zip(cgroups) {
        let Some(cgroup) = Cgroup::make(uid, id, below) else { return };
        (0..count).for_each(|_| serve_once(&cgroup));
    }
    wait_for_totals(&mut agent, &[(victim.0, victim.1, 1), (attacker.0, attacker.1, 8)]);
    assert!(agent.terminate().success());
}

#[test]
fn an_agent_in_a_time_namespace_knows_who_lives() {
    let shifted = || {
        let mut unshare = Command::new("unshare");
        unshare.args(["--time", "--boottime", "100000"]);
        unshare
    };
    if !shifted().arg("true").status().is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: no time namespaces here");
        return;
    }
    let server = api_server();
    let mut program = shifted();
    program.arg(AGENT);
    let Some(mut agent) = Agent::start_by(program, &server, &json!({})) else { return };
    // It lives, and so does this test, which reads.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    server.read_exact(&mut [0; 18]).unwrap();
    let own = format!("node-1;{}", std::process::id());
    agent.until("this process", |agent| total(&agent.report(), "Process", &own));
    assert!(agent.terminate().success());
}

#[test]
fn who_receives_tls_is_named_once() {
    const HELLO: &[u8] = include_bytes!("../../common/tests/client_hellos/curl");
    let server = api_server();
    let Some(mut agent) = Agent::start(&server, &json!({})) else { return };
    let receive = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(HELLO).unwrap();
        listener.accept().unwrap().0.read_exact(&mut [0; HELLO.len()]).unwrap();
    };
    let own = format!("node-1;{}", std::process::id());
    for connections in ["1", "2", "3"] {
        receive();
        agent.until("the connections", |agent| {
            let report = agent.report();
            let counted = &report["Process"]["nodes"][&own]["latest"]["http_requests_tls_connections"]["value"];
            (counted == connections).then_some(())
        });
    }
    let description = agent.report()["Plugins"][0]["description"].to_string();
    assert!(description.contains("; TLS is not counted: "), "{description}");
    agent.terminate();
    let log = fs::read_to_string(agent.folder.path().join("log")).unwrap();
    let own = format!("\"pid\":{},", std::process::id());
    let named = log.lines().filter(|line| line.contains("receives TLS: ") && line.contains(&own)).count();
    assert_eq!(named, 1, "{log}");
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

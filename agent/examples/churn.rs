//! What the whole agent costs in memory: 110 pods with 2 000 processes, 10 pods created and 10 deleted a second.
//!
//! `churn SECONDS [MAX_MIB]` scripts an API server, starts itself as the agent (only its kernel and its /proc are
//! played), polls it every second as Scope does, and prints what it holds each minute. Fails if the agent holds more
//! than MAX_MIB (default 20) at any of these moments.
#![expect(clippy::unwrap_used, reason = "a measurement, not part of the agent")]

#[path = "../tests/api_server/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest of it")]
mod api_server;

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use agent::commands::ask;
use agent::counting::counts::{Pid, ProcessCounts, Reading};
use agent::counting::identity::Identity;
use agent::counting::rates::Looked;
use agent::counting::responses::Counted;
use agent::counting::tick::{Probe, Processes};
use agent::pods::cgroup::candidates;
use agent::settings::cli;
use api_server::{ApiServer, Scenario};
use common::maps::{Counts, ProcessKey};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval};

const PODS: u64 = 110;
const PROCESSES_PER_POD: u64 = 19;
const CHANGES_PER_SECOND: u64 = 10;
/// Before the first change: the list has arrived by then.
const QUIET_SECONDS: u64 = 10;
/// One for all, as the kernel edge keeps it.
static COMMAND: LazyLock<Arc<str>> = LazyLock::new(|| "gunicorn: worker".into());
const LINE_EVERY_SECONDS: u64 = 60;

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next().unwrap_or_else(|| "60".into());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if first == "agent" {
        runtime.block_on(agent(&arguments.next().unwrap()));
    } else {
        let number = |text: OsString| text.into_string().unwrap().parse::<u64>().unwrap();
        let (seconds, max_mib) = (number(first), arguments.next().map_or(20, number));
        runtime.block_on(measure(seconds, max_mib as f64));
    }
}

async fn measure(seconds: u64, max_mib: f64) {
    let server = ApiServer::start(Scenario::Serve).await;
    (0..PODS).for_each(|n| server.put(pod(n)));
    let folder = tempfile::tempdir().unwrap();
    let agent = start_agent(&server, folder.path());
    let started = Instant::now();
    let mut tick = interval(Duration::from_secs(1) / CHANGES_PER_SECOND as u32);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut changes = 0;
    println!("seconds  resident MiB  report KiB  processes  pods");
    for n in 0..=seconds * CHANGES_PER_SECOND {
        tick.tick().await;
        let second = n / CHANGES_PER_SECOND;
        if second >= QUIET_SECONDS {
            server.put(pod(PODS + changes));
            server.remove(&name(changes));
            changes += 1;
        }
        if n.is_multiple_of(CHANGES_PER_SECOND) && second > 2 {
            let report = poll(folder.path()).await;
            if second.is_multiple_of(LINE_EVERY_SECONDS) || second == QUIET_SECONDS || second == seconds {
                print_line(started, &agent, &report, max_mib);
            }
        }
    }
}

/// Ended with the measurement, also with one that fails.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_agent(server: &ApiServer, folder: &Path) -> Agent {
    let kubeconfig = server.write_kubeconfig(folder, &json!({}));
    let this = std::env::current_exe().unwrap();
    Agent(Command::new(this).arg("agent").arg(folder).env("KUBECONFIG", kubeconfig).spawn().unwrap())
}

fn print_line(started: Instant, agent: &Agent, report: &str, max_mib: f64) {
    let json: Value = serde_json::from_str(report).unwrap();
    let count = |topology: &str| json[topology]["nodes"].as_object().map_or(0, serde_json::Map::len);
    let (seconds, resident, size) = (started.elapsed().as_secs(), resident_mib(agent.0.id()), report.len() / 1024);
    println!("{seconds:7}  {resident:12.1}  {size:10}  {:9}  {:4}", count("Process"), count("Pod"));
    assert!(resident <= max_mib, "{resident:.1} MiB is more than {max_mib} MiB");
}

async fn poll(folder: &Path) -> String {
    let arguments = [OsString::from("churn"), "report".into(), "--plugins-root".into(), folder.into()];
    spawn_blocking(move || ask::run(&arguments)).await.unwrap().unwrap()
}

async fn agent(folder: &OsString) {
    let mut root = OsString::from("--plugins-root=");
    root.push(folder);
    let arguments =
        ["churn".into(), "--no-terminal".into(), "--node-name=node-1".into(), "--log-level=warn".into(), root];
    let config = cli::config_of(arguments);
    let oldest = Arc::new(AtomicU64::new(0));
    let load = |_| Ok::<_, Infallible>(Node { oldest: Arc::clone(&oldest), listed: 0..PODS });
    let table = Table { started: None, oldest: Arc::clone(&oldest) };
    agent::run::run(config, None, load, table).await.unwrap();
}

/// The kernel of a node on which each live pod has its processes.
struct Node {
    /// The oldest pod that lives.
    oldest: Arc<AtomicU64>,
    /// Pods whose processes have slots.
    listed: Range<u64>,
}

impl Probe for Node {
    fn read(&mut self, at: Duration, _ended: &[ProcessKey]) -> io::Result<Reading> {
        let oldest = self.oldest.load(Ordering::Relaxed);
        let processes = (self.listed.start * PROCESSES_PER_POD..(oldest + PODS) * PROCESSES_PER_POD).map(counted);
        let processes = processes.map(|mut process| {
            process.counts.requests[1] = (at.as_millis() as u64).saturating_mul(u64::from(process.key.tgid % 7)) / 100;
            process
        });
        self.listed = oldest..oldest + PODS;
        Ok(Reading { at, processes: processes.collect(), ..Reading::default() })
    }

    fn release(&mut self, _ended: &[ProcessKey]) -> io::Result<()> {
        Ok(())
    }

    fn given_up(&mut self) -> Vec<ProcessKey> {
        Vec::new()
    }

    fn description(&self) -> String {
        "played".into()
    }

    fn responses(&self) -> Counted {
        Counted::Off
    }
}

fn counted(n: u64) -> ProcessCounts {
    ProcessCounts {
        key: ProcessKey { start_ns: n + 1, tgid: n as u32 + 1, reserved: 0 },
        pid: Some(Pid(n as u32 + 1)),
        command: Arc::clone(&COMMAND),
        candidates: Arc::default(),
        counts: Counts::default(),
    }
}

/// The /proc of that node.
struct Table {
    started: Option<Instant>,
    oldest: Arc<AtomicU64>,
}

impl Processes for Table {
    fn ended(&mut self) -> Vec<ProcessKey> {
        let age = self.started.get_or_insert_with(Instant::now).elapsed().as_secs();
        let before = self.oldest.load(Ordering::Relaxed);
        let oldest = age.saturating_sub(QUIET_SECONDS) * CHANGES_PER_SECOND;
        self.oldest.store(oldest, Ordering::Relaxed);
        (before * PROCESSES_PER_POD..oldest * PROCESSES_PER_POD).map(|n| counted(n).key).collect()
    }

    fn forget(&mut self, _given_up: &[ProcessKey]) {}

    fn track(&mut self, process: &ProcessCounts) -> Looked {
        let mut identity = Identity::from_counts(process);
        let n = u64::from(process.key.tgid - 1);
        identity.command_line =
            format!("/usr/local/bin/python3 /usr/local/bin/gunicorn --workers 19 shop.wsgi:app-{n}");
        let (pod, container) = (n / PROCESSES_PER_POD, n / PROCESSES_PER_POD * 2 + n % 2);
        let slice = format!("kubepods-burstable-pod{}.slice", uid(pod).replace('-', "_"));
        let path = format!("0::/kubepods.slice/{slice}/cri-containerd-{container:064x}.scope");
        identity.candidates = candidates(&path).into();
        identity.into()
    }

    fn unreadable(&self) -> u64 {
        0
    }
}

fn resident_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib / 1024.0
}

fn name(n: u64) -> String {
    format!("web-{n}")
}

fn uid(n: u64) -> String {
    format!("{n:08x}-0000-0000-0000-000000000000")
}

/// About 7 KB, as a pod with two containers and managed fields has.
fn pod(n: u64) -> Value {
    let statuses: Vec<Value> = (0..2)
        .map(|c| json!({"name": format!("app-{c}"), "containerID": format!("containerd://{:064x}", n * 2 + c), "image": "registry.example/app:1"}))
        .collect();
    let field = |f: usize| (format!("f:field-{f}"), json!({".": {}, "f:value": {}, "f:other": {}}));
    let fields: serde_json::Map<String, Value> = (0..120).map(field).collect();
    json!({
        "metadata": {
            "name": name(n), "namespace": "shop", "uid": uid(n),
            "labels": {"app": "web", "pod-template-hash": "7d4b9"},
            "managedFields": [{"manager": "kubelet", "fieldsV1": fields}],
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d4b9", "uid": "x", "controller": true}],
        },
        "spec": {"nodeName": "node-1", "containers": [{"name": "app-0", "env": vec![json!({"name": "A", "value": "b"}); 40]}]},
        "status": {"containerStatuses": statuses},
    })
}

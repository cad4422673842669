//! What the watch costs in memory: 110 pods, then 10 created and 10 deleted a second.
//!
//! `pod_churn SECONDS [MAX_MIB]` scripts an API server and starts itself as the watcher, so that only the watcher is
//! measured. Fails if the watcher holds more than MAX_MIB (default 20, the bound of the whole agent) at the end.
#![expect(clippy::unwrap_used, reason = "a measurement, not part of the agent")]

#[path = "../tests/api_server/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest of it")]
mod api_server;

use agent::pod_watch::{self, Pace, State};
use agent::pods::Pods;
use api_server::{ApiServer, Scenario};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

const PODS: u64 = 110;
const CHANGES_PER_SECOND: u64 = 10;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next().unwrap_or_else(|| "20".into());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if first == "watch" {
        runtime.block_on(watcher(&arguments.next().unwrap()));
    } else {
        let seconds = first.parse().unwrap();
        let max_mib = arguments.next().map_or(20.0, |mib| mib.parse().unwrap());
        runtime.block_on(server(seconds, max_mib));
    }
}

async fn server(seconds: u64, max_mib: f64) {
    let server = ApiServer::start(Scenario::Serve).await;
    (0..PODS).for_each(|n| server.put(pod(n)));
    let this = std::env::current_exe().unwrap();
    let mut watcher =
        std::process::Command::new(this).args(["watch", &format!("http://{}", server.address)]).spawn().unwrap();
    let mut tick = interval(Duration::from_secs(1) / CHANGES_PER_SECOND as u32);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut first: Option<f64> = None;
    for n in 0..seconds * CHANGES_PER_SECOND {
        tick.tick().await;
        // The first three seconds are quiet: the list has arrived by then.
        let Some(change) = n.checked_sub(3 * CHANGES_PER_SECOND) else {
            continue;
        };
        first.get_or_insert_with(|| resident_mib(watcher.id()));
        server.put(pod(PODS + change));
        server.remove(&name(change));
    }
    let last = resident_mib(watcher.id());
    watcher.kill().unwrap();
    watcher.wait().unwrap();
    println!("resident at {PODS} pods: {:.1} MiB; after {seconds} s of churn: {last:.1} MiB", first.unwrap());
    assert!(last <= max_mib, "{last:.1} MiB is more than {max_mib} MiB");
}

async fn watcher(address: &str) {
    let config = kube::Config::new(address.parse().unwrap());
    let (pods_sender, pods) = watch::channel(Pods::default());
    let (state_sender, state) = watch::channel(State::default());
    let pace = Pace { start_delay: Duration::ZERO, ..Pace::random() };
    tokio::spawn(pod_watch::run(config, "node-1".into(), pace, pods_sender, state_sender));
    let mut tick = interval(Duration::from_secs(60));
    loop {
        tick.tick().await;
        println!(
            "{:?}, {} live pods, {:.1} MiB",
            *state.borrow(),
            pods.borrow().live(),
            resident_mib(std::process::id())
        );
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

/// About 7 KB, as a pod with two containers and managed fields has.
fn pod(n: u64) -> Value {
    let statuses: Vec<Value> = (0..2)
        .map(|c| json!({"name": format!("app-{c}"), "containerID": format!("containerd://{:064x}", n * 2 + c), "image": "registry.example/app:1"}))
        .collect();
    let field = |f: usize| (format!("f:field-{f}"), json!({".": {}, "f:value": {}, "f:other": {}}));
    let fields: serde_json::Map<String, Value> = (0..120).map(field).collect();
    json!({
        "metadata": {
            "name": name(n), "namespace": "shop", "uid": format!("{n:08x}-0000-0000-0000-000000000000"),
            "labels": {"app": "web", "pod-template-hash": "7d4b9"},
            "managedFields": [{"manager": "kubelet", "fieldsV1": fields}],
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d4b9", "uid": "x", "controller": true}],
        },
        "spec": {"nodeName": "node-1", "containers": [{"name": "app-0", "env": vec![json!({"name": "A", "value": "b"}); 40]}]},
        "status": {"containerStatuses": statuses},
    })
}

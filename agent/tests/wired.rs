//! The wired agent, with a kernel and a /proc that are played, against a scripted API server that fails in every way:
//! it counts and serves on, says once what is wrong, and recovers.
//!
//! Time is paused and both ends share a thread, so minutes of backoff pass in no time and no test waits for luck.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking; clippy knows its functions, not their helpers")]

#[expect(dead_code, reason = "the tests of the watch use the rest of it")]
mod api_server;
mod played;
mod whole;

use std::time::Duration;

use agent::pods::news::NO_PODS;
use api_server::{ApiServer, Scenario};
use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::time::sleep;
use whole::Agent;

const UID: &str = "44c76ce5-f953-4bd3-bc89-12621681af49";
/// More than the longest time limit anywhere: that of a request which is never answered.
const PATIENCE_SECONDS: u32 = 600;

fn start(server: &ApiServer, user: Value) -> Agent {
    Agent::start(server, &user, &[], vec![format!("0::/kubepods/pod{UID}/{}", "a".repeat(64))])
}

/// What Scope and Kubernetes get at one time.
struct Answers {
    description: String,
    /// Of the process.
    total: u64,
    /// Whether it has a pod.
    placed: bool,
    /// `/health/ready`, head and body.
    ready: String,
}

impl Agent {
    /// Asks each second until the answers are as wanted and the agent is ready. Meanwhile the totals grow.
    async fn until(&self, what: &str, wanted: impl Fn(&Answers) -> bool) -> Answers {
        let (mut before, mut still_seconds) = (0, 0);
        for _ in 0..PATIENCE_SECONDS {
            sleep(Duration::from_secs(1)).await;
            let answers = self.answers().await;
            still_seconds = if answers.total > before { 0 } else { still_seconds + 1 };
            assert!(still_seconds < 5, "{what}: counting stands still at {before}");
            // A tick late it says so, and a tick is due as often as this asks.
            if wanted(&answers) && answers.ready.starts_with("HTTP/1.1 200") {
                return answers;
            }
            before = answers.total;
        }
        panic!("{what}: never; {:?}", self.lines.last(usize::MAX));
    }

    async fn answers(&self) -> Answers {
        let report = self.get("/report").await;
        let report: Value = serde_json::from_str(report.split_once("\r\n\r\n").unwrap().1).unwrap();
        let node = &report["Process"]["nodes"]["node-1;1"];
        Answers {
            description: report["Plugins"][0]["description"].as_str().unwrap().to_owned(),
            total: node["latest"]["http_requests_total"]["value"].as_str().map_or(0, |total| total.parse().unwrap()),
            placed: report["Pod"]["nodes"].get(format!("{UID};<pod>")).is_some(),
            ready: self.get("/health/ready").await,
        }
    }

    /// How many lines of the log hold these words.
    fn said(&self, words: &str) -> usize {
        self.lines.last(usize::MAX).iter().filter(|line| line.contains(words)).count()
    }
}

const TROUBLE: &str = "no news of pods from the API server";
const RECOVERY: &str = "the API server sends news of pods again";

fn pod() -> Value {
    let container = json!({"name": "app", "containerID": format!("containerd://{}", "a".repeat(64))});
    json!({
        "metadata": {"name": "web-1", "namespace": "shop", "uid": UID},
        "status": {"containerStatuses": [container]},
    })
}

/// Trouble of one kind, told to Scope and in the log with its cause; then an API server that works.
async fn check_recovery(agent: &Agent, what: &str, cause: &str, recover: impl AsyncFnOnce()) {
    let failing = agent.until(what, |answers| answers.description.contains(TROUBLE)).await;
    assert!(failing.description.contains(cause), "{what}: {}", failing.description);
    // Of a report that was made before the list came nothing can be told.
    let has_listed = agent.said("watching 1 pods of node node-1") > 0;
    let known = if has_listed { "those last known" } else { "none known yet" };
    assert!(failing.ready.contains(&format!("\nok\npods: {known}: ")), "{what}: {}", failing.ready);
    // Several attempts more.
    sleep(Duration::from_secs(60)).await;
    assert_eq!((agent.said(TROUBLE), agent.said(RECOVERY)), (1, 0), "{what}: {:?}", agent.lines.last(usize::MAX));
    recover().await;
    let well = agent.until(what, |answers| answers.placed && !answers.description.contains(TROUBLE)).await;
    assert!(well.ready.ends_with("\nok\npods: current\n"), "{what}: {}", well.ready);
    // A request that is never answered is slow at first and then cut off: two kinds of trouble, each said once.
    let kinds = if what == "Hang" { 2 } else { 1 };
    assert_eq!((agent.said(TROUBLE), agent.said(RECOVERY)), (kinds, 1), "{what}: {:?}", agent.lines.last(usize::MAX));
    // No library says it again in its own words.
    assert_eq!(agent.said("ERROR") + agent.said("WARN"), kinds, "{what}: {:?}", agent.lines.last(usize::MAX));
    assert_eq!(agent.said("watching 1 pods of node node-1"), 1, "{what}: {:?}", agent.lines.last(usize::MAX));
}

#[test]
fn an_api_server_that_fails_from_the_start() {
    for (scenario, cause) in [
        (Scenario::Status(401), "401 Scripted: pods is forbidden or worse; mount a valid service account token"),
        (Scenario::Status(403), "403 Scripted: pods is forbidden or worse; bind a ClusterRole with the rule"),
        (Scenario::Status(429), "429 Scripted: pods is forbidden or worse; nothing: the API server is overloaded"),
        (Scenario::Status(500), "500 Scripted: pods is forbidden or worse; look at the API server's log"),
        (Scenario::WatchStatus(403), "403 Scripted: pods is forbidden or worse; bind a ClusterRole with the rule"),
        (Scenario::Garbage, "; check that a Kubernetes API server answers at this address"),
        (Scenario::GarbageInWatch, "; check that a Kubernetes API server answers at this address"),
        (Scenario::Close, "; check that this node reaches the API server"),
        (Scenario::Hang, "no answer for 30 s; check the API server's load"),
    ] {
        // With its end all tasks of this agent end.
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let server = ApiServer::start(scenario).await;
            server.put(pod());
            let agent = start(&server, json!({}));
            let recover = async || server.world().scenario = Scenario::Serve;
            check_recovery(&agent, &format!("{scenario:?}"), cause, recover).await;
        });
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_absent_at_first() {
    let mut server = ApiServer::absent().await;
    server.put(pod());
    let agent = start(&server, json!({}));
    check_recovery(&agent, "absent", "Connection refused", async || server.listen().await).await;
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_killed_and_restarted() {
    let mut server = ApiServer::start(Scenario::Serve).await;
    server.put(pod());
    let agent = start(&server, json!({}));
    agent.until("working", |answers| answers.placed).await;
    assert_eq!(agent.said(TROUBLE), 0);
    server.kill().await;
    let restart = async || {
        assert!(agent.answers().await.placed, "the last known pods stay");
        server.compact();
        server.listen().await;
    };
    check_recovery(&agent, "killed", "Connection refused", restart).await;
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_too_old_is_no_trouble() {
    let server = ApiServer::start(Scenario::Status(410)).await;
    server.put(pod());
    let agent = start(&server, json!({}));
    sleep(Duration::from_secs(60)).await;
    server.world().scenario = Scenario::Serve;
    agent.until("410", |answers| answers.placed).await;
    assert_eq!(agent.said(TROUBLE), 0, "{:?}", agent.lines.last(usize::MAX));
}

#[tokio::test(start_paused = true)]
async fn credentials_that_cannot_be_are_told() {
    let server = ApiServer::start(Scenario::Serve).await;
    let agent = start(&server, json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1"}}));
    // No command: credentials that cannot be.
    let failing = agent.until("no command", |answers| answers.description.contains(TROUBLE)).await;
    assert!(failing.description.contains("the credential plugin that it names"), "{}", failing.description);
}

/// Not with paused time: a plugin runs as long as it likes.
#[tokio::test]
async fn counting_and_serving_do_not_wait_for_a_credential_plugin() {
    let server = ApiServer::start(Scenario::Serve).await;
    server.put(pod());
    let signal = tempfile::tempdir().unwrap();
    let go = signal.path().join("go");
    let credential = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "t"},
    });
    // If the test fails its folder goes, and the plugin with it.
    let (folder, file) = (signal.path().display(), go.display());
    let script = format!("while [ -d {folder} ] && [ ! -e {file} ]; do sleep 0.05; done; echo '{credential}'");
    let plugin = json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", script],
        "interactiveMode": "Never",
    }});
    let agent = start(&server, plugin);
    // Longer than the delay before the first attempt, so the plugin is at work.
    let first = agent.until("a plugin at work", |answers| answers.total > 50).await;
    assert!(!first.placed);
    assert!(first.ready.ends_with("\nok\npods: asked for, no list yet\n"), "{}", first.ready);
    std::fs::write(go, "").unwrap();
    agent.until("a plugin that has answered", |answers| answers.placed).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_of_another_name_is_told() {
    let server = ApiServer::start(Scenario::Serve).await;
    let agent = start(&server, json!({}));
    let lonely = agent.until("no pods", |answers| answers.description.contains(NO_PODS)).await;
    assert!(lonely.ready.ends_with(&format!("\nok\npods: none: {NO_PODS}\n")), "{}", lonely.ready);
    // Longer than the quiet after which a watch is said to go well.
    sleep(Duration::from_secs(200)).await;
    assert_eq!(agent.said(NO_PODS), 1, "{:?}", agent.lines.last(usize::MAX));
    server.put(pod());
    agent.until("pods", |answers| answers.placed && answers.ready.ends_with("\nok\npods: current\n")).await;
}

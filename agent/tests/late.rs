//! Names that come late: the API server is away when the agent starts, and what came meanwhile lands in its pod's series once it
//! is back. The wired agent, with a kernel and a /proc that are played, in paused time.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking; clippy knows its functions, not their helpers")]

#[expect(dead_code, reason = "the tests of the watch use the rest of it")]
mod api_server;
mod played;
mod whole;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use agent::counting::placing::POD_WAIT_TICKS;
use agent::counting::tick::TICK;
use api_server::ApiServer;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use whole::Agent;

/// The one pod that the API server knows, and one that it never hears of.
const KNOWN: &str = "44c76ce5-f953-4bd3-bc89-12621681af49";
const STRANGE: &str = "c55ba69a-e39f-44af-925d-c4794fd57878";
/// For how long the API server is away.
const AWAY: Duration = Duration::from_secs(60);
/// Names are current so soon after it is back.
const WITHIN: Duration = Duration::from_secs(10);

/// Where the played processes run.
fn cgroups() -> Vec<String> {
    let container = |uid, digit: &str| format!("0::/kubepods/pod{uid}/{}", digit.repeat(64));
    vec![container(KNOWN, "a"), container(STRANGE, "b"), "0::/system.slice/sshd.service".to_owned()]
}

/// What was received, as /metrics has it at one tick.
#[derive(Debug, PartialEq, Eq)]
struct Series {
    pod: u64,
    unknown: u64,
    outside: u64,
    waiting: u64,
    node: u64,
}

/// From a thread of its own there, so time stands still here.
fn scrape(agent: &Agent) -> Series {
    let lines = agent.lines.last(usize::MAX);
    let line = lines.iter().find(|line| line.contains("serving metrics")).expect("metrics are served");
    let address = line.split("address=").nth(1).unwrap().split_whitespace().next().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let sum = |metric: &str, label: &str| -> u64 {
        let of_metric = text.lines().filter(|line| line.starts_with(metric) && line.contains(label));
        of_metric.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    };
    let requests = |label| sum("scope_http_requests_total{", label);
    Series {
        pod: requests("k8s_namespace_name=\"shop\",k8s_pod_name=\"web-1\",k8s_container_name=\"app\""),
        unknown: requests("k8s_namespace_name=\"_unknown\""),
        outside: requests("") - requests("k8s_namespace_name"),
        waiting: sum("scope_http_requests_waiting{", ""),
        node: sum("scope_http_requests_node_total{", ""),
    }
}

/// The names in `top`'s table of pods, and what each has received.
async fn table(agent: &Agent) -> Vec<(String, u64)> {
    let answer = agent.get("/overview").await;
    let overview: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let rows = overview["tables"][2]["rows"].as_array().unwrap();
    let mut rows: Vec<_> =
        rows.iter().map(|row| (row["name"].as_str().unwrap().to_owned(), row["total"].as_u64().unwrap())).collect();
    rows.sort();
    rows
}

/// These names, each with a third of all.
async fn check_table(agent: &Agent, shares: &[(&str, u64)]) {
    let rows = table(agent).await;
    let third = rows.iter().map(|(_, total)| total).sum::<u64>() / 3;
    let expected: Vec<_> = shares.iter().map(|(name, share)| ((*name).to_owned(), share * third)).collect();
    assert_eq!(rows, expected);
}

#[tokio::test(start_paused = true)]
async fn what_came_while_the_api_server_was_away_is_its_pods() {
    let mut server = ApiServer::absent().await;
    let container = json!({"name": "app", "containerID": format!("containerd://{}", "a".repeat(64))});
    server.put(json!({
        "metadata": {"name": "web-1", "namespace": "shop", "uid": KNOWN},
        "status": {"containerStatuses": [container]},
    }));
    let agent = Agent::start(&server, &json!({}), &["--metrics-address=127.0.0.1:0"], cgroups());

    sleep(AWAY).await;
    // No series has what may have a name later.
    let away = scrape(&agent);
    assert!(away.outside > 0, "{away:?}");
    let third = away.outside;
    assert_eq!(away, Series { pod: 0, unknown: 0, outside: third, waiting: 2 * third, node: 3 * third });
    check_table(&agent, &[("(outside pods)", 1), ("(pod not known yet)", 2)]).await;

    server.listen().await;
    sleep(WITHIN).await;
    let back = scrape(&agent);
    let third = back.outside;
    assert!(third > away.outside, "{back:?}");
    assert_eq!(back, Series { pod: third, unknown: 0, outside: third, waiting: third, node: 3 * third });
    check_table(&agent, &[("(outside pods)", 1), ("(pod not known yet)", 1), ("shop/web-1", 1)]).await;

    // Longer than a cgroup waits for the pod that it names.
    sleep(Duration::from_secs(POD_WAIT_TICKS)).await;
    let late = scrape(&agent);
    let third = late.outside;
    assert_eq!(late, Series { pod: third, unknown: third, outside: third, waiting: 0, node: 3 * third });
    check_table(&agent, &[("(outside pods)", 1), ("(pod unknown)", 1), ("shop/web-1", 1)]).await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_is_ready_before_the_api_server_and_before_a_second_has_passed() {
    let server = ApiServer::absent().await;
    let started = Instant::now();
    let agent = Agent::start(&server, &json!({}), &[], cgroups());
    while !agent.get("/health/ready").await.starts_with("HTTP/1.1 200") {
        sleep(Duration::from_millis(10)).await;
    }
    let taken = started.elapsed();
    assert!(taken < TICK, "{taken:?}");
}

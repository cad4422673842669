//! The watch against a scripted API server that works, fails, dies and comes back.
#![expect(clippy::unwrap_used, reason = "tests")]

#[expect(dead_code, reason = "the tests of the wired agent use the rest of it")]
mod api_server;
mod watched;

use agent::pods::cgroup::candidates;
use agent::pods::index::Pods;
use agent::pods::trouble::Trouble;
use agent::pods::watch::{Pace, State};
use api_server::{ApiServer, Scenario};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use watched::Watched;

const PACE: Pace = Pace {
    start_delay: Duration::ZERO,
    watch_seconds: 250,
    slow_after: Duration::from_millis(300),
    well_after: Duration::from_millis(300),
};
/// Longer than any pause between two attempts that a test waits for.
const PATIENCE: Duration = Duration::from_secs(40);

fn uid(n: u32) -> String {
    format!("{n:08x}-0000-0000-0000-000000000000")
}

fn pod(n: u32) -> Value {
    let id = format!("containerd://{n:064x}");
    json!({
        "metadata": {"name": format!("web-{n}"), "namespace": "shop", "uid": uid(n)},
        "status": {"containerStatuses": [{"name": "app", "containerID": id}]},
    })
}

fn watch(server: &ApiServer) -> Watched {
    watched::watch(server.config(), PACE)
}

impl Watched {
    /// Waits until pod `n` is known by this name.
    async fn knows(&mut self, n: u32) {
        let known = self.pods.wait_for(|pods| named(pods, n));
        timeout(PATIENCE, known).await.unwrap_or_else(|_| panic!("web-{n} never came")).unwrap();
    }

    async fn live(&mut self, count: usize) {
        timeout(PATIENCE, self.pods.wait_for(|pods| pods.live() == count)).await.unwrap().unwrap();
    }

    async fn fails_with(&mut self, trouble: Trouble) -> String {
        let failing = |state: &State| matches!(state, State::Failing { report, .. } if report.trouble == trouble);
        let seen = timeout(PATIENCE, self.state.wait_for(failing)).await;
        match seen.unwrap_or_else(|_| panic!("{trouble:?} was never said")).unwrap().clone() {
            State::Failing { report, .. } => report.cause,
            state => unreachable!("{state:?}"),
        }
    }

    async fn is_well(&mut self) {
        timeout(PATIENCE, self.state.wait_for(|state| *state == State::Watching)).await.unwrap().unwrap();
    }
}

fn named(pods: &Pods, n: u32) -> bool {
    let place = candidates(&format!("0::/kubepods/pod{}/{n:064x}", uid(n)));
    pods.resolve(&place).is_some_and(|place| {
        *place.pod.name == *format!("web-{n}") && place.container.is_some_and(|container| &*container.name == "app")
    })
}

#[tokio::test]
async fn lists_then_follows() {
    let server = ApiServer::start(Scenario::Serve).await;
    server.put(pod(1));
    let mut watched = watch(&server);
    watched.knows(1).await;
    server.put(pod(2));
    watched.knows(2).await;
    server.remove("web-1");
    watched.live(1).await;
    assert!(named(&watched.pods.borrow(), 1), "a deleted pod keeps its name");
    assert_eq!(*watched.state.borrow(), State::Watching);

    let requests = server.world().requests.clone();
    let [list, watch] = requests.as_slice() else {
        panic!("one list and one watch, not {requests:?}");
    };
    for request in [list, watch] {
        assert!(request.starts_with("/api/v1/pods?"), "{request}");
        assert!(request.contains("fieldSelector=spec.nodeName%3Dnode-1"), "{request}");
        assert!(!request.contains("sendInitialEvents"), "{request}");
    }
    assert!(list.contains("resourceVersion=0"), "from the cache: {list}");
    assert!(watch.contains("timeoutSeconds=250"), "{watch}");
    assert!(watch.contains("allowWatchBookmarks=true"), "{watch}");
}

/// Fails from the start, is told what is wrong, and recovers by itself.
async fn recovers_from(scenario: Scenario, trouble: Trouble) {
    let server = ApiServer::start(scenario).await;
    server.put(pod(1));
    let mut watched = watch(&server);
    let cause = watched.fails_with(trouble).await;
    assert!(!cause.is_empty());
    server.world().scenario = Scenario::Serve;
    if scenario != Scenario::Hang {
        watched.is_well().await;
        watched.knows(1).await;
    }
}

#[tokio::test]
async fn recovers_from_every_answer() {
    tokio::join!(
        recovers_from(Scenario::Status(401), Trouble::Unauthorized),
        recovers_from(Scenario::Status(403), Trouble::Forbidden),
        recovers_from(Scenario::Status(429), Trouble::Throttled),
        recovers_from(Scenario::Status(500), Trouble::Refused),
        recovers_from(Scenario::Status(503), Trouble::Refused),
        recovers_from(Scenario::Garbage, Trouble::Garbage),
        recovers_from(Scenario::Close, Trouble::Unreachable),
        recovers_from(Scenario::Hang, Trouble::Slow),
    );
}

#[tokio::test]
async fn an_absent_server_is_waited_for() {
    let mut server = ApiServer::absent().await;
    let mut watched = watch(&server);
    let cause = watched.fails_with(Trouble::Unreachable).await;
    assert!(cause.contains("Connection refused"), "the chain stops early: {cause}");
    server.put(pod(1));
    server.listen().await;
    watched.knows(1).await;
    watched.is_well().await;
}

#[tokio::test]
async fn a_killed_server_leaves_the_last_known_pods() {
    let mut server = ApiServer::start(Scenario::Serve).await;
    server.put(pod(1));
    server.put(pod(2));
    let mut watched = watch(&server);
    watched.knows(2).await;
    server.kill().await;
    watched.fails_with(Trouble::Unreachable).await;
    assert!(named(&watched.pods.borrow(), 1));
    // Meanwhile a pod goes, one comes, and the history is lost: only a fresh list tells.
    server.remove("web-1");
    server.put(pod(3));
    server.compact();
    server.listen().await;
    watched.knows(3).await;
    watched.is_well().await;
    watched.live(2).await;
}

#[tokio::test]
async fn a_version_too_old_asks_for_a_fresh_list_and_is_no_trouble() {
    let server = ApiServer::start(Scenario::Serve).await;
    let mut watched = watch(&server);
    watched.is_well().await;
    server.compact();
    server.put(pod(1));
    watched.knows(1).await;
    assert_eq!(*watched.state.borrow(), State::Watching);
    assert!(!watched.state.has_changed().unwrap(), "it was never anything else");
}

#[tokio::test]
async fn an_unreadable_event_is_made_good_by_a_fresh_list() {
    let server = ApiServer::start(Scenario::GarbageInWatch).await;
    let mut watched = watch(&server);
    watched.fails_with(Trouble::Garbage).await;
    server.put(pod(1));
    server.world().scenario = Scenario::Serve;
    watched.knows(1).await;
    watched.is_well().await;
}

#[tokio::test]
async fn a_watch_that_ends_at_once_is_not_asked_for_in_a_hurry() {
    let server = ApiServer::start(Scenario::EmptyWatch).await;
    let mut watched = watch(&server);
    watched.is_well().await;
    sleep(Duration::from_secs(3)).await;
    let requests = server.world().requests.len();
    assert!(requests < 10, "{requests} requests in three seconds");
}

#[tokio::test]
async fn a_watch_that_is_resumed_is_well_though_no_pod_changes() {
    let mut server = ApiServer::start(Scenario::Serve).await;
    server.put(pod(1));
    let mut watched = watch(&server);
    watched.knows(1).await;
    server.kill().await;
    watched.fails_with(Trouble::Unreachable).await;
    server.listen().await;
    watched.is_well().await;
    let requests = server.world().requests.clone();
    assert_eq!(requests.iter().filter(|request| is_list(request)).count(), 1, "{requests:?}");
}

#[tokio::test]
async fn a_list_that_was_slow_is_well_though_no_pod_changes() {
    let server = ApiServer::start(Scenario::Hold).await;
    let mut watched = watch(&server);
    watched.fails_with(Trouble::Slow).await;
    server.world().scenario = Scenario::Serve;
    watched.is_well().await;
}

#[tokio::test]
async fn a_version_that_is_refused_as_too_old_is_not_asked_for_again() {
    let server = ApiServer::start(Scenario::WatchStatus(410)).await;
    let mut watched = watch(&server);
    watched.is_well().await;
    let lists = async || {
        while server.world().requests.iter().filter(|request| is_list(request)).count() < 3 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, lists()).await.unwrap_or_else(|_| panic!("{:?}", server.world().requests));
}

fn is_list(request: &str) -> bool {
    !request.contains("watch=true")
}

#[test]
fn nodes_keep_paces_of_their_own() {
    let paces: Vec<Pace> = (0..200).map(|_| Pace::random()).collect();
    assert!(paces.iter().all(|pace| (200..=290).contains(&pace.watch_seconds)));
    assert!(paces.iter().any(|pace| pace.watch_seconds != paces[0].watch_seconds));
    assert!(paces.iter().any(|pace| pace.start_delay != paces[0].start_delay));
}

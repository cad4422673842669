//! How soon the watch is current again after an API server failed. Time is paused and both ends share a thread, so it is
//! measured and not waited for.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking; clippy knows its functions, not their helpers")]

#[expect(dead_code, reason = "the other tests of the watch use the rest of it")]
mod api_server;
mod watched;

use agent::pods::watch::{Pace, State};
use api_server::{ApiServer, Scenario};
use kube::Config;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep, timeout};
use watched::Watched;

/// Names are to be current so soon after the server is ready again.
const WITHIN: Duration = Duration::from_secs(10);
/// Pauses are random: each outage ends so many times, at times of its own.
const ENDS: u32 = 12;
const PATIENCE: Duration = Duration::from_secs(3600);

fn pod(n: u32) -> Value {
    let uid = format!("{n:08x}-0000-0000-0000-000000000000");
    json!({"metadata": {"name": format!("web-{n}"), "namespace": "shop", "uid": uid}, "status": {}})
}

/// As on a node, but without the delay of a start.
fn watch(config: Config) -> Watched {
    watched::watch(config, Pace { start_delay: Duration::ZERO, ..Pace::random() })
}

impl Watched {
    /// How long it takes until so many pods are known; that it is current is then said, too.
    async fn current(&mut self, live: usize) -> Duration {
        let started = Instant::now();
        timeout(PATIENCE, self.pods.wait_for(|pods| pods.live() == live)).await.unwrap().unwrap();
        let taken = started.elapsed();
        timeout(PATIENCE, self.state.wait_for(|state| *state == State::Watching)).await.unwrap().unwrap();
        taken
    }
}

#[derive(Clone, Copy, Debug)]
enum Outage {
    /// Nobody listens.
    Refused,
    /// It answers, and not with pods.
    Answers(Scenario),
}

/// An outage of this length, in which a pod comes, and after which the version that is asked for may be too old.
async fn recovers(outage: Outage, length: Duration, is_too_old: bool) -> Duration {
    let mut server = ApiServer::start(Scenario::Serve).await;
    server.put(pod(1));
    let mut watched = watch(server.config());
    watched.current(1).await;
    server.kill().await;
    if let Outage::Answers(scenario) = outage {
        server.world().scenario = scenario;
        server.listen().await;
    }
    sleep(length).await;
    server.put(pod(2));
    if is_too_old {
        server.compact();
    }
    match outage {
        Outage::Refused => server.listen().await,
        Outage::Answers(_) => server.world().scenario = Scenario::Serve,
    }
    watched.current(2).await
}

#[test]
fn names_are_current_within_10_s_of_a_server_that_is_ready() {
    let outages = [
        Outage::Refused,
        Outage::Answers(Scenario::Status(401)),
        Outage::Answers(Scenario::Status(503)),
        Outage::Answers(Scenario::Status(410)),
        Outage::Answers(Scenario::WatchStatus(410)),
    ];
    for outage in outages {
        let mut longest = Duration::ZERO;
        for end in 0..ENDS {
            // With its end all tasks of this watch end.
            let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
            let length = Duration::from_millis(u64::from(end) * 5_300);
            longest = longest.max(runtime.block_on(recovers(outage, length, end % 2 == 0)));
        }
        println!("{outage:?}: {longest:?} at most");
        assert!(longest < WITHIN, "{outage:?}: {longest:?}");
    }
}

/// As after a wall clock that was set back: kube takes the token that it has for fresh.
#[tokio::test(start_paused = true)]
async fn a_token_that_is_refused_is_read_again() {
    let mut server = ApiServer::start(Scenario::Serve).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "first").unwrap();
    server.world().token = Some("first".into());
    server.put(pod(1));
    let mut config = server.config();
    config.auth_info.token_file = Some(file.display().to_string());
    let mut watched = watch(config);
    watched.current(1).await;
    server.kill().await;
    std::fs::write(&file, "second").unwrap();
    server.world().token = Some("second".into());
    server.put(pod(2));
    server.listen().await;
    let taken = watched.current(2).await;
    assert!(taken < WITHIN, "{taken:?}");
}

//! A watch on pods, and what it has found.

use agent::pods::index::Pods;
use agent::pods::watch::{self as pod_watch, Pace, State};
use kube::Config;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub struct Watched {
    pub pods: watch::Receiver<Pods>,
    pub state: watch::Receiver<State>,
    task: JoinHandle<()>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// As on a node.
pub fn watch(config: Config, pace: Pace) -> Watched {
    let (pods_sender, pods) = watch::channel(Pods::default());
    let (state_sender, state) = watch::channel(State::default());
    let task = tokio::spawn(pod_watch::run(config, "node-1".into(), pace, pods_sender, state_sender));
    Watched { pods, state, task }
}

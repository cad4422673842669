//! How the tasks learn that the agent ends. EDGE.

use tokio::sync::watch;

/// Tells all tasks to end; dropping it does, too.
pub struct Trigger(watch::Sender<bool>);

/// What a task waits for.
#[derive(Clone)]
pub struct Shutdown(watch::Receiver<bool>);

/// Both ends.
#[must_use]
pub fn channel() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (Trigger(sender), Shutdown(receiver))
}

impl Trigger {
    /// Tells all tasks to end.
    pub fn pull(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Returns once the agent ends.
    pub async fn requested(&mut self) {
        // An error means that the trigger is gone, which says the same.
        let _ = self.0.wait_for(|requested| *requested).await;
    }
}

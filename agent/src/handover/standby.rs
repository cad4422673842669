//! What an agent does in a pod when another one goes on: the kubelet would start it again, and it would take the counts back. EDGE.

use std::io;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::scope::plugin::{PluginsRoot, is_served};
use crate::shutdown::Signals;

/// Between two looks at whether the other one serves.
const LOOK: Duration = Duration::from_secs(1);
/// So many looks in vain: an agent that is killed and started again needs less.
const LOOKS: u32 = 3;

/// Waits while somebody serves the plugin socket. Returns whether nobody does any more: then it is to count again. Else
/// it was asked to end.
///
/// # Errors
///
/// Signals cannot be caught.
pub async fn stand_by(root: &PluginsRoot) -> io::Result<bool> {
    let mut signals = Signals::listen()?;
    tracing::info!("standing by while the other agent counts: the kubelet is to end this pod");
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut in_vain = 0;
    while in_vain < LOOKS {
        tokio::select! {
            _ = looks.tick() => {}
            name = signals.received() => {
                tracing::info!("ended by {name} while standing by");
                return Ok(false);
            }
        }
        let is_served = [&root.path].into_iter().chain(&root.fallbacks).any(|folder| is_served(folder));
        in_vain = if is_served { 0 } else { in_vain + 1 };
    }
    tracing::info!("nobody counts any more: this agent does again");
    Ok(true)
}

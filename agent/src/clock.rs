//! The machine's clocks. EDGE.

use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use crate::counting::tick::Clock;

/// The clocks a tick looks at, as the kernel keeps them.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    /// Since boot, suspend included: requests cannot arrive while a machine sleeps, but a rate
    /// that leaves the time out would claim that they did.
    fn monotonic(&self) -> Duration {
        let now = clock_gettime(ClockId::Boottime);
        // Never negative: the clock starts at boot.
        Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
    }

    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }
}

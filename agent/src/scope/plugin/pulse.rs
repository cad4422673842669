//! When the sampling last did what, and whether that is well. EDGE.

use std::time::Duration;

use tokio::time::Instant;

use crate::health::{self, Question, Vitals};

/// When the sampling last did what. Tokio's clock, unlike the one for rates, stands still while the machine sleeps:
/// waking up is no reason to complain.
#[derive(Clone, Copy, Debug)]
pub struct Pulse {
    started: Instant,
    ticked: Option<Instant>,
    read: Option<Instant>,
}

impl Pulse {
    /// Of a sampling that begins now.
    #[must_use]
    pub fn new() -> Self {
        Self { started: Instant::now(), ticked: None, read: None }
    }

    /// Notes the end of a tick, and whether it read the kernel's counts.
    pub fn beat(&mut self, read: bool) {
        let now = Instant::now();
        self.ticked = Some(now);
        if read {
            self.read = Some(now);
        }
    }

    /// One line that says what is wrong, if something is.
    #[must_use]
    pub fn complaint(&self, question: Question, refusal: Option<&str>) -> Option<String> {
        let since = |at: Instant| at.duration_since(self.started);
        let vitals =
            Vitals { started: Duration::ZERO, ticked: self.ticked.map(since), read: self.read.map(since), refusal };
        health::complaint(question, vitals, self.started.elapsed())
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self::new()
    }
}

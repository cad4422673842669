//! A kernel that is played, for tests in the crate and beside it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use agent::counting::counts::{Pid, ProcessCounts, Reading};
use agent::counting::tick::Probe;
use common::maps::{Counts, ProcessKey};

/// Counts ten more requests of one process at each reading.
#[derive(Default)]
pub struct Steady(u64);

impl Probe for Steady {
    fn read(&mut self, at: Duration, _ended: &[ProcessKey]) -> io::Result<Reading> {
        self.0 += 10;
        let process = ProcessCounts {
            key: ProcessKey { start_ns: 1, tgid: 1, reserved: 0 },
            pid: Some(Pid(1)),
            command: "server".into(),
            candidates: Arc::default(),
            counts: Counts { requests: [0, self.0, 0], unsynced: 0 },
        };
        Ok(Reading { at, processes: vec![process], ..Reading::default() })
    }

    fn release(&mut self, _ended: &[ProcessKey]) -> io::Result<()> {
        Ok(())
    }

    fn given_up(&mut self) -> Vec<ProcessKey> {
        Vec::new()
    }

    fn description(&self) -> String {
        "played".into()
    }
}

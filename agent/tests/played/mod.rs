//! A kernel that is played, for tests in the crate and beside it.

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use agent::counting::counts::{Pid, ProcessCounts, Reading};
use agent::counting::responses::{Counted, Responses, SeriesCounts};
use agent::counting::tick::Probe;
use common::exchange::Asked;
use common::maps::{Counts, ProcessKey};
use common::series::Series;

/// Counts ten more requests of each process at each reading: one fails, and the last is not answered yet. Their PIDs are 1 and up.
pub struct Steady {
    requests: u64,
    pids: RangeInclusive<u32>,
}

impl Steady {
    pub fn of(processes: u32) -> Self {
        Self { requests: 0, pids: 1..=processes }
    }
}

impl Probe for Steady {
    fn read(&mut self, at: Duration, _ended: &[ProcessKey]) -> io::Result<Reading> {
        self.requests += 10;
        let process = |tgid| ProcessCounts {
            key: ProcessKey { start_ns: 1, tgid, reserved: 0 },
            pid: Some(Pid(tgid)),
            command: "server".into(),
            candidates: Arc::default(),
            counts: Counts { requests: [0, self.requests, 0], ..Counts::default() },
        };
        let (answered, failed) = (self.requests - self.requests / 10 - 1, self.requests / 10);
        let processes: Vec<_> = self.pids.clone().map(process).collect();
        let of = |process: &ProcessCounts| [series(process.key, 200, answered), series(process.key, 503, failed)];
        let responses = Some(Responses { series: processes.iter().flat_map(of).collect(), ..Responses::default() });
        Ok(Reading { at, processes, responses, ..Reading::default() })
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

    fn responses(&self) -> Counted {
        Counted::At("nowhere".into())
    }
}

/// Responses that took between 0.25 and 0.5 ms.
fn series(process: ProcessKey, status: u32, count: u64) -> SeriesCounts {
    let mut value = Series { sum_ns: 300_000 * count, ..Series::default() };
    value.buckets[2] = count;
    SeriesCounts { process, asked: Asked::HTTP_1, status, value }
}

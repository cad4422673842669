//! Runs the state machine over the bytes of one read, a window at a time: hands out [`process`], and three ways to get at
//! the bytes.

mod direct;
mod dynptr;
mod job;
mod user;
mod window;

use common::connection::Connection;
use common::failure::Failure;
use common::machine::Read;

pub(crate) use direct::Direct;
pub(crate) use dynptr::ThroughDynptr;
pub(crate) use job::Job;
pub(crate) use user::User;

/// A way to get at the bytes that are being read.
pub(crate) trait Reader {
    /// Whether a read whose first byte stands at `skb_offset` of the buffer is one it can read.
    #[inline(always)]
    fn suits(&self, _skb_offset: u32) -> bool {
        true
    }

    /// Takes the job's turns; false when the bytes cannot be read.
    fn take_turns(&self, skb_offset: u32, job: &mut Job, connection: &mut Connection) -> bool;
}

/// Processes a read whose first byte is at `skb_offset` of the buffer.
#[inline(always)]
pub(crate) fn process<'a>(
    reader: &impl Reader,
    skb_offset: u32,
    read: Read,
    connection: &mut Connection,
    trial: bool,
) -> Option<&'a mut Job> {
    let job = job::job()?;
    job.begin(read, trial);
    if !reader.take_turns(skb_offset, job, connection) {
        connection.lose_certainty(Failure::Unreadable);
        job.failure = Failure::Unreadable as u32 + 1;
    } else if job.trial != 0 {
        // What it was lost for stays as it is.
        connection.end_try();
        job.failure = 0;
    } else if job.read.offset < job.read.end && connection.stream.phase.reads_on() {
        connection.lose_certainty(Failure::StepBudget);
        job.failure = Failure::StepBudget as u32 + 1;
    }
    Some(job)
}

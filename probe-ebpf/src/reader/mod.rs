//! Runs the state machine over the bytes of one read, a window at a time: hands out [`process`], and three ways to get at
//! the bytes.

mod cursor;
mod direct;
mod dynptr;
mod job;
mod jobs;
mod user;
mod window;

use common::connection::Connection;
use common::machine::Read;

use crate::kernel::constant;
pub(crate) use cursor::UserFill;
pub(crate) use direct::Direct;
pub(crate) use dynptr::ThroughDynptr;
pub(crate) use job::{Cursor, Job};
pub(crate) use jobs::job;
pub(crate) use user::User;
pub(crate) use window::{Fill, JobSource, MAX_TURNS};

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
    let job = job()?;
    job.begin(read, trial);
    let readable = reader.take_turns(skb_offset, job, connection);
    job.conclude(connection, readable, constant!(response_shards) != 0);
    Some(job)
}

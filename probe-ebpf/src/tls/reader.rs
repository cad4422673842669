//! Runs the state machine over plaintext in the process's memory.

#[path = "../reader/cursor.rs"]
mod cursor;
#[path = "../reader/job.rs"]
mod job;
#[path = "../reader/window.rs"]
mod window;

use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::btf_map;
use common::connection::Connection;
use common::failure::Failure;
use common::machine::Read;
use common::stream::Phase;
use common::tls::session::Key;
use core::ptr::{from_mut, null_mut};

use crate::answers;
use crate::calls::Bytes;
use crate::count;
use crate::kernel::constant;
use crate::shared::{claims, gives_back};
pub(crate) use cursor::UserFill;
pub(crate) use job::{Cursor, Job};
pub(crate) use window::{Fill, JobSource, MAX_TURNS};
use window::{Work, take_turns};

/// As many tasks may be within the program on a CPU at a time, each having been preempted by the next.
const JOBS: u32 = 4;

/// A job, and who has it.
#[repr(C)]
pub(crate) struct Claimed {
    pub(crate) job: Job,
    holders: u64,
}

impl Claimed {
    /// Nothing may be done with it any more.
    #[inline(always)]
    pub(crate) fn give_back(&mut self) {
        gives_back(&mut self.holders);
    }
}

#[btf_map]
static CLAIMED: PerCpuArray<Claimed, { JOBS as usize }> = PerCpuArray::new();

/// Processes what was read, and counts what is found. Says whether that made the session certain again.
#[inline(always)]
pub(crate) fn process(
    session: Key,
    bytes: &Bytes,
    (read, trial): (Read, bool),
    connection: &mut Connection,
) -> Option<bool> {
    let Some(claimed) = claim() else {
        connection.lose_certainty(Failure::Unreadable);
        count::failure(connection, Failure::Unreadable as u32);
        answers::lost(session);
        return None;
    };
    let job = &mut claimed.job;
    job.begin(read, trial);
    job.cursor = Cursor::new(0, bytes.address, (0, bytes.length));
    take_turns(Work { job: &raw mut *job, connection: &raw mut *connection, fill: UserFill });
    job.conclude(connection, true, false);
    // TLS within TLS is no connection.
    job.client_hello = 0;
    if count::found(connection, job).is_some() {
        answers::note(connection, job, session, bytes.is_answered);
    }
    if connection.stream.phase == Phase::Asked
        && (constant!(response_shards) == 0 || !bytes.is_answered || job.read.offset < bytes.length)
    {
        // What was sent before the answer came is for the other end of a tunnel.
        connection.stream.phase = Phase::Tunnel;
    }
    let resynced = job.resynced != 0;
    claimed.give_back();
    Some(resynced)
}

/// A job that nobody has.
#[inline(always)]
pub(crate) fn claim<'a>() -> Option<&'a mut Claimed> {
    // SAFETY: per CPU, and claimed by one task at a time.
    unsafe { find().as_mut() }
}

/// A function of its own, which hands out no number: from one that the verifier knows it would follow all that comes, once for each.
#[inline(never)]
fn find() -> *mut Claimed {
    let mut index = 0;
    while index < JOBS {
        if let Some(claimed) = claimed(index)
            && claims(&mut claimed.holders)
        {
            return from_mut(claimed);
        }
        index += 1;
    }
    null_mut()
}

#[inline(always)]
fn claimed<'a>(index: u32) -> Option<&'a mut Claimed> {
    // SAFETY: per CPU, and claimed by one task at a time.
    unsafe { CLAIMED.get_ptr_mut(index)?.as_mut() }
}

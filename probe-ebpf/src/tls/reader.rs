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

use crate::calls::Bytes;
use crate::count;
use crate::kernel::bounded;
use crate::shared::{claims, gives_back};
use crate::untold;
use cursor::UserFill;
use job::Cursor;
pub(crate) use job::Job;
use window::{Work, take_turns};

/// As many tasks may be within the program on a CPU at a time, each having been preempted by the next.
const JOBS: u32 = 4;

/// A job, and who has it.
#[repr(C)]
struct Claimed {
    job: Job,
    holders: u64,
}

#[btf_map]
static CLAIMED: PerCpuArray<Claimed, { JOBS as usize }> = PerCpuArray::new();

/// Processes what was read, and counts what is found. Says whether that made the session certain again.
#[inline(always)]
pub(crate) fn process(bytes: &Bytes, read: Read, connection: &mut Connection, trial: bool) -> Option<bool> {
    let index = claim();
    let Some(claimed) = claimed(bounded!(index, JOBS as i32 * 2 - 1) as u32) else {
        connection.lose_certainty(Failure::Unreadable);
        count::failure(connection, Failure::Unreadable as u32);
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
        untold::note(connection, job.requests.iter().sum());
    }
    let resynced = job.resynced != 0;
    gives_back(&mut claimed.holders);
    Some(resynced)
}

/// The number of a job that nobody has; else one that none has. A function of its own: the verifier looks at what follows once.
#[inline(never)]
fn claim() -> u32 {
    let mut index = 0;
    while index < JOBS {
        if let Some(claimed) = claimed(index)
            && claims(&mut claimed.holders)
        {
            return index;
        }
        index += 1;
    }
    JOBS
}

#[inline(always)]
fn claimed<'a>(index: u32) -> Option<&'a mut Claimed> {
    // SAFETY: per CPU, and claimed by one task at a time.
    unsafe { CLAIMED.get_ptr_mut(index)?.as_mut() }
}

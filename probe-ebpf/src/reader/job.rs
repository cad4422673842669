//! The read being processed: how far it is, and what was found in it.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use common::connection::Connection;
use common::event::Event;
use common::exchange::{Answer, Untold};
use common::failure::Failure;
use common::machine::Read;
use common::maps::Version;
use common::window::SLACK;
use common::word;

use crate::noted::Noted;

/// Bytes of a read that are copied at a time; an ordinary head fits.
pub(super) const COPIED: u32 = 1024;
const _: () = assert!(COPIED.is_power_of_two() && COPIED >= SLACK);

/// The highest address that a masked one can be. The window is that large, and more: one operation
/// shows the verifier that an address is within it.
pub(super) const fn highest(capacity: u32) -> i32 {
    2 * capacity as i32 - 1
}

/// One read to process, and what was found in it so far. It is kept in a map: of what is on the
/// stack the verifier follows every value, of this none.
#[repr(C)]
pub(crate) struct Job {
    /// A copy of the stretch of the read that is being looked at, and bytes of any value.
    pub(super) window: [u8; (2 * COPIED + 2 * word::BYTES) as usize],
    pub(crate) read: Read,
    /// Requests by version.
    pub(crate) requests: [u32; Version::ALL.len()],
    /// Where responses are counted: what the requests were.
    pub(crate) noted: Noted,
    /// The loss that ended it, and one more; 0 for none.
    pub(super) failure: u32,
    /// The connection is not certain: 1 while no request was found, else 0.
    pub(super) trial: u32,
    /// A connection became certain again: 1, else 0.
    pub(crate) resynced: u32,
    /// The connection began with a TLS ClientHello: 1, else 0.
    pub(crate) client_hello: u32,
    /// Of a send: the status that the last turn found, or 0.
    pub(crate) status: u32,
    /// Of a send: the last turn had nothing to do: 1, else 0.
    over: u32,
    /// Of a send: when one of its responses was complete; 0 before the first was.
    now_ns: u64,
    /// Of a send: the response that is complete now.
    pub(crate) answer: Answer,
    /// [`Direct`](super::Direct), [`ThroughDynptr`](super::ThroughDynptr): where the read begins in the buffer.
    pub(super) skb_offset: u32,
    /// [`User`](super::User): where the window was last filled from.
    pub(crate) cursor: Cursor,
    /// [`Direct`](super::Direct): the same.
    pub(super) spot: Spot,
}

impl Job {
    /// What else is in it is written before it is read.
    #[inline(always)]
    pub(crate) fn begin(&mut self, read: Read, trial: bool) {
        self.read = read;
        self.requests = [0; Version::ALL.len()];
        self.noted.count = 0;
        self.noted.decides = 0;
        self.failure = 0;
        self.trial = trial.into();
        self.resynced = 0;
        self.client_hello = 0;
    }

    /// The same of a send, whose turns are granted here too.
    #[inline(always)]
    pub(crate) fn begin_send(&mut self, read: Read) {
        self.read = read;
        self.read.grant_send();
        self.failure = 0;
        self.now_ns = 0;
    }

    /// Of a send: the time, which is asked once, and only where something is complete: to ask is a tenth of what a send costs.
    #[inline(always)]
    pub(crate) fn now_ns(&mut self) -> u64 {
        if self.now_ns == 0 {
            // SAFETY: no arguments.
            self.now_ns = unsafe { bpf_ktime_get_ns() };
        }
        self.now_ns
    }

    /// All turns were taken, unless the bytes were not `readable`. Where sends are not `seen`, frames of HTTP/2 are never believed.
    #[inline(always)]
    pub(crate) fn conclude(&mut self, connection: &mut Connection, readable: bool, seen: bool) {
        if !readable {
            connection.lose_certainty(Failure::Unreadable);
            self.failure = Failure::Unreadable as u32 + 1;
        } else if self.trial != 0 {
            // What it was lost for stays as it is.
            connection.end_try(seen && self.read.offset == self.read.end);
            self.failure = if connection.joined != 0 { Failure::Joined as u32 + 1 } else { 0 };
        } else if self.read.offset < self.read.end && connection.stream.phase.reads_on() {
            connection.lose_certainty(Failure::StepBudget);
            self.failure = Failure::StepBudget as u32 + 1;
        }
        // What was noted of it was right: it was never lost. (Without asking whether this was a trial: the verifier would follow both
        // ways to here.)
        self.resynced &= u32::from(1 ^ connection.joined);
        connection.joined = 0;
    }

    /// Of a send: notes what a turn found.
    #[inline(always)]
    pub(crate) fn note(&mut self, event: Event) {
        self.status = event.status();
        self.over = (event == Event::END).into();
        if self.status == 0
            && let Some(cause) = event.failure()
        {
            self.failure = cause + 1;
        }
    }

    /// Of a send: another turn is due, unless the stream says otherwise.
    #[inline(always)]
    pub(crate) fn goes_on(&self) -> bool {
        self.over == 0 && self.read.offset < self.read.end
    }

    /// Of a send: what its loss means for the responses.
    #[inline(always)]
    pub(crate) fn untold(&self) -> Untold {
        const UNREADABLE: u32 = Failure::Unreadable as u32;
        const STEP_BUDGET: u32 = Failure::StepBudget as u32;
        match self.failure() {
            Some(UNREADABLE) => Untold::Unreadable,
            Some(STEP_BUDGET) => Untold::StepBudget,
            _ => Untold::Malformed,
        }
    }

    /// The connection was tried, and nothing is certain.
    #[inline(always)]
    pub(crate) fn is_trial(&self) -> bool {
        self.trial != 0
    }

    /// The loss that ended the read.
    #[inline(always)]
    pub(crate) fn failure(&self) -> Option<u32> {
        self.failure.checked_sub(1)
    }
}

/// The segment of the process's memory that is being looked at.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Cursor {
    /// Its `struct iovec`; 0 if there is but one segment.
    pub(crate) segment: u64,
    /// The address of its first byte that belongs to the read.
    pub(crate) address: u64,
    /// The offset in the read of that byte.
    pub(crate) start: u32,
    /// The offset in the read behind the segment's last byte.
    pub(crate) end: u32,
    /// Steps taken so far.
    pub(crate) steps: u32,
    pub(crate) reserved: u32,
}

/// The stretch of the buffer that is being looked at.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Spot {
    /// Where the window is.
    pub(super) window: u64,
    /// The buffer, or the one of its fragment list, that the piece is in.
    pub(super) buffer: u64,
    /// The piece: 0 is the linear part, others are fragments.
    pub(super) piece: u32,
    /// The offset in the whole of the piece's first byte.
    pub(super) start: u32,
}

//! What is noted of requests until something of their responses is seen, by others than who reads requests. PURE.
//!
//! Requests and responses of a Unix connection are read under two locks, those of its two ends. So who reads requests leaves here what
//! they were; who reads responses takes it, and alone writes `taken`, `unkept_taken` and `breaks_taken`. Numbers only grow.

use crate::maps::ProcessKey;

/// How many requests are kept until the next response is read; of further ones it is known that they came.
const NOTED: usize = 16;

/// Requests that were read and not yet taken note of by who reads responses. Fresh storage is zeroed.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inbox<const KEPT: usize = NOTED> {
    /// Who counted the latest request.
    pub process: ProcessKey,
    /// That process's slot.
    pub slot: u32,
    /// Among the unkept was one whose method decides about its response: 1 from then on.
    pub decides: u32,
    /// How many were kept. To be written behind what is kept.
    pub pushed: u64,
    /// How many of these were taken.
    pub taken: u64,
    /// How many were not kept.
    pub unkept: u64,
    /// How many of these were taken note of.
    pub unkept_taken: u64,
    /// How often requests were missed.
    pub breaks: u64,
    /// How often that was taken note of.
    pub breaks_taken: u64,
    /// When the socket that answers was closed; 0 while it is open.
    pub closed_ns: u64,
    /// The socket that asked is closed: 1, else 0.
    pub asker_closed: u64,
    requests: [u32; KEPT],
    times: [u64; KEPT],
}

const _: () = assert!(size_of::<Inbox>() <= 288);

impl<const KEPT: usize> Default for Inbox<KEPT> {
    fn default() -> Self {
        Self {
            process: ProcessKey::default(),
            slot: 0,
            decides: 0,
            pushed: 0,
            taken: 0,
            unkept: 0,
            unkept_taken: 0,
            breaks: 0,
            breaks_taken: 0,
            closed_ns: 0,
            asker_closed: 0,
            requests: [0; KEPT],
            times: [0; KEPT],
        }
    }
}

impl<const KEPT: usize> Inbox<KEPT> {
    /// How many requests are kept.
    pub const KEPT: u32 = {
        assert!(KEPT.is_power_of_two());
        KEPT as u32
    };

    /// Whether one more is kept. Behind one that was not, none is until that was taken note of: they stay in their order.
    #[inline(always)]
    #[must_use]
    pub const fn keeps(&self) -> bool {
        self.unkept == self.unkept_taken && self.pushed.wrapping_sub(self.taken) < Self::KEPT as u64
    }

    /// Writes down what is kept next. It counts once `pushed` is written.
    #[inline(always)]
    pub fn write(&mut self, request: u32, now_ns: u64) {
        let at = Self::place(self.pushed);
        if let (Some(kept), Some(time)) = (self.requests.get_mut(at), self.times.get_mut(at)) {
            *kept = request;
            *time = now_ns;
        }
    }

    /// What was kept, and when.
    #[inline(always)]
    #[must_use]
    pub fn read(&self, index: u64) -> (u32, u64) {
        let at = Self::place(index);
        let request = self.requests.get(at).copied().unwrap_or_default();
        (request, self.times.get(at).copied().unwrap_or_default())
    }

    #[inline(always)]
    const fn place(index: u64) -> usize {
        (index & (Self::KEPT as u64 - 1)) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(inbox: &mut Inbox, request: u32) {
        if inbox.keeps() {
            inbox.write(request, request.into());
            inbox.pushed += 1;
        } else {
            inbox.unkept += 1;
        }
    }

    /// How many were not kept. Those that were are these.
    #[track_caller]
    fn take(inbox: &mut Inbox, expected: impl Iterator<Item = u32>) -> u64 {
        let kept = (inbox.taken..inbox.pushed).map(|index| inbox.read(index));
        assert!(kept.eq(expected.map(|request| (request, u64::from(request)))));
        let unkept = inbox.unkept - inbox.unkept_taken;
        inbox.taken = inbox.pushed;
        inbox.unkept_taken = inbox.unkept;
        unkept
    }

    #[test]
    fn kept_in_their_order_and_the_rest_is_counted() {
        let mut inbox: Inbox = Inbox::default();
        for round in 0..3 {
            let first = 100 * round;
            (first..first + 20).for_each(|request| push(&mut inbox, request));
            assert_eq!(take(&mut inbox, first..first + NOTED as u32), 20 - NOTED as u64, "{round}");
        }
    }

    #[test]
    fn none_is_kept_behind_one_that_was_not() {
        let mut inbox: Inbox = Inbox::default();
        (0..17).for_each(|request| push(&mut inbox, request));
        inbox.taken = 8;
        push(&mut inbox, 17);
        assert_eq!((inbox.pushed, inbox.unkept), (16, 2));
        inbox.unkept_taken = 2;
        push(&mut inbox, 18);
        assert_eq!((inbox.pushed, inbox.unkept), (17, 2));
    }
}

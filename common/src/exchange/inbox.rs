//! Requests that one side reads and another one answers, at the same time. PURE.
//!
//! Requests and responses of a Unix connection are read under two locks, those of its two ends, and a session of TLS is read from and written
//! to by two threads: at the same time, on two CPUs. So who reads requests leaves here what they were, and who follows responses takes it.
//! There is one of each at a time. Each field is written by one of them, or by atomic operations that do not let others pass:
//!
//! - `pushed` is added to behind what is kept: who sees the sum sees the request, its time, and the base of that.
//! - `taken` is added to behind the last look at what was taken. A place is written again only by who has seen that; the base only by who
//!   has seen that all were taken, so that nobody looks at it.
//! - `unkept` is added to by one side and taken from by the other. Nothing is lost of what is added meanwhile.

use super::since::{since, time_ns};

/// Requests that were read and not yet taken. Fresh storage is zeroed.
///
/// How many there were is counted modulo 2^32: what is taken at once is not that much.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inbox<T, const KEPT: usize> {
    /// When the first came since all were taken.
    base_ns: u64,
    /// How many were kept. To be added to behind what is kept.
    pub pushed: u32,
    /// How many of these were taken.
    pub taken: u32,
    /// How many were not kept, and not taken note of.
    pub unkept: u32,
    /// How long after the base each came ([`since`]).
    times: [u32; KEPT],
    requests: [T; KEPT],
}

impl<T: Copy + Default, const KEPT: usize> Default for Inbox<T, KEPT> {
    fn default() -> Self {
        Self { base_ns: 0, pushed: 0, taken: 0, unkept: 0, times: [0; KEPT], requests: [T::default(); KEPT] }
    }
}

impl<T, const KEPT: usize> Inbox<T, KEPT> {
    /// How many requests are kept.
    pub const KEPT: u32 = {
        assert!(KEPT.is_power_of_two());
        KEPT as u32
    };

    /// How many are kept and not taken.
    #[inline(always)]
    #[must_use]
    pub const fn kept(&self) -> u32 {
        self.pushed.wrapping_sub(self.taken)
    }

    /// Whether one more is kept. Behind one that was not, none is until that was taken note of: they stay in their order.
    #[inline(always)]
    #[must_use]
    pub const fn keeps(&self) -> bool {
        self.unkept == 0 && self.kept() < Self::KEPT
    }

    /// Whether all that came were taken.
    #[inline(always)]
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.kept() == 0 && self.unkept == 0
    }

    #[inline(always)]
    const fn place(index: u32) -> usize {
        (index & (Self::KEPT - 1)) as usize
    }
}

impl<T: Copy + Default, const KEPT: usize> Inbox<T, KEPT> {
    /// Writes down what is kept next. It counts once `pushed` is added to.
    #[inline(always)]
    pub fn write(&mut self, request: T, now_ns: u64) {
        if self.kept() == 0 {
            self.base_ns = now_ns;
        }
        let at = Self::place(self.pushed);
        if let (Some(kept), Some(time)) = (self.requests.get_mut(at), self.times.get_mut(at)) {
            *kept = request;
            *time = since(self.base_ns, now_ns);
        }
    }

    /// What was kept, and when it came; 0: not known.
    #[inline(always)]
    #[must_use]
    pub fn read(&self, index: u32) -> (T, u64) {
        let at = Self::place(index);
        let request = self.requests.get(at).copied().unwrap_or_default();
        (request, time_ns(self.base_ns, self.times.get(at).copied().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    const SECOND: u64 = 1_000_000_000;

    const NOTED: usize = 16;
    type Inbox = super::Inbox<u32, NOTED>;

    fn push(inbox: &mut Inbox, request: u32, now_ns: u64) {
        if inbox.keeps() {
            inbox.write(request, now_ns);
            inbox.pushed = inbox.pushed.wrapping_add(1);
        } else {
            inbox.unkept += 1;
        }
    }

    /// How many were not kept. Those that were are these.
    #[track_caller]
    fn take(inbox: &mut Inbox, expected: impl Iterator<Item = (u32, u64)>) -> u32 {
        let kept = (0..inbox.kept()).map(|index| inbox.read(inbox.taken.wrapping_add(index)));
        assert!(kept.eq(expected));
        inbox.taken = inbox.pushed;
        core::mem::take(&mut inbox.unkept)
    }

    #[test]
    fn kept_in_their_order_and_the_rest_is_counted() {
        // Also where their number begins again.
        for begun in [0, 8, u32::MAX - 4, u32::MAX - 20] {
            let mut inbox = Inbox { pushed: begun, taken: begun, ..Inbox::default() };
            for round in 0..3 {
                let requests = (100 * round..).map(|request| (request, 1 + 1024 * u64::from(100 * round)));
                requests.clone().take(20).for_each(|(request, now_ns)| push(&mut inbox, request, now_ns));
                assert_eq!(take(&mut inbox, requests.take(NOTED)), 20 - NOTED as u32, "{begun} {round}");
            }
        }
    }

    #[test]
    fn none_is_kept_behind_one_that_was_not() {
        let mut inbox = Inbox::default();
        (0..17).for_each(|request| push(&mut inbox, request, 1));
        inbox.taken = 8;
        push(&mut inbox, 17, 1);
        assert_eq!((inbox.pushed, inbox.unkept), (16, 2));
        inbox.unkept = 0;
        push(&mut inbox, 18, 1);
        assert_eq!((inbox.pushed, inbox.unkept), (17, 0));
    }

    #[test]
    fn times_are_exact_where_none_waits_and_of_1024_ns_behind_that() {
        let mut inbox = Inbox::default();
        for (request, now_ns) in [(0, 5001), (1, 5119), (2, 5120), (3, 7500)] {
            push(&mut inbox, request, now_ns);
        }
        take(&mut inbox, [(0, 5001), (1, 5001), (2, 5120), (3, 7168)].into_iter());
        push(&mut inbox, 4, 7501);
        take(&mut inbox, [(4, 7501)].into_iter());
    }

    #[test]
    fn a_base_stays_until_all_are_taken() {
        let mut inbox = Inbox::default();
        push(&mut inbox, 0, SECOND);
        push(&mut inbox, 1, 2 * SECOND + 700);
        inbox.taken = 1;
        push(&mut inbox, 2, 3 * SECOND);
        take(&mut inbox, [(1, 2 * SECOND), (2, 2_999_999_488)].into_iter());
    }

    #[test]
    fn one_that_lies_for_long_forgets_times_and_no_request() {
        let mut inbox = Inbox::default();
        push(&mut inbox, 0, SECOND);
        push(&mut inbox, 1, 7200 * SECOND);
        take(&mut inbox, [(0, SECOND), (1, 0)].into_iter());
        push(&mut inbox, 2, 7201 * SECOND);
        take(&mut inbox, [(2, 7201 * SECOND)].into_iter());
    }
}

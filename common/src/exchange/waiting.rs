//! Requests that wait for their response, in the order in which they came. PURE.

use super::since::{since, time_ns};
use super::{Asked, Queue, Taken};

/// How many are kept; of further ones it is known that they came.
pub const WAITING: u32 = 16;

/// A queue of requests. Fresh storage is zeroed.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// When the first came since the queue was last empty.
    base_ns: u64,
    /// How long after that each came ([`since`]). A queue that is never empty for more than 73 minutes knows no more times.
    times: [u32; WAITING as usize],
    asked: [Asked; WAITING as usize],
    /// Requests behind those that are kept.
    beyond: u32,
    first: u8,
    count: u8,
    /// Among those beyond was one whose method decides about its response.
    ambiguous: u8,
    reserved: u8,
}

impl Waiting {
    /// A request has come.
    #[inline(always)]
    pub(super) fn push(&mut self, asked: Asked, now_ns: u64) {
        if u32::from(self.count) >= WAITING || self.beyond > 0 {
            self.beyond = self.beyond.saturating_add(1);
            self.ambiguous |= u8::from(asked.decides());
            return;
        }
        if self.count == 0 {
            self.base_ns = now_ns;
        }
        let at = ((u32::from(self.first) + u32::from(self.count)) & (WAITING - 1)) as usize;
        if let (Some(time), Some(kept)) = (self.times.get_mut(at), self.asked.get_mut(at)) {
            *time = since(self.base_ns, now_ns);
            *kept = asked;
        }
        self.count = self.count.wrapping_add(1);
    }

    /// Further requests have come, of which is known how many, and whether the method of one decides about its response.
    #[inline(always)]
    pub const fn push_unkept(&mut self, count: u32, ambiguous: bool) {
        self.beyond = self.beyond.saturating_add(count);
        self.ambiguous |= ambiguous as u8;
    }
}

impl Queue for Waiting {
    #[inline(always)]
    fn next(&self) -> Option<Asked> {
        let at = u32::from(self.first) & (WAITING - 1);
        if self.count > 0 { self.asked.get(at as usize).copied() } else { None }
    }

    #[inline(always)]
    fn take(&mut self) -> Option<Taken> {
        if self.count > 0 {
            let at = (u32::from(self.first) & (WAITING - 1)) as usize;
            let since = self.times.get(at).copied().unwrap_or_default();
            let asked = self.asked.get(at).copied().unwrap_or(Asked::HTTP_1);
            self.first = self.first.wrapping_add(1);
            self.count -= 1;
            return Some(Taken { asked, started_ns: time_ns(self.base_ns, since), ambiguous: false });
        }
        if self.beyond == 0 {
            return None;
        }
        self.beyond -= 1;
        let ambiguous = self.ambiguous != 0;
        if self.beyond == 0 {
            self.ambiguous = 0;
        }
        Some(Taken { asked: Asked::HTTP_1, started_ns: 0, ambiguous })
    }

    #[inline(always)]
    fn len(&self) -> u32 {
        (self.count as u32).saturating_add(self.beyond)
    }

    #[inline(always)]
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline(always)]
    fn clear(&mut self) -> u32 {
        let count = self.len();
        self.count = 0;
        self.beyond = 0;
        self.ambiguous = 0;
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::maps::Version;
    use crate::method::Method;

    const GET: Asked = Asked::of(Event::request(Version::Http11, Method::Get as u8), Version::Http11 as u32);
    const HEAD: Asked = Asked::of(Event::request(Version::Http10, Method::Head as u8), Version::Http10 as u32);

    #[test]
    fn what_a_byte_keeps() {
        assert_eq!((GET.method(), GET.version()), (Method::Get, Version::Http11));
        assert_eq!((HEAD.method(), HEAD.version()), (Method::Head, Version::Http10));
        assert_eq!((Asked::HTTP_2.method(), Asked::HTTP_2.version()), (Method::Unknown, Version::Http2));
    }

    #[test]
    fn first_come_first_served_and_the_rest_is_counted() {
        let mut waiting = Waiting::default();
        for round in 0..3 {
            for index in 0..40_u64 {
                waiting.push(GET, 1_024_001 * (1 + round) + 1024 * index);
            }
            assert_eq!(waiting.len(), 40);
            for index in 0..40_u64 {
                let taken = waiting.take().expect("40 wait");
                let expected = match index {
                    0 => 1_024_001 * (1 + round),
                    1..16 => 1_024_000 * (1 + round) + 1024 * index,
                    _ => 0,
                };
                assert_eq!((taken.started_ns, taken.ambiguous), (expected, false), "{round} {index}");
            }
            assert_eq!(waiting.take(), None);
        }
    }

    #[test]
    fn a_head_beyond_those_kept_makes_bodies_ambiguous() {
        let mut waiting = Waiting::default();
        (0..17).for_each(|_| waiting.push(GET, 1));
        waiting.push(HEAD, 1);
        let ambiguous: u32 = (0..18).filter_map(|_| waiting.take()).map(|taken| u32::from(taken.ambiguous)).sum();
        assert_eq!(ambiguous, 2);
        waiting.push(HEAD, 1);
        assert!(!waiting.take().expect("one waits").ambiguous);
    }

    #[test]
    fn a_queue_that_is_never_empty_forgets_times_and_no_request() {
        const TWO_HOURS: u64 = 7200 * 1_000_000_000;
        let mut waiting = Waiting::default();
        waiting.push(GET, 1);
        waiting.push(GET, TWO_HOURS);
        assert_eq!(waiting.take().map(|taken| taken.started_ns), Some(1));
        assert_eq!(waiting.take().map(|taken| taken.started_ns), Some(0));
        waiting.push(GET, TWO_HOURS);
        assert_eq!(waiting.take().map(|taken| taken.started_ns), Some(TWO_HOURS));
    }
}

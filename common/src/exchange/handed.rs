//! Requests of HTTP/1 that wait, where others read them than those who follow their responses. PURE.
//!
//! As an [`Inbox`], and besides:
//!
//! - `breaks` is added to by one side and taken from by the other.
//! - `decides` is set before its request is added to the unkept, and never cleared.
//! - All else is of who follows responses. What of it the other side is to know, it adds to the inbox behind each look at responses
//!   ([`Handed::done`]).

use super::{Asked, Inbox, Queue, Taken};

/// Requests that wait. Fresh storage is zeroed.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handed<const KEPT: usize> {
    /// They stay here until their response begins.
    pub inbox: Inbox<Asked, KEPT>,
    /// How often requests were missed, and that not taken note of.
    pub breaks: u32,
    /// How many of the unkept are answered, or never will be, beside those that were taken from their number.
    passed: u32,
    /// How many of those kept had come when it was looked at responses.
    seen: u8,
    /// How many of these are answered, or never will be.
    begun: u8,
    /// Among the unkept was one whose method decides about its response: 1 from then on.
    pub decides: u8,
    reserved: [u8; 5],
}

impl<const KEPT: usize> Default for Handed<KEPT> {
    fn default() -> Self {
        Self { inbox: Inbox::default(), breaks: 0, passed: 0, seen: 0, begun: 0, decides: 0, reserved: [0; 5] }
    }
}

impl<const KEPT: usize> Handed<KEPT> {
    /// It is going to be looked at responses: `kept` were kept and not taken.
    #[inline(always)]
    pub(super) const fn see(&mut self, kept: u32) {
        const { assert!(KEPT <= u8::MAX as usize) };
        self.seen = if kept < KEPT as u32 { kept as u8 } else { KEPT as u8 };
    }

    /// It was looked at responses: by how many more of those kept were taken, and by how many fewer of those unkept are not taken note of.
    #[inline(always)]
    pub const fn done(&mut self) -> (u32, u32) {
        let done = (self.begun as u32, self.passed);
        self.seen -= self.begun;
        self.begun = 0;
        self.passed = 0;
        done
    }

    /// How many of those kept had come and are not answered.
    #[inline(always)]
    const fn left(&self) -> u8 {
        self.seen.wrapping_sub(self.begun)
    }

    /// Where the next of them is.
    #[inline(always)]
    const fn at(&self) -> u32 {
        self.inbox.taken.wrapping_add(self.begun as u32)
    }

    #[inline(always)]
    const fn unkept(&self) -> u32 {
        self.inbox.unkept.wrapping_sub(self.passed)
    }
}

impl<const KEPT: usize> Queue for Handed<KEPT> {
    #[inline(always)]
    fn next(&self) -> Option<Asked> {
        if self.left() != 0 { Some(self.inbox.read(self.at()).0) } else { None }
    }

    #[inline(always)]
    fn take(&mut self) -> Option<Taken> {
        if self.left() != 0 {
            let (asked, started_ns) = self.inbox.read(self.at());
            self.begun = self.begun.wrapping_add(1);
            return Some(Taken { asked, started_ns, ambiguous: false });
        }
        if self.unkept() == 0 {
            return None;
        }
        self.passed = self.passed.wrapping_add(1);
        Some(Taken { asked: Asked::HTTP_1, started_ns: 0, ambiguous: self.decides != 0 })
    }

    #[inline(always)]
    fn len(&self) -> u32 {
        self.inbox.kept().wrapping_sub(self.begun.into()).saturating_add(self.unkept())
    }

    #[inline(always)]
    fn is_empty(&self) -> bool {
        self.inbox.is_idle()
    }

    #[inline(always)]
    fn clear(&mut self) -> u32 {
        let (left, unkept) = (self.left(), self.unkept());
        self.begun = self.seen;
        self.passed = self.passed.wrapping_add(unkept);
        unkept.saturating_add(left.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{WAITING, Waiting};
    use crate::method::Method;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Push(Method, u64),
        Take(usize),
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (prop_oneof![20 => Just(Method::Get), 1 => Just(Method::Head)], 0..1_u64 << 43)
                .prop_map(|(method, later)| Step::Push(method, later)),
            2 => (1..8_usize).prop_map(Step::Take),
            1 => Just(Step::Clear),
        ]
    }

    fn push<const KEPT: usize>(handed: &mut Handed<KEPT>, asked: Asked, now_ns: u64) {
        if handed.inbox.keeps() {
            handed.inbox.write(asked, now_ns);
            handed.inbox.pushed = handed.inbox.pushed.wrapping_add(1);
        } else {
            handed.decides |= u8::from(asked.decides());
            handed.inbox.unkept += 1;
        }
    }

    proptest! {
        /// Of which everything is known at once: where nothing happens at the same time, it is the same.
        #[test]
        fn as_a_queue_that_one_side_has(steps in vec(step(), 0..200)) {
            let (mut waiting, mut handed) = (Waiting::default(), Handed::<{ WAITING as usize }>::default());
            (handed.inbox.pushed, handed.inbox.taken) = (u32::MAX - 20, u32::MAX - 20);
            let mut now_ns = 1;
            for step in steps {
                handed.see(handed.inbox.kept());
                match step {
                    Step::Push(method, later) => {
                        now_ns += later;
                        let asked = Asked::from_number(method as u8);
                        waiting.push(asked, now_ns);
                        push(&mut handed, asked, now_ns);
                    }
                    Step::Take(count) => for _ in 0..count {
                        prop_assert_eq!(waiting.next(), handed.next());
                        let (expected, taken) = (waiting.take(), handed.take());
                        // Here a HEAD beyond those that are kept is never forgotten.
                        let ambiguous = handed.decides != 0 && expected.is_some_and(|taken| taken.started_ns == 0);
                        let less = |taken: Taken| (taken.asked, taken.started_ns, taken.ambiguous && !ambiguous);
                        prop_assert_eq!(expected.map(less), taken.map(less));
                        prop_assert!(expected.is_none_or(|taken| !taken.ambiguous || ambiguous));
                    },
                    Step::Clear => prop_assert_eq!(waiting.clear(), handed.clear()),
                }
                prop_assert_eq!(waiting.len(), handed.len());
                let (taken, unkept) = handed.done();
                handed.inbox.unkept -= unkept;
                handed.inbox.taken = handed.inbox.taken.wrapping_add(taken);
                prop_assert_eq!((waiting.is_empty(), waiting.len()), (handed.is_empty(), handed.len()));
                if !matches!(step, Step::Push(..)) {
                    prop_assert_eq!(waiting.next(), handed.next());
                }
            }
        }
    }
}

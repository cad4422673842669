//! Whether the agent lives and is of use, in a way that needs no HTTP traffic on the node. PURE.

use std::time::Duration;

/// A tick is due every second; without one for this long the agent hangs and is better restarted.
pub const LIVE_WITHIN: Duration = Duration::from_secs(30);
/// Without counts from the kernel for this long the report shows the past.
pub const READY_WITHIN: Duration = Duration::from_secs(5);

/// What Kubernetes wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Does the agent still tick?
    Live,
    /// Is the kernel program attached and the report fresh?
    Ready,
}

impl Question {
    /// Where it is asked on the plugin socket.
    pub fn path(self) -> &'static str {
        match self {
            Self::Live => "/health/live",
            Self::Ready => "/health/ready",
        }
    }

    /// The question that is asked at `path`.
    pub fn at(path: &str) -> Option<Self> {
        [Self::Live, Self::Ready].into_iter().find(|question| question.path() == path)
    }
}

/// What the answer rests on. Times are on one monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vitals<'a> {
    /// When counting began.
    pub started: Duration,
    /// When the last tick ended, whether it read anything or not.
    pub ticked: Option<Duration>,
    /// When the kernel's counts were last read.
    pub read: Option<Duration>,
    /// Why the kernel program is not attached, if it is not.
    pub refusal: Option<&'a str>,
}

/// Nothing if all is well, otherwise one line that says what is not.
pub fn complaint(question: Question, vitals: Vitals<'_>, now: Duration) -> Option<String> {
    let (last, within, what) = match question {
        Question::Live => (vitals.ticked, LIVE_WITHIN, "no tick"),
        Question::Ready => (vitals.read, READY_WITHIN, "no counts from the kernel"),
    };
    if let (Question::Ready, Some(cause)) = (question, vitals.refusal) {
        return Some(format!("not counting: {cause}"));
    }
    // Starting is living, but it is not being ready.
    if last.is_none() && question == Question::Ready {
        return Some(format!("{what} yet"));
    }
    let age = now.saturating_sub(last.unwrap_or(vitals.started));
    (age > within).then(|| format!("{what} for {} s", age.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const STARTED: Duration = Duration::from_secs(100);

    #[track_caller]
    fn check(question: Question, ticked: Option<u32>, read: Option<u32>, age: Duration, expected: Option<&str>) {
        let at = |seconds: u32| STARTED + SECOND * seconds;
        let (ticked, read) = (ticked.map(at), read.map(at));
        let vitals = Vitals { started: STARTED, ticked, read, refusal: None };
        assert_eq!(complaint(question, vitals, STARTED + age).as_deref(), expected);
    }

    #[test]
    fn living_is_ticking() {
        check(Question::Live, None, None, LIVE_WITHIN, None);
        check(Question::Live, None, None, LIVE_WITHIN + SECOND, Some("no tick for 31 s"));
        check(Question::Live, Some(10), None, SECOND * 40, None);
        check(Question::Live, Some(10), Some(10), SECOND * 41, Some("no tick for 31 s"));
    }

    #[test]
    fn being_ready_is_reading_and_needs_no_traffic() {
        check(Question::Ready, None, None, SECOND, Some("no counts from the kernel yet"));
        check(Question::Ready, Some(1), Some(1), SECOND, None);
        check(Question::Ready, Some(9), Some(1), SECOND * 9, Some("no counts from the kernel for 8 s"));
    }

    #[test]
    fn a_probe_that_cannot_load_says_why() {
        let vitals = Vitals { started: STARTED, ticked: None, read: None, refusal: Some("no BTF") };
        let not_ready = complaint(Question::Ready, vitals, STARTED);
        assert_eq!(not_ready.as_deref(), Some("not counting: no BTF"));
        assert_eq!(complaint(Question::Live, vitals, STARTED), None);
    }

    #[test]
    fn paths_and_questions_agree() {
        for question in [Question::Live, Question::Ready] {
            assert_eq!(Question::at(question.path()), Some(question));
        }
        assert_eq!(Question::at("/report"), None);
    }
}

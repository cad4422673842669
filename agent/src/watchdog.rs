//! Ends an agent that hangs: one whose probe nobody reads any more. EDGE.
//!
//! A liveness probe that runs a command costs a node several times what counting costs. A thread that looks now and then
//! costs nothing, needs no port, and is kept waiting by nobody.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use common::maps::ProcessKey;

use crate::counting::counts::Reading;
use crate::counting::plaintext::Plaintext;
use crate::counting::responses::Counted;
use crate::counting::tick::{Part, Probe};

/// The probe is read each second.
const LOOK: Duration = Duration::from_secs(5);
/// So often in vain, and the agent hangs. Looks are counted, not time: an agent that was stopped, or that slept with
/// its machine, looked as seldom as it read.
const LOOKS: u32 = 12;

/// A probe that ends the agent when it is not read for a minute.
pub struct Watched<K> {
    probe: K,
    reads: Arc<AtomicU64>,
}

impl<K> Watched<K> {
    /// Calls `end`, with a line for people, from a thread of its own. Dropping this calls the watch off.
    pub fn new(probe: K, end: impl FnOnce(String) + Send + 'static) -> Self {
        Self::every(LOOK, probe, end)
    }

    fn every(look: Duration, probe: K, end: impl FnOnce(String) + Send + 'static) -> Self {
        let reads = Arc::new(AtomicU64::new(0));
        let watched = Arc::downgrade(&reads);
        thread::spawn(move || {
            if hangs(look, &watched) {
                let seconds = LOOK.as_secs() * u64::from(LOOKS);
                end(format!(
                    "no tick for {seconds} s: the agent hangs and is better started anew; please report it with its log"
                ));
            }
        });
        Self { probe, reads }
    }
}

impl<K: Probe> Probe for Watched<K> {
    fn read(&mut self, at: Duration, ended: &[ProcessKey]) -> io::Result<Reading> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.probe.read(at, ended)
    }

    fn release(&mut self, ended: &[ProcessKey]) -> io::Result<()> {
        self.probe.release(ended)
    }

    fn given_up(&mut self) -> Vec<ProcessKey> {
        self.probe.given_up()
    }

    fn description(&self) -> String {
        self.probe.description()
    }

    fn responses(&self) -> Counted {
        self.probe.responses()
    }

    fn plaintext(&mut self) -> Option<Result<Box<dyn Plaintext>, String>> {
        self.probe.plaintext()
    }

    fn layout(&self) -> Option<String> {
        self.probe.layout()
    }

    fn hand_over(&self) -> io::Result<Part> {
        self.probe.hand_over()
    }
}

/// Looks until there is nothing to look at, or until it hangs.
fn hangs(look: Duration, watched: &Weak<AtomicU64>) -> bool {
    let mut patience = Patience::default();
    loop {
        thread::sleep(look);
        let Some(reads) = watched.upgrade() else { return false };
        if patience.is_over(reads.load(Ordering::Relaxed)) {
            return true;
        }
    }
}

/// How often nothing had changed.
#[derive(Default)]
struct Patience {
    seen: u64,
    in_vain: u32,
}

impl Patience {
    fn is_over(&mut self, reads: u64) -> bool {
        self.in_vain = if reads == self.seen { self.in_vain + 1 } else { 0 };
        self.seen = reads;
        self.in_vain >= LOOKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    struct Nothing;

    impl Probe for Nothing {
        fn read(&mut self, at: Duration, _: &[ProcessKey]) -> io::Result<Reading> {
            Ok(Reading { at, ..Reading::default() })
        }

        fn release(&mut self, _: &[ProcessKey]) -> io::Result<()> {
            Ok(())
        }

        fn given_up(&mut self) -> Vec<ProcessKey> {
            vec![ProcessKey { start_ns: 1, tgid: 2, reserved: 0 }]
        }

        fn description(&self) -> String {
            String::new()
        }

        fn responses(&self) -> Counted {
            Counted::Off
        }
    }

    #[test]
    fn only_a_minute_without_a_reading_is_a_hang() {
        let mut patience = Patience::default();
        assert!((1..100).all(|reads| !patience.is_over(reads)));
        assert!((1..LOOKS).all(|_| !patience.is_over(99)));
        assert!(!patience.is_over(100));
        assert!((1..LOOKS).all(|_| !patience.is_over(100)));
        assert!(patience.is_over(100));
        // The first reading may take its time as well.
        let mut patience = Patience::default();
        assert!((1..LOOKS).all(|_| !patience.is_over(0)) && patience.is_over(0));
    }

    #[test]
    fn a_probe_that_is_not_read_ends_the_agent() -> Result<(), mpsc::RecvError> {
        let (say, said) = mpsc::channel();
        let probe = Watched::every(Duration::from_millis(1), Nothing, move |line| say.send(line).unwrap_or_default());
        assert_eq!(
            said.recv()?,
            "no tick for 60 s: the agent hangs and is better started anew; please report it with its log"
        );
        drop(probe);
        Ok(())
    }

    #[test]
    fn what_has_ended_is_not_watched() {
        let (say, said) = mpsc::channel::<String>();
        let end = move |line| say.send(line).unwrap_or_default();
        drop(Watched::every(Duration::from_millis(1), Nothing, end));
        // The thread ends without a word, and its end of the channel with it.
        assert!(said.recv().is_err());
    }

    #[test]
    fn reading_is_noted_and_passed_on() -> io::Result<()> {
        let mut probe = Watched::new(Nothing, |_| {});
        assert_eq!(probe.read(Duration::from_secs(7), &[])?.at, Duration::from_secs(7));
        assert_eq!(probe.reads.load(Ordering::Relaxed), 1);
        assert_eq!(probe.given_up(), Nothing.given_up());
        Ok(())
    }
}

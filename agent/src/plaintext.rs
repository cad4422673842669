//! Looks at processes that receive TLS, beside the ticks: opening and probing files may take its time. EDGE.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver as Inbox, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use common::maps::ProcessKey;

use crate::counting::plaintext::{Look, News, Plain, Plaintext, Reading, Receiver, Watch};
use crate::counting::snapshot::Snapshot;
use crate::fault::{Fault, Say};

/// A thread that looks. Dropping it ends that, and waits until nothing is probed any more.
#[derive(Debug)]
pub struct Looking {
    watch: Watch,
    news: Option<Sender<News>>,
    state: Arc<Mutex<Arc<Plain>>>,
    thread: Option<JoinHandle<()>>,
}

impl Looking {
    /// Nothing is looked at, or it cannot be.
    #[must_use]
    pub fn none(reading: Reading) -> Self {
        let state = Arc::new(Mutex::new(Arc::new(Plain { reading, ..Plain::default() })));
        Self { watch: Watch::default(), news: None, state, thread: None }
    }

    /// Looks with this.
    #[must_use]
    pub fn with(plaintext: Box<dyn Plaintext>) -> Self {
        let mut looking = Self::none(Reading::On);
        let (news, inbox) = channel();
        let state = Arc::clone(&looking.state);
        let looks = Looks { plaintext, found: HashMap::new(), sweeping: Fault::default(), state };
        let thread = thread::Builder::new().name("tls".to_owned()).spawn(move || looks.run(&inbox));
        match thread {
            Ok(thread) => {
                looking.news = Some(news);
                looking.thread = Some(thread);
                looking
            }
            Err(error) => {
                let cause = format!("cannot start a thread: {error}");
                tracing::error!(%cause, "requests in TLS are not counted");
                Self::none(Reading::Refused(cause))
            }
        }
    }

    /// What can be had: `None` where it was not asked for.
    #[must_use]
    pub fn start(plaintext: Option<Result<Box<dyn Plaintext>, String>>) -> Self {
        match plaintext {
            None => Self::none(Reading::Off),
            Some(Ok(plaintext)) => Self::with(plaintext),
            Some(Err(cause)) => {
                tracing::error!(%cause, "requests in TLS are not counted");
                Self::none(Reading::Refused(cause))
            }
        }
    }

    /// After a tick; never waits.
    pub fn note(&mut self, snapshot: &Snapshot) {
        if let Some(sender) = &self.news {
            for news in self.watch.news(snapshot) {
                // Whoever does not listen any more has panicked, and that was said.
                let _ = sender.send(news);
            }
        }
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self) -> Arc<Plain> {
        Arc::clone(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.news = None;
        if let Some(thread) = self.thread.take() {
            // If it has panicked, that was said.
            let _ = thread.join();
        }
    }
}

struct Looks {
    plaintext: Box<dyn Plaintext>,
    found: HashMap<ProcessKey, Look>,
    sweeping: Fault,
    state: Arc<Mutex<Arc<Plain>>>,
}

impl Looks {
    fn run(mut self, inbox: &Inbox<News>) {
        while let Ok(news) = inbox.recv() {
            match news {
                News::Receive(receivers) => receivers.iter().for_each(|receiver| self.look(receiver)),
                News::Live(live) => {
                    self.found.retain(|key, _| live.contains(key));
                    self.sweep();
                }
            }
            self.publish();
        }
    }

    fn look(&mut self, receiver: &Receiver) {
        if self.found.contains_key(&receiver.key) {
            return;
        }
        let look = self.plaintext.look_at(receiver);
        let Receiver { command, pid, .. } = receiver;
        match &look {
            Look::Read(library) => tracing::info!(command, pid, library, "requests in its TLS are counted"),
            Look::Unread { reason, detail } => {
                tracing::warn!(command, pid, reason, detail, "requests in its TLS are not counted");
            }
        }
        self.found.insert(receiver.key, look);
    }

    fn sweep(&mut self) {
        let swept = self.plaintext.sweep();
        match (self.sweeping.note(swept.is_err()), swept) {
            (Say::Begun, Err(error)) => tracing::warn!(%error, "cannot forget TLS sessions of ended processes"),
            (Say::Over(failures), _) => tracing::info!(failures, "can forget TLS sessions of ended processes again"),
            _ => {}
        }
    }

    fn publish(&self) {
        let mut plain = Plain { reading: Reading::On, ..Plain::default() };
        for look in self.found.values() {
            match look {
                Look::Read(_) => plain.read += 1,
                Look::Unread { reason, .. } => *plain.unread.entry(reason).or_default() += 1,
            }
        }
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(plain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counting::snapshot::tests_support::{process, snapshot, with_tls};
    use std::io;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Understands processes of even PIDs.
    struct Fake {
        looks: Arc<AtomicU64>,
        dropped: Arc<AtomicU64>,
    }

    impl Plaintext for Fake {
        fn look_at(&mut self, process: &Receiver) -> Look {
            self.looks.fetch_add(1, Ordering::SeqCst);
            match process.pid {
                Some(pid) if pid % 2 == 0 => Look::Read("libssl.so".to_owned()),
                _ => Look::Unread { reason: "odd", detail: "it is odd".to_owned() },
            }
        }

        fn sweep(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::Other.into())
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            self.dropped.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn each_process_is_looked_at_once_and_the_end_waits_for_the_last_look() {
        let (looks, dropped) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let fake = Fake { looks: Arc::clone(&looks), dropped: Arc::clone(&dropped) };
        let mut looking = Looking::start(Some(Ok(Box::new(fake))));
        let state = Arc::clone(&looking.state);
        let tick = snapshot((1..=5).map(|pid| with_tls(process(pid, &[], 0), 1)).collect());
        // Beyond a minute: a failing sweep is said and ends nothing.
        (0..70).for_each(|_| looking.note(&tick));
        drop(looking);
        assert_eq!((looks.load(Ordering::SeqCst), dropped.load(Ordering::SeqCst)), (5, 1));
        let plain = state.lock().unwrap();
        assert_eq!((plain.read, plain.unread.get("odd")), (2, Some(&3)));
    }

    #[test]
    fn who_has_ended_is_counted_no_more() {
        let fake = Fake { looks: Arc::default(), dropped: Arc::default() };
        let mut looking = Looking::with(Box::new(fake));
        let state = Arc::clone(&looking.state);
        looking.note(&snapshot(vec![with_tls(process(1, &[], 0), 1)]));
        (0..60).for_each(|_| looking.note(&snapshot(vec![])));
        drop(looking);
        assert_eq!(*state.lock().unwrap().as_ref(), Plain { reading: Reading::On, ..Plain::default() });
    }

    #[test]
    fn what_cannot_be_is_said_and_nothing_looked_at() {
        let mut looking = Looking::start(Some(Err("no kernel".to_owned())));
        looking.note(&snapshot(vec![with_tls(process(1, &[], 0), 1)]));
        assert_eq!(looking.state().reading, Reading::Refused("no kernel".to_owned()));
        assert_eq!(Looking::start(None).state().reading, Reading::Off);
    }
}

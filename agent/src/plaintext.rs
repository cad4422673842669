//! Looks at processes that receive TLS, beside the ticks: opening and probing files may take its time. EDGE.

use std::collections::HashMap;
use std::io;
use std::os::fd::BorrowedFd;
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
    thread: Option<JoinHandle<Looks>>,
}

impl Looking {
    /// Nothing is looked at, or it cannot be.
    #[must_use]
    pub fn none(reading: Reading) -> Self {
        let state = Arc::new(Mutex::new(Arc::new(Plain { reading, ..Plain::default() })));
        Self { watch: Watch::default(), news: None, state, thread: None }
    }

    /// Looks with this. Of these processes it is known where they are read: they are not looked at.
    #[must_use]
    pub fn with(plaintext: Box<dyn Plaintext>, read: HashMap<ProcessKey, String>) -> Self {
        let mut looking = Self::none(Reading::On);
        let found = read.into_iter().map(|(process, library)| (process, Look::Read(library))).collect();
        let looks = Looks { plaintext, found, sweeping: Fault::default(), state: Arc::clone(&looking.state) };
        looks.publish();
        looking.go_on(looks);
        looking
    }

    /// What can be had: `None` where it was not asked for. The processes as above.
    #[must_use]
    pub fn start(plaintext: Option<Result<Box<dyn Plaintext>, String>>, read: HashMap<ProcessKey, String>) -> Self {
        match plaintext {
            None => Self::none(Reading::Off),
            Some(Ok(plaintext)) => Self::with(plaintext, read),
            Some(Err(cause)) => {
                tracing::error!(%cause, "requests in TLS are not counted");
                Self::none(Reading::Refused(cause))
            }
        }
    }

    /// Looks no more, and waits until nothing is looked at. What it looked with, if it did; all that is read is read on until that is
    /// dropped.
    #[must_use]
    pub fn pause(&mut self) -> Option<Looks> {
        self.news = None;
        // If it has panicked, that was said.
        self.thread.take()?.join().ok()
    }

    /// Looks again, behind a pause.
    pub fn go_on(&mut self, looks: Looks) {
        let (news, inbox) = channel();
        match thread::Builder::new().name("tls".to_owned()).spawn(move || looks.run(&inbox)) {
            Ok(thread) => {
                self.news = Some(news);
                self.thread = Some(thread);
            }
            Err(error) => {
                let cause = format!("cannot start a thread: {error}");
                tracing::error!(%cause, "requests in TLS are not counted");
                *self = Self::none(Reading::Refused(cause));
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
        drop(self.pause());
    }
}

/// What looks, and what it has found.
pub struct Looks {
    plaintext: Box<dyn Plaintext>,
    found: HashMap<ProcessKey, Look>,
    sweeping: Fault,
    state: Arc<Mutex<Arc<Plain>>>,
}

impl Looks {
    /// As [`Plaintext::hand_over`].
    ///
    /// # Errors
    ///
    /// Likewise.
    pub fn hand_over(&self) -> io::Result<(serde_json::Value, Vec<BorrowedFd<'_>>)> {
        self.plaintext.hand_over()
    }

    /// The processes whose requests are read, and where.
    #[must_use]
    pub fn read(&self) -> HashMap<ProcessKey, String> {
        let read = self.found.iter().filter_map(|(process, look)| match look {
            Look::Read(library) => Some((*process, library.clone())),
            Look::Unread { .. } => None,
        });
        read.collect()
    }

    /// As [`Plaintext::given`].
    pub fn given(self) {
        self.plaintext.given();
    }

    fn run(mut self, inbox: &Inbox<News>) -> Self {
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
        self
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

        fn hand_over(&self) -> io::Result<(serde_json::Value, Vec<BorrowedFd<'_>>)> {
            Ok((serde_json::Value::Null, Vec::new()))
        }

        fn given(self: Box<Self>) {}
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
        let mut looking = Looking::start(Some(Ok(Box::new(fake))), HashMap::new());
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
        let mut looking = Looking::with(Box::new(fake), HashMap::new());
        let state = Arc::clone(&looking.state);
        looking.note(&snapshot(vec![with_tls(process(1, &[], 0), 1)]));
        (0..60).for_each(|_| looking.note(&snapshot(vec![])));
        drop(looking);
        assert_eq!(*state.lock().unwrap().as_ref(), Plain { reading: Reading::On, ..Plain::default() });
    }

    #[test]
    fn behind_a_pause_nobody_is_looked_at_again_here_or_where_it_goes_on() {
        let looks = Arc::new(AtomicU64::new(0));
        let fake = || Box::new(Fake { looks: Arc::clone(&looks), dropped: Arc::default() });
        let mut looking = Looking::with(fake(), HashMap::new());
        let tick = snapshot((1..=4).map(|pid| with_tls(process(pid, &[], 0), 1)).collect());
        looking.note(&tick);
        let paused = looking.pause().unwrap();
        let read = paused.read();
        assert_eq!((looks.load(Ordering::SeqCst), read.len()), (4, 2));
        // What is noted meanwhile is noted for nobody.
        looking.note(&tick);
        looking.go_on(paused);
        looking.note(&tick);
        drop(looking);
        assert_eq!(looks.load(Ordering::SeqCst), 4);
        // Those that are not read are looked at by who goes on: it may see more.
        let mut next = Looking::with(fake(), read);
        assert_eq!(next.state().read, 2);
        next.note(&tick);
        drop(next);
        assert_eq!(looks.load(Ordering::SeqCst), 6);
    }

    #[test]
    fn what_cannot_be_is_said_and_nothing_looked_at() {
        let mut looking = Looking::start(Some(Err("no kernel".to_owned())), HashMap::new());
        looking.note(&snapshot(vec![with_tls(process(1, &[], 0), 1)]));
        assert_eq!(looking.state().reading, Reading::Refused("no kernel".to_owned()));
        assert_eq!(Looking::start(None, HashMap::new()).state().reading, Reading::Off);
    }
}

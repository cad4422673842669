//! Tells which processes have ended, by a descriptor each. EDGE.

use std::collections::HashMap;
use std::os::fd::{AsRawFd as _, OwnedFd};

use common::maps::ProcessKey;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// How many ends one system call tells of; more take another.
pub(super) const ENDS_AT_ONCE: usize = 64;

/// Descriptors that tell when their process has ended, and the one that tells which do.
#[derive(Default)]
pub struct Pidfds {
    /// Made when the first is watched.
    epoll: Option<OwnedFd>,
    /// By number.
    pub(super) watched: HashMap<u64, (OwnedFd, ProcessKey)>,
}

impl Pidfds {
    /// Watches the process whose descriptor this is.
    pub fn watch(&mut self, pidfd: OwnedFd, key: ProcessKey) -> rustix::io::Result<()> {
        let epoll = match &self.epoll {
            Some(epoll) => epoll,
            None => self.epoll.insert(epoll::create(epoll::CreateFlags::CLOEXEC)?),
        };
        let number = u64::from(pidfd.as_raw_fd().unsigned_abs());
        epoll::add(epoll, &pidfd, epoll::EventData::new_u64(number), epoll::EventFlags::IN)?;
        self.watched.insert(number, (pidfd, key));
        Ok(())
    }

    /// Watches these no more.
    pub fn forget(&mut self, given_up: &[ProcessKey]) {
        if !given_up.is_empty() {
            // With its descriptor it leaves the epoll.
            self.watched.retain(|_, (_, key)| !given_up.contains(key));
        }
    }

    /// Processes that have ended since the last call.
    pub fn ended(&mut self) -> Vec<ProcessKey> {
        let mut ended = Vec::new();
        let Some(epoll) = &self.epoll else { return ended };
        let mut events = Vec::with_capacity(ENDS_AT_ONCE);
        loop {
            events.clear();
            if let Err(error) = epoll::wait(epoll, spare_capacity(&mut events), Some(&AT_ONCE)) {
                tracing::debug!(%error, "cannot tell who has ended; asked again at the next tick");
                return ended;
            }
            // With its descriptor an event goes.
            ended.extend(events.iter().filter_map(|event| Some(self.watched.remove(&event.data.u64())?.1)));
            if events.len() < ENDS_AT_ONCE {
                return ended;
            }
        }
    }
}

//! One connection on the plugin socket: what its client was told, and whether it took it. EDGE.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use rustix::process::getuid;
use tokio::net::unix::UCred;
use tokio::time::Instant;

use super::answer::{self, Answers, Asked, ScopeProbe};
use super::takers;
use crate::http::serve::Answering;
use crate::scope::host;

/// A connection of a client with this PID.
pub(super) struct Connection {
    answers: Arc<dyn Answers>,
    peer: Option<u32>,
    /// Whether it runs as the same user.
    is_own: bool,
    /// The Scope probe at its other end, once it has asked.
    scope: Mutex<Option<Poller>>,
}

/// A Scope probe that asks each second.
struct Poller {
    probe: ScopeProbe,
    /// When it asked for the last report, and how many nodes that has.
    last: Option<(Instant, usize)>,
}

impl Connection {
    pub(super) fn new(answers: Arc<dyn Answers>, client: Option<UCred>) -> Self {
        let peer = client.and_then(|client| client.pid()).and_then(|pid| u32::try_from(pid).ok());
        let is_own = client.is_some_and(|client| client.uid() == getuid().as_raw());
        Self { answers, peer, is_own, scope: Mutex::new(None) }
    }

    fn report(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let gzip = answer::may_be_gzip(request);
        let is_scope = host::is_scope(request.uri().query());
        // What a panic may have left is a poller as it was.
        let mut scope = self.scope.lock().unwrap_or_else(PoisonError::into_inner);
        let poller = is_scope.then(|| scope.get_or_insert_with(|| self.greet()));
        if let Some(Poller { last: Some(_), .. }) = &poller {
            // Nobody asks again on a connection before the answer is read to its end.
            self.answers.taken();
        }
        let probe = poller.as_ref().map(|poller| poller.probe.clone());
        match self.answers.report(&Asked { gzip, scope: probe }) {
            Ok(report) => {
                if let Some(poller) = poller {
                    poller.last = Some((Instant::now(), report.nodes));
                    poller.probe.reports += 1;
                    poller.probe.tick = Some(report.tick);
                }
                answer::report(report.bytes, gzip)
            }
            Err(cause) => answer::refusal(&cause),
        }
    }

    fn greet(&self) -> Poller {
        let host = self.peer.and_then(|pid| self.answers.scopes_host(pid));
        Poller { probe: ScopeProbe { host, ..ScopeProbe::default() }, last: None }
    }
}

impl Answering for Connection {
    fn answer(&self, request: &mut Request<Incoming>) -> Response<Full<Bytes>> {
        if request.uri().path() == takers::PATH
            && let Some(takers) = self.answers.takers()
        {
            return takers.answer(request, (self.is_own, self.peer));
        }
        answer::answer(&*self.answers, request).unwrap_or_else(|| self.report(request))
    }

    fn abandoned(&self) {
        let scope = self.scope.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((asked, nodes)) = scope.as_ref().and_then(|poller| poller.last) {
            self.answers.abandoned(nodes, asked.elapsed());
        }
    }
}

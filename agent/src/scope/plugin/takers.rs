//! Agents that ask on the plugin socket for what is counted, to go on with it. EDGE.
//!
//! HTTP is left by an upgrade (RFC 9110, 7.8): descriptors need the bare socket.

use std::os::unix::net::UnixStream;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::http::deadline::Deadline;
use crate::http::serve::{of_type, text};

/// What is asked.
pub const PATH: &str = "/handover";
/// What is spoken then.
pub const PROTOCOL: &str = "scope-http-requests-handover";
/// The header in which an agent that reads TLS says what must be alike for it to read on.
pub const TLS_LAYOUT: &str = "tls-layout";
/// The status where the probe is another. The text is its layout.
pub const OTHER_LAYOUT: StatusCode = StatusCode::CONFLICT;

/// An agent that wants to go on.
#[derive(Debug)]
pub struct Taker {
    /// The connection to it, which blocks.
    pub stream: UnixStream,
    /// Its PID.
    pub pid: Option<u32>,
    /// Whether it goes on with the probe, and not with the socket alone.
    pub takes_probe: bool,
    /// [`TLS_LAYOUT`], if it said so.
    pub tls_layout: Option<String>,
}

/// What an agent says of itself to whoever asks without an upgrade.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Serving {
    /// What another agent's probe must be like to go on with this one's.
    pub layout: String,
    /// What its counts started from.
    pub started_from: String,
    /// How often they were handed over.
    pub handovers: u64,
}

/// The way to whoever hands over: one at a time.
#[derive(Clone, Debug)]
pub struct Takers {
    serving: Serving,
    queue: mpsc::Sender<Taker>,
}

impl Takers {
    /// For this agent; and the other end.
    #[must_use]
    pub fn new(serving: Serving) -> (Self, mpsc::Receiver<Taker>) {
        let (queue, takers) = mpsc::channel(1);
        (Self { serving, queue }, takers)
    }

    /// Lets whoever asks leave HTTP, if the same user runs it and it can go on.
    pub(super) fn answer(
        &self,
        request: &mut Request<Incoming>,
        (is_own, pid): (bool, Option<u32>),
    ) -> Response<Full<Bytes>> {
        if !is_own {
            return text(StatusCode::FORBIDDEN, "only to an agent of the same user\n");
        }
        match request.headers().get(UPGRADE) {
            None => return of_type("application/json", serde_json::to_vec(&self.serving).unwrap_or_default()),
            Some(protocol) if protocol == PROTOCOL => {}
            Some(_) => return text(StatusCode::UPGRADE_REQUIRED, format!("by an upgrade to {PROTOCOL}\n")),
        }
        let layout = request.uri().query().and_then(|query| query.strip_prefix("layout="));
        let takes_probe = layout.is_some();
        let tls_layout = request.headers().get(TLS_LAYOUT).and_then(|layout| Some(layout.to_str().ok()?.to_owned()));
        if layout.is_some_and(|layout| layout != self.serving.layout) {
            return text(OTHER_LAYOUT, self.serving.layout.clone());
        }
        let Ok(place) = self.queue.clone().try_reserve_owned() else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "another agent is about to go on\n");
        };
        let upgrade = hyper::upgrade::on(request);
        tokio::spawn(async move {
            // Whoever has left by now wants nothing any more.
            let Ok(upgraded) = upgrade.await else { return };
            let Ok(parts) = upgraded.downcast::<TokioIo<Deadline<tokio::net::UnixStream>>>() else { return };
            let stream = parts.io.into_inner().into_inner().into_std();
            if let Ok(stream) = stream.and_then(|stream| stream.set_nonblocking(false).map(|()| stream)) {
                place.send(Taker { stream, pid, takes_probe, tls_layout });
            }
        });
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
        response
    }
}

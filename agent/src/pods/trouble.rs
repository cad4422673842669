//! What is wrong between this agent and the API server, and what cures it. EDGE.
//!
//! Said once per kind of trouble and outage, not at every attempt: see [`Talk`].

pub use crate::pods::news::{Report, Trouble};
use crate::printable::one_line;
use kube::core::Status;
use kube::runtime::watcher;
use std::error::Error as StdError;

/// What an error of the watch means; `None` for a 410, which only asks for a fresh list.
pub fn of_watch(error: &watcher::Error) -> Option<Report> {
    use watcher::Error::{InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed};
    match error {
        WatchError(status) => of_status(status),
        InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) => of_client(error),
        NoResourceVersion => Some(report(Trouble::Garbage, chain(error))),
    }
}

/// What an error of the client means.
pub fn of_client(error: &kube::Error) -> Option<Report> {
    use kube::Error as E;
    let trouble = match error {
        E::Api(status) => return of_status(status),
        E::SerdeError(_) | E::FromUtf8(_) | E::LinesCodecMaxLineLengthExceeded => Trouble::Garbage,
        E::Auth(_) | E::RustlsTls(_) | E::TlsRequired | E::InferConfig(_) | E::InferKubeconfig(_) => {
            Trouble::Configuration
        }
        E::ProxyProtocolUnsupported { .. } => Trouble::Configuration,
        _ => Trouble::Unreachable,
    };
    Some(report(trouble, chain(error)))
}

fn of_status(status: &Status) -> Option<Report> {
    let trouble = match status.code {
        410 => return None,
        401 => Trouble::Unauthorized,
        403 => Trouble::Forbidden,
        429 => Trouble::Throttled,
        // What is no event kube takes for a status without a code, and an error page for one with a reason of its own.
        0 => Trouble::Garbage,
        _ if status.reason == "Failed to parse error data" => Trouble::Garbage,
        _ => Trouble::Refused,
    };
    Some(report(trouble, format!("{} {}: {}", status.code, status.reason, status.message)))
}

/// What a server or a proxy answers is others' text.
fn report(trouble: Trouble, cause: String) -> Report {
    Report { trouble, cause: one_line(&cause) }
}

/// An error and all its sources in one line; kube's own text stops at "client error (Connect)".
pub fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    text
}

/// Says each kind of trouble once, and once that it is over.
#[derive(Debug, Default)]
pub struct Talk {
    said: Vec<Trouble>,
}

impl Talk {
    /// Speaks of a trouble unless it was said in this outage. True if it spoke.
    pub fn trouble(&mut self, report: &Report) -> bool {
        if self.said.contains(&report.trouble) {
            tracing::debug!(cause = report.cause, "the API server still gives no pods");
            return false;
        }
        self.said.push(report.trouble);
        let (cause, cure) = (&report.cause, report.trouble.cure());
        if report.trouble.needs_someone() {
            tracing::error!(cause, cure, "no news of pods from the API server; counting goes on");
        } else {
            tracing::warn!(cause, cure, "no news of pods from the API server; counting goes on");
        }
        true
    }

    /// Whether a trouble was said whose end was not.
    pub fn is_in_trouble(&self) -> bool {
        !self.said.is_empty()
    }

    /// Speaks of the recovery if there was trouble.
    pub fn recovered(&mut self) {
        if !self.said.is_empty() {
            self.said.clear();
            tracing::info!("the API server sends news of pods again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("client error (Connect)")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn the_whole_chain_is_shown_once() {
        let inner = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "Connection refused (os error 111)");
        assert_eq!(
            chain(&kube::Error::Service(Box::new(Outer(inner)))),
            "ServiceError: client error (Connect): Connection refused (os error 111)"
        );
    }

    #[test]
    fn each_kind_is_said_once_an_outage() {
        let mut talk = Talk::default();
        let slow = report(Trouble::Slow, String::new());
        let forbidden = report(Trouble::Forbidden, String::new());
        let spoke: Vec<_> = [&slow, &slow, &forbidden, &slow].map(|report| talk.trouble(report)).into();
        assert_eq!(spoke, [true, false, true, false]);
        assert!(talk.is_in_trouble());
        talk.recovered();
        assert!(!talk.is_in_trouble());
        assert!(talk.trouble(&slow));
    }
}

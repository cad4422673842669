//! What is wrong between this agent and the API server, and what cures it. EDGE.
//!
//! Said once per kind of trouble and outage, not at every attempt: see [`Talk`].

use kube::core::Status;
use kube::runtime::watcher;
use std::error::Error as StdError;

/// A kind of trouble. Each has its cure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// 401: the token is missing, expired or of another cluster.
    Unauthorized,
    /// 403: a role is missing.
    Forbidden,
    /// 429: the API server sheds load.
    Throttled,
    /// Any other status that is no success.
    Refused,
    /// No connection, or one that broke.
    Unreachable,
    /// No answer within [`super::pod_watch::SLOW_AFTER`].
    Slow,
    /// An answer that is no pod list or pod event.
    Garbage,
    /// Certificates or credentials that cannot be read.
    Configuration,
}

/// A trouble and its cause, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What kind it is.
    pub trouble: Trouble,
    /// The whole chain of causes in one line.
    pub cause: String,
}

impl Trouble {
    /// Its name as metrics show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Throttled => "throttled",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Slow => "slow",
            Self::Garbage => "garbage",
            Self::Configuration => "configuration",
        }
    }

    /// What to do about it.
    pub fn cure(self) -> &'static str {
        match self {
            Self::Unauthorized => {
                "mount a valid service account token (in the chart: serviceAccount), or renew the kubeconfig's credentials"
            }
            Self::Forbidden => {
                "bind a ClusterRole with the rule {apiGroups: [\"\"], resources: [pods], verbs: [list, watch]} to this service account \
                 (in the chart: rbac.create=true)"
            }
            Self::Throttled => "nothing: the API server is overloaded and is asked again ever more slowly",
            Self::Refused => "look at the API server's log; it is asked again",
            Self::Unreachable => {
                "check that this node reaches the API server (NetworkPolicy, proxy, firewall, DNS); it is asked again"
            }
            Self::Slow => "check the API server's load and the path to it; the request goes on",
            Self::Garbage => {
                "check that a Kubernetes API server answers at this address, not a proxy; it is asked again"
            }
            Self::Configuration => "correct the service account's files or the kubeconfig; they are read again",
        }
    }

    /// Whether someone must act, or it will pass.
    pub fn needs_someone(self) -> bool {
        matches!(self, Self::Unauthorized | Self::Forbidden | Self::Configuration)
    }
}

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

fn report(trouble: Trouble, cause: String) -> Report {
    Report { trouble, cause }
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
        talk.recovered();
        assert!(talk.trouble(&slow));
    }

    #[test]
    fn a_missing_role_is_named() {
        assert!(Trouble::Forbidden.cure().contains("resources: [pods], verbs: [list, watch]"));
    }
}

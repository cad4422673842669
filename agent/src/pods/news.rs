//! How the watch on this node's pods stands, in words for people. PURE.

use crate::printable::one_line;

/// A kind of trouble with the API server. Each has its cure.
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
    /// No answer within [`super::watch::SLOW_AFTER`].
    Slow,
    /// An answer that is no pod list or pod event.
    Garbage,
    /// Certificates or credentials that cannot be read, or that a credential plugin does not give.
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

/// How the watch stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Nobody named a node whose pods to ask for.
    #[default]
    Unasked,
    /// No list has arrived yet.
    Starting,
    /// The pods are current.
    Watching,
    /// They are, and there is none, though processes run in pods.
    NoPods,
    /// The pods are those that were last known, if ever there was a list.
    Failing {
        /// What fails.
        report: Report,
        /// Whether there was a list since the start.
        has_listed: bool,
    },
    /// Nobody watches, and why.
    Off(String),
}

/// What is wrong where the list of this node's pods is empty and processes run in pods.
pub const NO_PODS: &str = "the API server knows no pod of this node, and processes run in pods here: set NODE_NAME or \
    --node-name to the node's name as `kubectl get nodes` prints it";

/// Of a cause no more than this goes into Scope's list of plugins: an error page may be long.
const MAX_CAUSE_CHARS: usize = 200;

impl State {
    /// Every state's name.
    pub const NAMES: [&str; 12] = [
        "off",
        "starting",
        "watching",
        "no_pods",
        "unauthorized",
        "forbidden",
        "throttled",
        "refused",
        "unreachable",
        "slow",
        "garbage",
        "configuration",
    ];

    /// Its name as metrics show it; of a failing watch, that of its trouble.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unasked | Self::Off(_) => "off",
            Self::Starting => "starting",
            Self::Watching => "watching",
            Self::NoPods => "no_pods",
            Self::Failing { report, .. } => report.trouble.name(),
        }
    }

    /// The watch goes well. True if that is news.
    pub fn note_well(&mut self) -> bool {
        let is_news = !matches!(self, Self::Watching | Self::NoPods);
        if is_news {
            *self = Self::Watching;
        }
        is_news
    }

    /// Whether processes run in pods and none of this node is known. True if that is news; while the watch does not go
    /// well it is none.
    pub fn note_pods(&mut self, is_lonely: bool) -> bool {
        let now = match (&self, is_lonely) {
            (Self::Watching, true) => Self::NoPods,
            (Self::NoPods, false) => Self::Watching,
            _ => return false,
        };
        *self = now;
        true
    }

    /// What Scope's users should know; nothing while all is as it should be.
    #[must_use]
    pub fn notice(&self) -> Option<String> {
        match self {
            Self::Unasked | Self::Starting | Self::Watching => None,
            Self::NoPods => Some(NO_PODS.to_owned()),
            Self::Failing { report, .. } => Some(format!(
                "no news of pods from the API server: {}; {}",
                shortened(&report.cause),
                report.trouble.cure()
            )),
            Self::Off(cause) => Some(format!("no names of pods: {}", shortened(cause))),
        }
    }

    /// One line for whoever asks how the agent is.
    #[must_use]
    pub fn line(&self) -> String {
        let standing = match self {
            Self::Unasked => "not asked for: NODE_NAME and --node-name are not set".to_owned(),
            Self::Starting => "asked for, no list yet".to_owned(),
            Self::Watching => "current".to_owned(),
            Self::NoPods => format!("none: {NO_PODS}"),
            Self::Failing { report, has_listed } => {
                let known = if *has_listed { "those last known" } else { "none known yet" };
                format!("{known}: {}; {}", shortened(&report.cause), report.trouble.cure())
            }
            Self::Off(cause) => format!("none: {}", shortened(cause)),
        };
        format!("pods: {standing}")
    }
}

fn shortened(cause: &str) -> String {
    let mut text: String = one_line(cause).chars().take(MAX_CAUSE_CHARS).collect();
    if cause.chars().count() > MAX_CAUSE_CHARS {
        text.push_str("...");
    }
    text
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
            Self::Configuration => {
                "correct the service account's files, or the kubeconfig and the credential plugin that it names, or the proxy (http, https or \
                 socks5); they are asked again"
            }
        }
    }

    /// Whether someone must act, or it will pass.
    pub fn needs_someone(self) -> bool {
        matches!(self, Self::Unauthorized | Self::Forbidden | Self::Configuration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(state: &State, notice: Option<&str>, line: &str) {
        assert_eq!((state.notice().as_deref(), state.line().as_str()), (notice, line));
    }

    #[test]
    fn scope_is_told_of_trouble_and_whoever_asks_of_everything() {
        check(&State::Unasked, None, "pods: not asked for: NODE_NAME and --node-name are not set");
        check(&State::Starting, None, "pods: asked for, no list yet");
        check(&State::Watching, None, "pods: current");
        check(&State::NoPods, Some(NO_PODS), &format!("pods: none: {NO_PODS}"));
        let off = State::Off("neither a service account nor a kubeconfig".into());
        let none = "no names of pods: neither a service account nor a kubeconfig";
        check(&off, Some(none), "pods: none: neither a service account nor a kubeconfig");
        let report = Report { trouble: Trouble::Throttled, cause: "429 TooManyRequests: later".into() };
        let cure = "nothing: the API server is overloaded and is asked again ever more slowly";
        let notice = format!("no news of pods from the API server: 429 TooManyRequests: later; {cure}");
        let line = |known: &str| format!("pods: {known}: 429 TooManyRequests: later; {cure}");
        let failing = |has_listed| State::Failing { report: report.clone(), has_listed };
        check(&failing(true), Some(&notice), &line("those last known"));
        check(&failing(false), Some(&notice), &line("none known yet"));
    }

    #[test]
    fn a_node_without_pods_is_news_once_and_again_after_trouble() {
        let mut state = State::Starting;
        let report = Report { trouble: Trouble::Slow, cause: String::new() };
        let failing = || State::Failing { report: report.clone(), has_listed: true };
        let (mut news, mut states) = (Vec::new(), Vec::new());
        let steps: [&dyn Fn(&mut State) -> bool; 9] = [
            &|state| state.note_pods(true),
            &State::note_well,
            &|state| state.note_pods(true),
            &|state| state.note_pods(true),
            &State::note_well,
            &|state| std::mem::replace(state, failing()) != failing(),
            &|state| state.note_pods(true),
            &State::note_well,
            &|state| state.note_pods(false),
        ];
        for step in steps {
            news.push(step(&mut state));
            states.push(state.name());
        }
        assert_eq!(news, [false, true, true, false, false, true, false, true, false]);
        let expected =
            ["starting", "watching", "no_pods", "no_pods", "no_pods", "slow", "slow", "watching", "watching"];
        assert_eq!(states, expected);
    }

    #[test]
    fn a_long_cause_is_cut_and_stays_one_line() {
        let report = Report { trouble: Trouble::Garbage, cause: "<html>\n".repeat(1000) };
        let notice = State::Failing { report, has_listed: true }.notice().unwrap();
        assert!(notice.len() < 500 && !notice.contains('\n') && notice.contains("...; check"), "{notice}");
    }

    #[test]
    fn a_missing_role_is_named() {
        assert!(Trouble::Forbidden.cure().contains("resources: [pods], verbs: [list, watch]"));
    }
}

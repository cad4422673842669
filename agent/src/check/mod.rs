//! `scope-http-requests check`: tries everything that the agent needs, and says what to do about what is missing. EDGE.

mod cluster;
mod counting;
pub mod finding;
mod system;

use std::ffi::OsString;

use crate::config::Config;
use finding::{Finding, json, table};

/// How the findings are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// As JSON, for scripts.
    json: bool,
}

/// Takes `check` and `--json` out of a command line that begins with them; the rest is that of the agent, so that it is
/// the agent's own configuration that is checked. `None` if it does not ask for a check.
pub fn take(arguments: &mut Vec<OsString>) -> Option<Wanted> {
    if arguments.get(1).is_none_or(|argument| argument != "check") {
        return None;
    }
    arguments.remove(1);
    let before = arguments.len();
    arguments.retain(|argument| argument != "--json");
    Some(Wanted { json: arguments.len() < before })
}

/// Tries everything, and gives what is to be printed and whether the agent can count.
pub async fn run(config: &Config, wanted: Wanted) -> (String, bool) {
    let mut findings = system::privileges();
    findings.extend(counting::kernel());
    findings.extend(counting::probe(config.probe));
    findings.extend(system::limits(config.probe.max_processes));
    findings.extend(system::names(config));
    findings.extend(system::places(config));
    findings.extend(cluster::api_server(config.node.as_deref(), config.kubeconfig.as_deref()).await);
    let text = if wanted.json { json(&findings) } else { table(&findings) };
    (text, findings.iter().all(Finding::is_passed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arguments: &[&str], expected: Option<Wanted>, left: &[&str]) {
        let mut arguments: Vec<_> = arguments.iter().map(OsString::from).collect();
        assert_eq!(take(&mut arguments), expected);
        assert_eq!(arguments, left);
    }

    #[test]
    fn the_rest_is_the_agents_own() {
        check(&["agent"], None, &["agent"]);
        check(&["agent", "--hostname", "check"], None, &["agent", "--hostname", "check"]);
        check(&["agent", "check"], Some(Wanted { json: false }), &["agent"]);
        check(&["agent", "check", "--hostname=a", "--json"], Some(Wanted { json: true }), &["agent", "--hostname=a"]);
    }
}

//! The name by which Scope knows this machine, and whether a Scope probe uses another. PURE.
//!
//! Of a report whose nodes name a host it does not know Scope shows nodes without names and a second host, and calls it
//! "ok".

use std::fmt;
use std::sync::Arc;

use crate::printable::is_printable;

/// The variable by which Scope's own manifests tell its probe the host's name.
pub const VARIABLE: &str = "SCOPE_HOSTNAME";

/// A host's name that can be part of a node's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(Arc<str>);

impl HostName {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// What is wrong with it: in a node's id a semicolon ends the host.
    pub fn parse(name: &str) -> Result<Self, String> {
        if name.is_empty() {
            return Err("is empty".to_owned());
        }
        if name.contains(|c: char| c == ';' || c.is_whitespace() || !is_printable(c)) {
            return Err(format!("{name:?} holds a character that a host's name cannot have"));
        }
        Ok(Self(name.into()))
    }

    /// The name, shared.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The host's name in a process's environment (`/proc/PID/environ`), as Scope's probe takes it.
#[must_use]
pub fn in_environment(environment: &[u8]) -> Option<String> {
    let mut variables = environment.split(|byte| *byte == 0);
    let value = variables.find_map(|variable| variable.strip_prefix(VARIABLE.as_bytes())?.strip_prefix(b"="))?;
    (!value.is_empty()).then(|| String::from_utf8_lossy(value).into_owned())
}

/// Whether a query is one of a Scope probe: it names itself.
#[must_use]
pub fn is_scope(query: Option<&str>) -> bool {
    query.is_some_and(|query| query.split('&').any(|pair| pair.starts_with("probe_id=")))
}

/// What to tell people if Scope's probe has another name for this host.
#[must_use]
pub fn mismatch(ours: &str, scopes: &str) -> Option<String> {
    (ours != scopes).then(|| {
        format!(
            "Scope calls this host {scopes:?}, but this agent calls it {ours:?}: Scope shows its processes without names, \
             and a second host. Start the agent with --hostname={scopes} (or {VARIABLE}={scopes})"
        )
    })
}

/// The same for the plugin's description, of which Scope shows the beginning.
#[must_use]
pub fn advice(scopes: &str) -> String {
    format!("start the agent with --hostname={scopes}, as Scope calls this host")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_environment(environment: &[u8], expected: Option<&str>) {
        assert_eq!(in_environment(environment).as_deref(), expected);
    }

    #[test]
    fn the_name_in_an_environment() {
        check_environment(b"PATH=/bin\0SCOPE_HOSTNAME=node-1\0HOME=/\0", Some("node-1"));
        check_environment(b"SCOPE_HOSTNAME=node-1", Some("node-1"));
        check_environment(b"XSCOPE_HOSTNAME=a\0SCOPE_HOSTNAMES=b\0", None);
        check_environment(b"SCOPE_HOSTNAME=\0", None);
        check_environment(b"SCOPE_HOSTNAME\0", None);
        check_environment(b"", None);
    }

    #[test]
    fn names_that_a_node_id_cannot_hold_are_refused() {
        for name in ["", "a;b", "a b", "a\n", "\u{7f}"] {
            assert!(HostName::parse(name).is_err(), "{name:?}");
        }
        for name in ["node-1", "ip-10-0-0-1.ec2.internal", "näme"] {
            assert_eq!(HostName::parse(name).unwrap().to_string(), name);
        }
    }

    #[test]
    fn only_a_scope_probe_names_itself() {
        assert!(is_scope(Some("api_version=1&probe_id=abc")));
        assert!(!is_scope(Some("api_version=1")));
        assert!(!is_scope(None));
    }

    #[test]
    fn a_mismatch_names_both_and_the_cure() {
        assert_eq!(mismatch("a", "a"), None);
        let text = mismatch("machine", "node-1").unwrap();
        for part in ["\"machine\"", "\"node-1\"", "--hostname=node-1"] {
            assert!(text.contains(part), "{text}");
        }
    }
}

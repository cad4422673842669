//! What was tried, what was found, and what to do: as a table and as JSON. PURE.

use serde::Serialize;

use crate::printable::one_line;

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Not there, and not needed.
    Note,
    /// The agent counts, but something will be missing.
    Warning,
    /// The agent cannot count.
    Failed,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Failed => "FAILED",
        }
    }
}

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was tried.
    pub check: &'static str,
    /// How it went.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it; empty if nothing.
    pub to_do: String,
}

impl Finding {
    /// As it should be.
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, found.into(), String::new())
    }

    /// Not there, and not needed.
    pub fn note(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(check, Verdict::Note, found.into(), String::new())
    }

    /// Something will be missing.
    pub fn warning(check: &'static str, found: impl Into<String>, to_do: impl Into<String>) -> Self {
        Self::new(check, Verdict::Warning, found.into(), to_do.into())
    }

    /// The agent cannot count.
    pub fn failed(check: &'static str, found: impl Into<String>, to_do: impl Into<String>) -> Self {
        Self::new(check, Verdict::Failed, found.into(), to_do.into())
    }

    /// Whether the agent can count in spite of it.
    pub fn is_passed(&self) -> bool {
        self.verdict != Verdict::Failed
    }

    fn new(check: &'static str, verdict: Verdict, found: String, to_do: String) -> Self {
        // Names of hosts and answers of servers are others' text.
        Self { check, verdict, found: one_line(&found), to_do: one_line(&to_do) }
    }
}

/// For people: a line each, what to do below it, and a summary.
#[must_use]
pub fn table(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0).max("CHECK".len());
    let mut text = format!("{:width$}  {:7}  FOUND\n", "CHECK", "RESULT");
    for Finding { check, verdict, found, to_do } in findings {
        text += &format!("{check:width$}  {:7}  {found}\n", verdict.name());
        if !to_do.is_empty() {
            text += &format!("{:width$}  {:7}  -> {to_do}\n", "", "");
        }
    }
    text + &summary(findings) + "\n"
}

fn summary(findings: &[Finding]) -> String {
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (failed, warnings) = (count(Verdict::Failed), count(Verdict::Warning));
    let meaning = match (failed, warnings) {
        (0, 0) => "the agent can count here",
        (0, _) => "the agent can count here, but see the warnings",
        _ => "the agent cannot count here",
    };
    format!(
        "{} ok, {} notes, {warnings} warnings, {failed} failed: {meaning}",
        count(Verdict::Ok),
        count(Verdict::Note)
    )
}

/// For scripts: whether it can count, and every finding.
#[must_use]
pub fn json(findings: &[Finding]) -> String {
    let can_count = findings.iter().all(Finding::is_passed);
    let document = serde_json::json!({ "can_count": can_count, "checks": findings });
    format!("{document:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Vec<Finding> {
        vec![
            Finding::ok("BTF", "/sys/kernel/btf/vmlinux"),
            Finding::note("lockdown", "unknown"),
            Finding::warning("hostPID", "a PID namespace\nof its own", "hostPID: true"),
        ]
    }

    #[test]
    fn a_line_each_and_what_to_do_below() {
        let expected = "\
CHECK     RESULT   FOUND
BTF       ok       /sys/kernel/btf/vmlinux
lockdown  note     unknown
hostPID   warning  a PID namespace of its own
                   -> hostPID: true
1 ok, 1 notes, 1 warnings, 0 failed: the agent can count here, but see the warnings
";
        assert_eq!(table(&findings()), expected);
    }

    #[track_caller]
    fn check_summary(findings: &[Finding], end: &str) {
        assert!(summary(findings).ends_with(end), "{}", summary(findings));
    }

    #[test]
    fn one_failure_decides() {
        check_summary(&findings()[..1], "the agent can count here");
        check_summary(
            &[findings(), vec![Finding::failed("probe", "refused", "allow it")]].concat(),
            "cannot count here",
        );
    }

    #[test]
    fn scripts_get_the_same() {
        let document: serde_json::Value = serde_json::from_str(&json(&findings())).unwrap();
        assert_eq!(document["can_count"], true);
        assert_eq!(document["checks"][2]["verdict"], "warning");
        assert_eq!(document["checks"][2]["to_do"], "hostPID: true");
        let failed = json(&[Finding::failed("probe", "refused", "allow it")]);
        assert!(failed.contains("\"can_count\": false"), "{failed}");
    }
}

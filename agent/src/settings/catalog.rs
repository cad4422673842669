//! Every setting there is, once: flags, variables, the file's keys, help and docs are made of this list. PURE.

use std::collections::BTreeMap;

use serde_json::Value;

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its flag without the dashes, and its key in the file.
    pub name: &'static str,
    /// The environment variable.
    pub variable: &'static str,
    /// What its value is called; `None` for one that is on or off.
    pub value: Option<&'static str>,
    /// What holds without it.
    pub default: &'static str,
    /// What it is, in one line.
    pub help: &'static str,
}

const fn setting(
    name: &'static str,
    value: &'static str,
    variable: &'static str,
    default: &'static str,
    help: &'static str,
) -> Setting {
    Setting { name, variable, value: Some(value), default, help }
}

/// Names the file; the only setting that the file cannot have.
pub const CONFIG: Setting =
    setting("config", "FILE", "SCOPE_HTTP_REQUESTS_CONFIG", "none", "settings in YAML, such as `log-format: json`");

/// Where the plugin socket is; the commands that ask a running agent need it, too.
pub const PLUGINS_ROOT: Setting = setting(
    "plugins-root",
    "DIR",
    "SCOPE_HTTP_REQUESTS_PLUGINS_ROOT",
    "/var/run/scope/plugins",
    "folder of Scope's plugin sockets",
);

/// Set, it keeps colours off.
pub const NO_COLOUR: Setting =
    Setting { name: "no-colour", variable: "NO_COLOR", value: None, default: "off", help: "no colours" };

/// All settings, in the order of the help.
pub const ALL: [Setting; 17] = [
    CONFIG,
    PLUGINS_ROOT,
    setting("hostname", "NAME", "SCOPE_HOSTNAME", "the host's name", "this host as Scope calls it"),
    setting(
        "topologies",
        "LIST",
        "SCOPE_HTTP_REQUESTS_TOPOLOGIES",
        "process,container,pod,host",
        "what Scope gets numbers of",
    ),
    setting(
        "shown",
        "WHICH",
        "SCOPE_HTTP_REQUESTS_SHOWN",
        "all",
        "which processes Scope and tables show: all, or pods",
    ),
    setting("node-name", "NAME", "NODE_NAME", "no pods", "the Kubernetes node whose pods are asked for"),
    setting(
        "kubeconfig",
        "FILE",
        "SCOPE_HTTP_REQUESTS_KUBECONFIG",
        "as in a pod, or as kubectl",
        "how to reach the API server",
    ),
    setting(
        "metrics-address",
        "ADDRESS",
        "SCOPE_HTTP_REQUESTS_METRICS_ADDRESS",
        "off",
        "for Prometheus: a port of 127.0.0.1, or IP:PORT",
    ),
    setting(
        "metrics-by",
        "WHAT",
        "SCOPE_HTTP_REQUESTS_METRICS_BY",
        "container",
        "a series for each container, or process",
    ),
    setting(
        "hook",
        "HOOK",
        "SCOPE_HTTP_REQUESTS_HOOK",
        "auto",
        "where the probe reads: auto, tracepoint, dynptr or fexit",
    ),
    setting(
        "responses",
        "WHETHER",
        "SCOPE_HTTP_REQUESTS_RESPONSES",
        "auto",
        "responses, durations: auto (where the kernel can) or off",
    ),
    setting(
        "tls",
        "WHETHER",
        "SCOPE_HTTP_REQUESTS_TLS",
        "off",
        "requests in TLS: off, or auto with ,go and ,responses",
    ),
    setting("max-processes", "NUMBER", "SCOPE_HTTP_REQUESTS_MAX_PROCESSES", "8192", "processes counted at a time"),
    setting(
        "log-format",
        "FORMAT",
        "SCOPE_HTTP_REQUESTS_LOG_FORMAT",
        "auto",
        "how logs are written: auto, human or json",
    ),
    setting("log-level", "LEVEL", "RUST_LOG", "info", "what is logged: a level, or a filter of targets"),
    setting("terminal", "WHEN", "SCOPE_HTTP_REQUESTS_TERMINAL", "auto", "live table: auto, always or never"),
    NO_COLOUR,
];

/// A file longer than this is none of settings.
pub const MAX_FILE_BYTES: u64 = 64 * 1024;

/// The settings in a file's text: YAML, a key a line, a list where a setting takes one.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn of_file(text: &str) -> Result<BTreeMap<String, String>, Vec<String>> {
    // A file of comments alone is one without settings.
    if text.lines().all(|line| line.trim_start().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(BTreeMap::new());
    }
    let parsed: BTreeMap<String, Value> = serde_saphyr::from_str(text).map_err(|error| {
        let line = error.to_string().lines().next().unwrap_or_default().to_owned();
        vec![format!("no YAML with a setting a line: {line}")]
    })?;
    let (mut settings, mut errors) = (BTreeMap::new(), Vec::new());
    for (key, value) in parsed {
        let known = ALL.iter().any(|setting| setting.name == key && key != CONFIG.name);
        match (known, scalar(&value)) {
            (false, _) => errors.push(format!("{key:?} is no setting")),
            (true, None) => errors.push(format!("{key}: is neither a value nor a list of values")),
            (true, Some(value)) => {
                settings.insert(key, value);
            }
        }
    }
    if errors.is_empty() { Ok(settings) } else { Err(errors) }
}

/// A value as a flag would have it.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(value) => Some(value.to_string()),
        Value::String(value) => Some(value.clone()),
        Value::Array(values) => {
            let values = values.iter().map(|value| if value.is_array() { None } else { scalar(value) });
            values.collect::<Option<Vec<_>>>().map(|values| values.join(","))
        }
        Value::Object(_) => None,
    }
}

/// The rows of the table in docs/configuration.md.
#[must_use]
pub fn table() -> Vec<String> {
    let row = |setting: &Setting| {
        let flag = setting.value.map_or_else(String::new, |value| format!(" {value}"));
        let key = if setting.name == CONFIG.name { "-".to_owned() } else { format!("`{}`", setting.name) };
        let Setting { name, variable, default, help, .. } = setting;
        format!("| `--{name}{flag}` | `{variable}` | {key} | {default} | {help} |")
    };
    ALL.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let settings = of_file(text).unwrap();
        let settings: Vec<_> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(settings, expected, "{text}");
    }

    #[test]
    fn a_file_has_what_flags_have() {
        check("", &[]);
        check("# nothing\n\n", &[]);
        check("log-format: json\nmax-processes: 70000\n", &[("log-format", "json"), ("max-processes", "70000")]);
        check("topologies: [pod, host]", &[("topologies", "pod,host")]);
        check("topologies:\n- pod\n- host\n", &[("topologies", "pod,host")]);
        check("no-colour: true\nhostname: \"007\"\n", &[("hostname", "007"), ("no-colour", "true")]);
        check("{\"node-name\": \"a\"}", &[("node-name", "a")]);
        check("node-name:\n", &[("node-name", "")]);
    }

    #[track_caller]
    fn check_errors(text: &str, expected: &[&str]) {
        let errors = of_file(text).unwrap_err();
        assert_eq!(errors.len(), expected.len(), "{errors:?}");
        for (error, words) in errors.iter().zip(expected) {
            assert!(error.contains(words) && !error.contains('\n'), "{error:?} lacks {words:?}");
        }
    }

    #[test]
    fn whatever_is_wrong_with_a_file_is_told_at_once() {
        check_errors("log_format: json\nconfig: x\nhook: {a: b}\n", &["\"config\"", "hook: is", "\"log_format\""]);
        check_errors("topologies: [[pod]]", &["topologies: is"]);
        check_errors("- hook\n", &["no YAML with"]);
        check_errors("hook: a\nhook: b\n", &["no YAML with"]);
        check_errors("hook: [a", &["no YAML with"]);
        check_errors("\u{0}\u{1}", &["no YAML with"]);
        check_errors("a: &a [*a, *a]", &["no YAML with"]);
    }

    #[test]
    fn names_are_words_with_hyphens_and_say_their_variable() {
        for setting in ALL {
            assert!(setting.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", setting.name);
            let by_rule = format!("SCOPE_HTTP_REQUESTS_{}", setting.name.replace('-', "_").to_uppercase());
            let exceptions = ["SCOPE_HOSTNAME", "NODE_NAME", "RUST_LOG", "NO_COLOR"];
            assert!(setting.variable == by_rule || exceptions.contains(&setting.variable), "{}", setting.variable);
        }
    }
}

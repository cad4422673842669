//! What the agent is told: flags, the environment below them, and a file below both. PURE.

use core::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::ArgMatches;

pub use super::values::DEFAULT_LOG_LEVEL;
use super::values::Values;
use crate::counting::shown::Shown;
use crate::kernel::ProbeConfig;
use crate::metrics::labels::Grouping;
use crate::scope::host::HostName;
use crate::scope::plugin::PluginsRoot;
use crate::scope::topologies::Topologies;
use crate::terminal::When;

/// Everything the agent is told, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the plugin socket goes.
    pub plugins_root: PluginsRoot,
    /// The machine as Scope calls it; `None` for its own name.
    pub host: Option<HostName>,
    /// The Kubernetes node whose pods are asked for; `None` for no pods.
    pub node: Option<String>,
    /// Where metrics are served; `None` for nowhere.
    pub metrics_address: Option<SocketAddr>,
    /// By what metrics tell requests apart.
    pub metrics_by: Grouping,
    /// How the probe is loaded.
    pub probe: ProbeConfig,
    /// How the API server is reached; `None` for the service account, or the kubeconfig that kubectl would use.
    pub kubeconfig: Option<PathBuf>,
    /// What the report for Scope is about.
    pub topologies: Topologies,
    /// Which processes people are shown.
    pub shown: Shown,
    /// How logs are written.
    pub log_format: LogFormat,
    /// What is logged, as `tracing` filters it.
    pub log_level: String,
    /// Whether a live table is shown.
    pub terminal: When,
    /// Whether there may be colours.
    pub colour: bool,
    /// What of all this was given, and by what; the rest are defaults.
    pub given: Vec<String>,
}

/// What is needed to ask a running agent; nothing else that is wrong keeps anybody from asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Where its plugin socket is.
    pub plugins_root: PluginsRoot,
    /// Whether there may be colours.
    pub colour: bool,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Human,
    /// A JSON object a line.
    Json,
}

/// Why there is no configuration.
#[derive(Debug)]
pub enum ConfigError {
    /// Help or version was asked for, or the command line cannot be understood.
    Usage(clap::Error),
    /// Values that cannot be, all of them.
    Values(Vec<String>),
}

/// What of the configuration lies outside the program: it is read when it is needed.
#[derive(Clone, Copy, Debug)]
pub struct Outside<L, R> {
    /// A variable's value.
    pub lookup: L,
    /// A file's text, or why there is none.
    pub read: R,
    /// Who asks, as the system numbers them.
    pub uid: u32,
}

impl Config {
    /// What a command line says, the environment below it, and the file below both.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the values at once.
    pub fn of<L, R>(matches: &ArgMatches, outside: Outside<L, R>) -> Result<Self, ConfigError>
    where
        L: Fn(&str) -> Option<String>,
        R: FnOnce(&Path) -> Result<String, String>,
    {
        let mut values = Values::new(matches, outside.lookup).with_file(outside.read);
        let config = Self {
            plugins_root: values.plugins_root(outside.uid),
            host: values.host(),
            node: values.node(),
            metrics_address: values.metrics_address(),
            metrics_by: values
                .one_of("metrics-by", &[("container", Grouping::Container), ("process", Grouping::Process)]),
            probe: values.probe(),
            kubeconfig: values.path("kubeconfig"),
            topologies: values.topologies(),
            shown: values.one_of("shown", &[("all", Shown::All), ("pods", Shown::Pods)]),
            log_format: values.one_of(
                "log-format",
                &[("auto", LogFormat::Auto), ("human", LogFormat::Human), ("json", LogFormat::Json)],
            ),
            log_level: values.log_level(),
            terminal: values.terminal(),
            colour: values.colour(),
            given: values.given(),
        };
        if values.errors.is_empty() { Ok(config) } else { Err(ConfigError::Values(values.errors)) }
    }
}

/// How the probe is loaded, as the variables say; tests and benchmarks have no flags.
///
/// # Panics
///
/// When they say nothing that is known.
#[must_use]
pub fn probe_of_variables(lookup: impl Fn(&str) -> Option<String>) -> ProbeConfig {
    let matches = ArgMatches::default();
    let mut values = Values::new(&matches, &lookup);
    let config = ProbeConfig { without_loop: lookup("WITHOUT_LOOP").is_some(), ..values.probe() };
    assert!(values.errors.is_empty(), "{}", values.errors.join("\n"));
    config
}

impl Reach {
    /// What a command line says, the environment below it, and the file below both.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the values at once.
    pub fn of<L, R>(matches: &ArgMatches, outside: Outside<L, R>) -> Result<Self, ConfigError>
    where
        L: Fn(&str) -> Option<String>,
        R: FnOnce(&Path) -> Result<String, String>,
    {
        let mut values = Values::new(matches, outside.lookup).with_file(outside.read);
        let reach = Self { plugins_root: values.plugins_root(outside.uid), colour: values.colour() };
        if values.errors.is_empty() { Ok(reach) } else { Err(ConfigError::Values(values.errors)) }
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;

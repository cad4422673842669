//! What the agent is told: flags, the environment below them, and a file below both. PURE.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use common::maps::MAX_PROCESSES;

use crate::metrics::tally::Grouping;
use crate::scope_host::HostName;
use crate::settings::{self, CONFIG, NO_COLOUR, PLUGINS_ROOT, Setting};
use crate::topologies::Topologies;

/// Where Scope looks for plugins.
pub const DEFAULT_PLUGINS_ROOT: &str = "/var/run/scope/plugins";

/// What is logged by default. The watch on pods says itself what fails, once and with advice; kube
/// would say it again at each attempt.
pub const DEFAULT_LOG_LEVEL: &str = "info,kube_runtime=error,kube_client=error";

/// Processes that can be counted at a time. Each takes 32 bytes a CPU in the kernel.
const PROCESS_LIMITS: RangeInclusive<u32> = 1..=1 << 20;

/// Where cgroups are mounted on a host. In a container that folder shows the container's own.
pub const DEFAULT_CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// The longest name of a node: a DNS subdomain.
const MAX_NODE_NAME_BYTES: usize = 253;

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
    /// Where the host's cgroups are mounted.
    pub cgroup_root: PathBuf,
    /// What the report for Scope is about.
    pub topologies: Topologies,
    /// How logs are written.
    pub log_format: LogFormat,
    /// What is logged, as `tracing` filters it.
    pub log_level: String,
    /// Whether a live table is shown.
    pub terminal: When,
    /// Whether there may be colours.
    pub colour: bool,
}

/// What is needed to ask a running agent; nothing else that is wrong keeps anybody from asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Where its plugin socket is.
    pub plugins_root: PluginsRoot,
    /// Whether there may be colours.
    pub colour: bool,
}

/// Where the plugin socket goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginsRoot {
    /// The folder that is tried first.
    pub path: PathBuf,
    /// Folders to use if that one cannot be; none if somebody chose it.
    pub fallbacks: Vec<PathBuf>,
}

/// How the probe is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeConfig {
    /// Where it is attached.
    pub hook: HookChoice,
    /// How many processes are counted at a time.
    pub max_processes: u32,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self { hook: HookChoice::Auto, max_processes: MAX_PROCESSES }
    }
}

impl ProbeConfig {
    /// What the variables say; tests and benchmarks have no flags.
    ///
    /// # Panics
    ///
    /// When they say nothing that is known.
    #[must_use]
    pub fn of_variables(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let matches = ArgMatches::default();
        let mut values = Values::new(&matches, lookup);
        let config = values.probe();
        assert!(values.errors.is_empty(), "{}", values.errors.join("\n"));
        config
    }
}

/// Where the probe is attached, and with that how it reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookChoice {
    /// At the tracepoint if the kernel lets programs there read its buffers (where they are, if it can), else at fexit.
    #[default]
    Auto,
    /// At the tracepoint `skb_copy_datagram_iovec`.
    Tracepoint,
    /// The same, reading through the kernel's function even where buffers can be read where they are.
    Dynptr,
    /// At the end of the function `skb_copy_datagram_iter`.
    Fexit,
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

/// Whether something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// If it makes sense.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
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
            cgroup_root: values.path("cgroup-root").unwrap_or_else(|| DEFAULT_CGROUP_ROOT.into()),
            topologies: values.topologies(),
            log_format: values.one_of(
                "log-format",
                &[("auto", LogFormat::Auto), ("human", LogFormat::Human), ("json", LogFormat::Json)],
            ),
            log_level: values.log_level(),
            terminal: values.terminal(),
            colour: !values.is_on(&NO_COLOUR),
        };
        if values.errors.is_empty() { Ok(config) } else { Err(ConfigError::Values(values.errors)) }
    }
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
        let reach = Self { plugins_root: values.plugins_root(outside.uid), colour: !values.is_on(&NO_COLOUR) };
        if values.errors.is_empty() { Ok(reach) } else { Err(ConfigError::Values(values.errors)) }
    }
}

/// Values on their way into a [`Config`], with what was wrong with them.
struct Values<'a, L> {
    matches: &'a ArgMatches,
    lookup: L,
    /// The file's name and its settings.
    file: (String, BTreeMap<String, String>),
    errors: Vec<String>,
}

impl<'a, L: Fn(&str) -> Option<String>> Values<'a, L> {
    fn new(matches: &'a ArgMatches, lookup: L) -> Self {
        Self { matches, lookup, file: Default::default(), errors: Vec::new() }
    }

    /// Takes in the file that is named, if one is.
    fn with_file(mut self, read: impl FnOnce(&Path) -> Result<String, String>) -> Self {
        let Some((_, name)) = self.value(CONFIG.name) else { return self };
        match read(Path::new(&name)).map_err(|error| vec![error]).and_then(|text| settings::of_file(&text)) {
            Ok(settings) => self.file = (name, settings),
            Err(errors) => self.errors.extend(errors.into_iter().map(|error| format!("{name}: {error}"))),
        }
        self
    }

    /// An empty variable is none.
    fn variable(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    /// The value, and where it came from: a flag wins over its variable, and that over the file.
    fn value(&self, name: &'static str) -> Option<(String, String)> {
        let setting = settings::ALL.iter().find(|setting| setting.name == name)?;
        // Commands that ask a running agent have few of the flags.
        let flag = || self.matches.try_get_one::<String>(name).ok().flatten().cloned();
        let in_file = || self.file.1.get(name).filter(|value| !value.is_empty()).cloned();
        flag()
            .map(|value| (format!("--{name}"), value))
            .or_else(|| self.variable(setting.variable).map(|value| (setting.variable.to_owned(), value)))
            .or_else(|| in_file().map(|value| (format!("{}: {name}", self.file.0), value)))
    }

    /// A setting without a value: any value turns its variable on (no-color.org).
    fn is_on(&mut self, setting: &Setting) -> bool {
        if self.matches.try_get_one::<bool>(setting.name).ok().flatten() == Some(&true) {
            return true;
        }
        let in_file = self.file.1.get(setting.name).map_or("false", String::as_str);
        if !matches!(in_file, "true" | "false" | "") {
            self.errors.push(format!("{}: {}: {in_file:?} is neither true nor false", self.file.0, setting.name));
        }
        self.variable(setting.variable).is_some() || in_file == "true"
    }

    fn terminal(&mut self) -> When {
        if self.matches.try_get_one("no-terminal").ok().flatten() == Some(&true) {
            return When::Never;
        }
        self.one_of("terminal", &[("auto", When::Auto), ("always", When::Always), ("never", When::Never)])
    }

    fn path(&mut self, name: &'static str) -> Option<PathBuf> {
        let (source, path) = self.value(name)?;
        if path.is_empty() {
            self.errors.push(format!("{source}: is empty"));
        }
        Some(path.into())
    }

    fn plugins_root(&mut self, uid: u32) -> PluginsRoot {
        if let Some(path) = self.path(PLUGINS_ROOT.name) {
            return PluginsRoot { path, fallbacks: Vec::new() };
        }
        let runtime = self.variable("XDG_RUNTIME_DIR");
        let own = runtime.map(|folder| PathBuf::from(folder).join("scope-http-requests"));
        let shared = PathBuf::from(format!("/tmp/scope-http-requests-{uid}"));
        PluginsRoot { path: DEFAULT_PLUGINS_ROOT.into(), fallbacks: own.into_iter().chain([shared]).collect() }
    }

    fn probe(&mut self) -> ProbeConfig {
        ProbeConfig {
            hook: self.one_of(
                "hook",
                &[
                    ("auto", HookChoice::Auto),
                    ("tracepoint", HookChoice::Tracepoint),
                    ("dynptr", HookChoice::Dynptr),
                    ("fexit", HookChoice::Fexit),
                ],
            ),
            max_processes: self.max_processes(),
        }
    }

    fn max_processes(&mut self) -> u32 {
        let Some((source, value)) = self.value("max-processes") else { return MAX_PROCESSES };
        match value.parse() {
            Ok(number) if PROCESS_LIMITS.contains(&number) => number,
            _ => {
                let (least, most) = (PROCESS_LIMITS.start(), PROCESS_LIMITS.end());
                self.errors.push(format!("{source}: {value:?} is no number from {least} to {most}"));
                MAX_PROCESSES
            }
        }
    }

    fn host(&mut self) -> Option<HostName> {
        let (source, name) = self.value("hostname")?;
        HostName::parse(&name).map_err(|error| self.errors.push(format!("{source}: {error}"))).ok()
    }

    /// It becomes part of a field selector, so nothing but a node's name may pass.
    fn node(&mut self) -> Option<String> {
        let (source, name) = self.value("node-name")?;
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        if name.is_empty() || name.len() > MAX_NODE_NAME_BYTES || !name.chars().all(fits) {
            self.errors.push(format!("{source}: {name:?} is no name of a Kubernetes node"));
        }
        Some(name)
    }

    fn topologies(&mut self) -> Topologies {
        let Some((source, list)) = self.value("topologies") else { return Topologies::ALL };
        let parsed = Topologies::parse(&list).map_err(|error| self.errors.push(format!("{source}: {error}")));
        parsed.unwrap_or(Topologies::ALL)
    }

    /// A port alone is one of the loopback address: whoever opens metrics to the network says so.
    fn metrics_address(&mut self) -> Option<SocketAddr> {
        let (source, address) = self.value("metrics-address")?;
        let port = address.strip_prefix(':').unwrap_or(&address).parse();
        let parsed = match port {
            Ok(port) => Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
            Err(_) => address.parse().ok(),
        };
        if parsed.is_none() {
            self.errors.push(format!("{source}: {address:?} is neither a port nor an IP address and a port"));
        }
        parsed
    }

    fn log_level(&mut self) -> String {
        let Some((source, level)) = self.value("log-level") else { return DEFAULT_LOG_LEVEL.to_owned() };
        if let Err(error) = level.parse::<tracing_subscriber::EnvFilter>() {
            self.errors.push(format!("{source}: {level:?} is no log level or filter: {error}"));
        }
        level
    }

    fn one_of<T: Copy>(&mut self, name: &'static str, choices: &[(&str, T)]) -> T {
        let Some((source, value)) = self.value(name) else { return choices[0].1 };
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == value) {
            return *choice;
        }
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        self.errors.push(format!("{source}: {value:?} is none of {}", names.join(", ")));
        choices[0].1
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;

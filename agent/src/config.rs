//! What the agent is told: flags, and the environment below them. PURE.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::Parser;
use common::maps::MAX_PROCESSES;

use crate::metrics::tally::Grouping;
use crate::scope_host::{self, HostName};
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
    /// Whether the table may have colours (`NO_COLOR`).
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
        let mut values = Values { lookup, errors: Vec::new() };
        let config = values.probe(None, None);
        assert!(values.errors.is_empty(), "{}", values.errors.join("\n"));
        config
    }
}

/// Where the probe is attached, and with that how it reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookChoice {
    /// At the tracepoint if the kernel lets programs there read its buffers, else at fexit.
    #[default]
    Auto,
    /// At the tracepoint `skb_copy_datagram_iovec`.
    Tracepoint,
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

/// Counts the HTTP requests every process receives and shows them in Weave Scope.
#[derive(Parser)]
#[command(name = "scope-http-requests", version, max_term_width = 100)]
#[command(
    after_help = "`scope-http-requests check`, with the same options and --json, tries everything the agent needs. \
    Each option can be given by the variable named with it; the option wins. \
    Exit codes: 0 ended by a signal or by q, 64 usage, 69 the kernel cannot count or another agent serves, 74 I/O."
)]
struct Flags {
    /// Folder of Scope's plugin sockets [env: SCOPE_HTTP_REQUESTS_PLUGINS_ROOT] [default: /var/run/scope/plugins]
    #[arg(long, value_name = "DIR")]
    plugins_root: Option<String>,
    /// This host as Scope calls it [env: SCOPE_HOSTNAME] [default: the host's name]
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// The Kubernetes node this is, for the names of its pods [env: NODE_NAME] [default: no pods]
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    /// Serve metrics at this port of 127.0.0.1, or at this IP:PORT [env: SCOPE_HTTP_REQUESTS_METRICS_ADDRESS] [default: off]
    #[arg(long, value_name = "ADDRESS")]
    metrics_address: Option<String>,
    /// Metrics by container or by process [env: SCOPE_HTTP_REQUESTS_METRICS_BY] [default: container]
    #[arg(long, value_name = "WHAT")]
    metrics_by: Option<String>,
    /// Where the probe is attached: auto, tracepoint or fexit [env: SCOPE_HTTP_REQUESTS_HOOK] [default: auto]
    #[arg(long, value_name = "HOOK")]
    hook: Option<String>,
    /// How many processes are counted at a time [env: SCOPE_HTTP_REQUESTS_MAX_PROCESSES] [default: 8192]
    #[arg(long, value_name = "NUMBER")]
    max_processes: Option<String>,
    /// How to reach the API server [default: the pod's service account, or what kubectl would use]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Where the host's cgroups are mounted [env: SCOPE_HTTP_REQUESTS_CGROUP_ROOT] [default: /sys/fs/cgroup]
    #[arg(long, value_name = "DIR")]
    cgroup_root: Option<String>,
    /// What Scope gets numbers of [env: SCOPE_HTTP_REQUESTS_TOPOLOGIES] [default: process,container,pod,host]
    #[arg(long, value_name = "LIST")]
    topologies: Option<String>,
    /// auto, human or json [env: SCOPE_HTTP_REQUESTS_LOG_FORMAT] [default: auto]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// error, warn, info, debug, trace, or a filter of targets [env: RUST_LOG] [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Live table: auto, always or never [env: SCOPE_HTTP_REQUESTS_TERMINAL] [default: auto]
    #[arg(long, value_name = "WHEN")]
    terminal: Option<String>,
    /// No live table: the same as --terminal=never
    #[arg(long, conflicts_with = "terminal")]
    no_terminal: bool,
}

impl Config {
    /// Reads the command line (with the program's name first), and the environment through `lookup`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the values at once.
    pub fn parse(
        arguments: impl IntoIterator<Item = OsString>,
        lookup: impl Fn(&str) -> Option<String>,
        uid: u32,
    ) -> Result<Self, ConfigError> {
        let flags = Flags::try_parse_from(arguments).map_err(ConfigError::Usage)?;
        let terminal = if flags.no_terminal { Some("never".to_owned()) } else { flags.terminal };
        let mut values = Values { lookup, errors: Vec::new() };
        let config = Self {
            plugins_root: values.plugins_root(flags.plugins_root, uid),
            host: values.host(flags.hostname),
            node: values.node(flags.node_name),
            metrics_address: values.metrics_address(flags.metrics_address),
            metrics_by: values.one_of(
                ("--metrics-by", "SCOPE_HTTP_REQUESTS_METRICS_BY", flags.metrics_by),
                &[("container", Grouping::Container), ("process", Grouping::Process)],
            ),
            probe: values.probe(flags.hook, flags.max_processes),
            kubeconfig: flags.kubeconfig,
            cgroup_root: values.cgroup_root(flags.cgroup_root),
            topologies: values.topologies(flags.topologies),
            log_format: values.one_of(
                ("--log-format", "SCOPE_HTTP_REQUESTS_LOG_FORMAT", flags.log_format),
                &[("auto", LogFormat::Auto), ("human", LogFormat::Human), ("json", LogFormat::Json)],
            ),
            log_level: values.log_level(flags.log_level),
            terminal: values.one_of(
                ("--terminal", "SCOPE_HTTP_REQUESTS_TERMINAL", terminal),
                &[("auto", When::Auto), ("always", When::Always), ("never", When::Never)],
            ),
            colour: values.variable("NO_COLOR").is_none(),
        };
        if values.errors.is_empty() { Ok(config) } else { Err(ConfigError::Values(values.errors)) }
    }
}

/// Values on their way into a [`Config`], with what was wrong with them.
struct Values<L> {
    lookup: L,
    errors: Vec<String>,
}

/// A flag, the variable that stands in for it, and the flag's value.
type Source<'a> = (&'static str, &'static str, Option<String>);

impl<L: Fn(&str) -> Option<String>> Values<L> {
    /// An empty variable is none.
    fn variable(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    /// The value, and where it came from.
    fn value(&self, (flag, variable, given): Source) -> Option<(&'static str, String)> {
        given.map(|value| (flag, value)).or_else(|| self.variable(variable).map(|value| (variable, value)))
    }

    fn plugins_root(&mut self, flag: Option<String>, uid: u32) -> PluginsRoot {
        match self.value(("--plugins-root", "SCOPE_HTTP_REQUESTS_PLUGINS_ROOT", flag)) {
            Some((source, root)) => {
                if root.is_empty() {
                    self.errors.push(format!("{source}: is empty"));
                }
                PluginsRoot { path: root.into(), fallbacks: Vec::new() }
            }
            None => {
                let runtime = self.variable("XDG_RUNTIME_DIR");
                let own = runtime.map(|folder| PathBuf::from(folder).join("scope-http-requests"));
                let shared = PathBuf::from(format!("/tmp/scope-http-requests-{uid}"));
                PluginsRoot { path: DEFAULT_PLUGINS_ROOT.into(), fallbacks: own.into_iter().chain([shared]).collect() }
            }
        }
    }

    fn probe(&mut self, hook: Option<String>, max_processes: Option<String>) -> ProbeConfig {
        ProbeConfig {
            hook: self.one_of(
                ("--hook", "SCOPE_HTTP_REQUESTS_HOOK", hook),
                &[("auto", HookChoice::Auto), ("tracepoint", HookChoice::Tracepoint), ("fexit", HookChoice::Fexit)],
            ),
            max_processes: self.max_processes(max_processes),
        }
    }

    fn max_processes(&mut self, flag: Option<String>) -> u32 {
        let Some((source, value)) = self.value(("--max-processes", "SCOPE_HTTP_REQUESTS_MAX_PROCESSES", flag)) else {
            return MAX_PROCESSES;
        };
        match value.parse() {
            Ok(number) if PROCESS_LIMITS.contains(&number) => number,
            _ => {
                let (least, most) = (PROCESS_LIMITS.start(), PROCESS_LIMITS.end());
                self.errors.push(format!("{source}: {value:?} is no number from {least} to {most}"));
                MAX_PROCESSES
            }
        }
    }

    fn host(&mut self, flag: Option<String>) -> Option<HostName> {
        let (source, name) = self.value(("--hostname", scope_host::VARIABLE, flag))?;
        HostName::parse(&name).map_err(|error| self.errors.push(format!("{source}: {error}"))).ok()
    }

    /// It becomes part of a field selector, so nothing but a node's name may pass.
    fn node(&mut self, flag: Option<String>) -> Option<String> {
        let (source, name) = self.value(("--node-name", "NODE_NAME", flag))?;
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        if name.is_empty() || name.len() > MAX_NODE_NAME_BYTES || !name.chars().all(fits) {
            self.errors.push(format!("{source}: {name:?} is no name of a Kubernetes node"));
        }
        Some(name)
    }

    fn cgroup_root(&mut self, flag: Option<String>) -> PathBuf {
        let value = self.value(("--cgroup-root", "SCOPE_HTTP_REQUESTS_CGROUP_ROOT", flag));
        let Some((source, root)) = value else { return DEFAULT_CGROUP_ROOT.into() };
        if root.is_empty() {
            self.errors.push(format!("{source}: is empty"));
        }
        root.into()
    }

    fn topologies(&mut self, flag: Option<String>) -> Topologies {
        let value = self.value(("--topologies", "SCOPE_HTTP_REQUESTS_TOPOLOGIES", flag));
        let Some((source, list)) = value else { return Topologies::ALL };
        let parsed = Topologies::parse(&list).map_err(|error| self.errors.push(format!("{source}: {error}")));
        parsed.unwrap_or(Topologies::ALL)
    }

    /// A port alone is one of the loopback address: whoever opens metrics to the network says so.
    fn metrics_address(&mut self, flag: Option<String>) -> Option<SocketAddr> {
        let source = ("--metrics-address", "SCOPE_HTTP_REQUESTS_METRICS_ADDRESS", flag);
        let (source, address) = self.value(source)?;
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

    fn log_level(&mut self, flag: Option<String>) -> String {
        let Some((source, level)) = self.value(("--log-level", "RUST_LOG", flag)) else {
            return DEFAULT_LOG_LEVEL.to_owned();
        };
        if let Err(error) = level.parse::<tracing_subscriber::EnvFilter>() {
            self.errors.push(format!("{source}: {level:?} is no log level or filter: {error}"));
        }
        level
    }

    fn one_of<T: Copy>(&mut self, source: Source, choices: &[(&str, T)]) -> T {
        let Some((source, value)) = self.value(source) else { return choices[0].1 };
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

//! One setting after another: where its value comes from, and whether it can be. PURE.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use common::maps::MAX_PROCESSES;

use super::catalog::{self, CONFIG, NO_COLOUR, PLUGINS_ROOT, Setting};
use crate::kernel::{HookChoice, ProbeConfig, ResponseChoice, TlsChoice};
use crate::scope::host::HostName;
use crate::scope::plugin::{DEFAULT_PLUGINS_ROOT, PluginsRoot};
use crate::scope::topologies::Topologies;
use crate::terminal::When;

/// What is logged by default.
pub const DEFAULT_LOG_LEVEL: &str = "info";

/// Processes that can be counted at a time. Each takes 32 bytes a CPU in the kernel.
const PROCESS_LIMITS: RangeInclusive<u32> = 1..=1 << 20;

/// The longest name of a node: a DNS subdomain.
const MAX_NODE_NAME_BYTES: usize = 253;

/// Values on their way into a [`Config`](super::config::Config), with what was wrong with them.
pub struct Values<'a, L> {
    matches: &'a ArgMatches,
    lookup: L,
    /// The file's name and its settings.
    file: (String, BTreeMap<String, String>),
    pub errors: Vec<String>,
}

impl<'a, L: Fn(&str) -> Option<String>> Values<'a, L> {
    pub fn new(matches: &'a ArgMatches, lookup: L) -> Self {
        Self { matches, lookup, file: Default::default(), errors: Vec::new() }
    }

    /// Takes in the file that is named, if one is.
    pub fn with_file(mut self, read: impl FnOnce(&Path) -> Result<String, String>) -> Self {
        let Some((_, name)) = self.value(CONFIG.name) else { return self };
        match read(Path::new(&name)).map_err(|error| vec![error]).and_then(|text| catalog::of_file(&text)) {
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
        let setting = catalog::ALL.iter().find(|setting| setting.name == name)?;
        // Commands that ask a running agent have few of the flags.
        let flag = || self.matches.try_get_one::<String>(name).ok().flatten().cloned();
        let in_file = || self.file.1.get(name).filter(|value| !value.is_empty()).cloned();
        flag()
            .map(|value| (format!("--{name}"), value))
            .or_else(|| self.variable(setting.variable).map(|value| (setting.variable.to_owned(), value)))
            .or_else(|| in_file().map(|value| (format!("{}: {name}", self.file.0), value)))
    }

    /// All that is given, as it would be typed, with its source.
    pub fn given(&self) -> Vec<String> {
        let one = |setting: &Setting| {
            let flag = || self.matches.try_get_one::<bool>(setting.name).ok().flatten() == Some(&true);
            match self.value(setting.name) {
                Some((source, value)) => Some(format!("{source}={value}")),
                None => (setting.value.is_none() && flag()).then(|| format!("--{}", setting.name)),
            }
        };
        let terminal = self.matches.try_get_one("no-terminal").ok().flatten() == Some(&true);
        catalog::ALL.iter().filter_map(one).chain(terminal.then(|| "--no-terminal".to_owned())).collect()
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

    /// Whether there may be colours: nobody wants none, and the terminal would not show the characters they are made of.
    pub fn colour(&mut self) -> bool {
        let is_dumb = self.variable("TERM").is_some_and(|name| name == "dumb");
        !self.is_on(&NO_COLOUR) && !is_dumb
    }

    pub fn terminal(&mut self) -> When {
        if self.matches.try_get_one("no-terminal").ok().flatten() == Some(&true) {
            return When::Never;
        }
        self.one_of("terminal", &[("auto", When::Auto), ("always", When::Always), ("never", When::Never)])
    }

    pub fn path(&mut self, name: &'static str) -> Option<PathBuf> {
        let (source, path) = self.value(name)?;
        if path.is_empty() {
            self.errors.push(format!("{source}: is empty"));
        }
        Some(path.into())
    }

    pub fn plugins_root(&mut self, uid: u32) -> PluginsRoot {
        if let Some(path) = self.path(PLUGINS_ROOT.name) {
            return PluginsRoot { path, fallbacks: Vec::new() };
        }
        let runtime = self.variable("XDG_RUNTIME_DIR");
        let own = runtime.map(|folder| PathBuf::from(folder).join("scope-http-requests"));
        let shared = PathBuf::from(format!("/tmp/scope-http-requests-{uid}"));
        PluginsRoot { path: DEFAULT_PLUGINS_ROOT.into(), fallbacks: own.into_iter().chain([shared]).collect() }
    }

    pub fn probe(&mut self) -> ProbeConfig {
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
            responses: self.one_of("responses", &[("auto", ResponseChoice::Auto), ("off", ResponseChoice::Off)]),
            tls: self.one_of("tls", &TlsChoice::WORDS),
            without_loop: false,
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

    pub fn host(&mut self) -> Option<HostName> {
        let (source, name) = self.value("hostname")?;
        HostName::parse(&name).map_err(|error| self.errors.push(format!("{source}: {error}"))).ok()
    }

    /// It becomes part of a field selector, so nothing but a node's name may pass.
    pub fn node(&mut self) -> Option<String> {
        let (source, name) = self.value("node-name")?;
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        if name.is_empty() || name.len() > MAX_NODE_NAME_BYTES || !name.chars().all(fits) {
            self.errors.push(format!("{source}: {name:?} is no name of a Kubernetes node"));
        }
        Some(name)
    }

    pub fn topologies(&mut self) -> Topologies {
        let Some((source, list)) = self.value("topologies") else { return Topologies::ALL };
        let parsed = Topologies::parse(&list).map_err(|error| self.errors.push(format!("{source}: {error}")));
        parsed.unwrap_or(Topologies::ALL)
    }

    /// A port alone is one of the loopback address: whoever opens metrics to the network says so.
    pub fn metrics_address(&mut self) -> Option<SocketAddr> {
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

    pub fn log_level(&mut self) -> String {
        let Some((source, level)) = self.value("log-level") else { return DEFAULT_LOG_LEVEL.to_owned() };
        if let Err(error) = level.parse::<tracing_subscriber::EnvFilter>() {
            self.errors.push(format!("{source}: {level:?} is no log level or filter: {error}"));
        }
        level
    }

    pub fn one_of<T: Copy>(&mut self, name: &'static str, choices: &[(&str, T)]) -> T {
        let Some((source, value)) = self.value(name) else { return choices[0].1 };
        // YAML makes `false` of a bare `off`.
        let means = |name: &str| name == value || (name == "off" && value == "false");
        if let Some((_, choice)) = choices.iter().find(|(name, _)| means(name)) {
            return *choice;
        }
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        self.errors.push(format!("{source}: {value:?} is none of {}", names.join(", ")));
        choices[0].1
    }
}

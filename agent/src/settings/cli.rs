//! The command line: what may be asked for, with which flags, in help, completions and man page alike. PURE.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, RangedU64ValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use crate::counting::overview::Grouping;
use crate::health::Question;
use crate::settings::catalog::{self, CONFIG, NO_COLOUR, PLUGINS_ROOT, Setting};
use crate::settings::config::{Config, ConfigError, Outside, Reach};
use crate::terminal::{Controls, Sort};

const NAME: &str = "scope-http-requests";

/// Version, commit, and how the kernel may be read.
pub const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("SCOPE_HTTP_REQUESTS_COMMIT"),
    "; kernel readers: direct and dynptr at the tracepoint, user memory at fexit)"
);

/// Rows of each tick where lines are printed.
const DEFAULT_ROWS: &str = "10";

const AFTER_HELP: &str = "\
Examples:
  scope-http-requests --metrics-address 9464         count, with a live table, and metrics
  scope-http-requests top --by pod                   what the running agent counts, live
  scope-http-requests top --json | jq .rate          the same as a JSON line a second

A flag wins over its variable, and that over the file; docs/configuration.md lists them all.
Exit codes: 0 ended by a signal or q, 64 usage, 69 cannot count, or another or no agent, 74 I/O.";

/// What the program is to do.
#[derive(Debug)]
pub enum Call {
    /// Count.
    Count(Box<Config>),
    /// Try what counting needs; as JSON if so.
    Check(Box<Config>, bool),
    /// Ask the running agent.
    Ask(Reach, Request),
    /// Show what the running agent counts.
    Top(Reach, Top),
    /// Print this.
    Print(Vec<u8>),
}

/// What a running agent is asked once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// How it is; again until all is well, for so long.
    Health(Question, Duration, Whose),
    /// For its report.
    Report,
}

/// Whose answer is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whose {
    /// That of whatever agent serves.
    #[default]
    Anyones,
    /// That of one in the container of who asks: while pods are replaced, another one's may serve.
    OfThisContainer,
}

/// How what the running agent counts is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Top {
    /// Grouping, order and filter to begin with.
    pub controls: Controls,
    /// A JSON line a tick.
    pub json: bool,
    /// Rows a tick where lines are printed.
    pub rows: usize,
    /// Lines end after so many ticks.
    pub ticks: Option<u64>,
}

/// What a command line (with the program's name first) and what lies below it ask for.
///
/// # Errors
///
/// Help, version, or everything that is wrong at once.
pub fn parse<L, R>(arguments: impl IntoIterator<Item = OsString>, outside: Outside<L, R>) -> Result<Call, ConfigError>
where
    L: Fn(&str) -> Option<String>,
    R: FnOnce(&Path) -> Result<String, String>,
{
    let matches = command().try_get_matches_from(arguments).map_err(ConfigError::Usage)?;
    match matches.subcommand() {
        Some(("check", matches)) => Ok(Call::Check(Config::of(matches, outside)?.into(), matches.get_flag("json"))),
        Some(("health", matches)) => {
            let is_live = matches.get_one::<String>("what").is_some_and(|what| what == "live");
            let question = if is_live { Question::Live } else { Question::Ready };
            let wait = matches.get_one::<u64>("wait").copied().unwrap_or_default();
            let whose = if matches.get_flag("own") { Whose::OfThisContainer } else { Whose::Anyones };
            let request = Request::Health(question, Duration::from_secs(wait), whose);
            Ok(Call::Ask(Reach::of(matches, outside)?, request))
        }
        Some(("report", matches)) => Ok(Call::Ask(Reach::of(matches, outside)?, Request::Report)),
        Some(("top", matches)) => Ok(Call::Top(Reach::of(matches, outside)?, top(matches))),
        Some(("completions", matches)) => Ok(Call::Print(completions(matches.get_one("shell").copied()))),
        Some(("man", matches)) => Ok(Call::Print(man(matches.get_one("command").map(String::as_str)))),
        _ => Ok(Call::Count(Config::of(&matches, outside)?.into())),
    }
}

/// What a command line alone says, of whatever user and machine; for tests and examples.
///
/// # Panics
///
/// When it does not ask to count.
#[must_use]
pub fn config_of(arguments: impl IntoIterator<Item = OsString>) -> Config {
    let outside = Outside { lookup: |_: &str| None, read: |_: &Path| Err("no files".to_owned()), uid: 0 };
    match parse(arguments, outside) {
        Ok(Call::Count(config)) => *config,
        other => panic!("not to count: {other:?}"),
    }
}

/// Whether a command line (with the program's name first) is that of the agent itself, understood or not.
#[must_use]
pub fn is_the_agents(arguments: &[OsString]) -> bool {
    arguments.get(1).is_none_or(|first| first.to_string_lossy().starts_with('-'))
}

/// Everything that may be asked for.
#[must_use]
pub fn command() -> Command {
    Command::new(NAME)
        .version(VERSION)
        .about("Counts the HTTP requests every process receives, exactly, for Weave Scope, Prometheus and terminals.")
        .after_help(AFTER_HELP)
        .max_term_width(100)
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        .subcommand_value_name("COMMAND")
        .args(agent_flags())
        .subcommand(top_command())
        .subcommand(
            Command::new("check")
                .about("Try everything counting needs here, with the same flags, and say what to do")
                .arg(switch("json", "The findings as JSON"))
                .args(agent_flags()),
        )
        .subcommand(
            Command::new("health")
                .about("Ask the running agent how it is: ok and exit code 0, or a complaint and 1")
                .arg(Arg::new("what").required(true).value_parser(PossibleValuesParser::new(["live", "ready"])))
                .arg(
                    Arg::new("wait")
                        .long("wait")
                        .value_name("SECONDS")
                        .help("Ask again until it is well, for so long")
                        .value_parser(RangedU64ValueParser::<u64>::new().range(..=3600))
                        .default_value("0"),
                )
                .arg(
                    Arg::new("own")
                        .long("own")
                        .help("Believe only an agent of this very container, as while pods are replaced")
                        .action(ArgAction::SetTrue),
                )
                .args(asking_flags()),
        )
        .subcommand(
            Command::new("report").about("Print the running agent's report, as Scope gets it").args(asking_flags()),
        )
        .subcommand(
            Command::new("completions")
                .about("Print completions for a shell")
                .hide(true)
                .arg(Arg::new("shell").required(true).value_parser(value_parser!(Shell))),
        )
        .subcommand(
            Command::new("man")
                .about("Print the man page, or that of a command")
                .hide(true)
                .arg(Arg::new("command").value_parser(PossibleValuesParser::new(["top", "check", "health", "report"]))),
        )
}

fn top_command() -> Command {
    let named = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new("top")
        .about("Show live what the running agent counts; lines where no terminal is")
        .arg(
            named("by", "WHAT", "One row for each")
                .value_parser(PossibleValuesParser::new(Grouping::ALL.map(Grouping::name)))
                .default_value(Grouping::Process.name()),
        )
        .arg(
            named("sort", "COLUMN", "The greatest first, names as in a dictionary")
                .value_parser(PossibleValuesParser::new(Sort::ALL.map(Sort::name)))
                .default_value(Sort::Rate.name()),
        )
        .arg(named("filter", "TEXT", "Only rows with this in the name, pod or PID").default_value("").hide_default_value(true))
        .arg(switch("json", "A JSON object each second, one a line, with all rows"))
        .arg(
            named("rows", "NUMBER", "Rows each second, where no terminal is")
                .value_parser(RangedU64ValueParser::<u64>::new().range(1..=1_000_000))
                .default_value(DEFAULT_ROWS),
        )
        .arg(
            named("ticks", "NUMBER", "End after so many seconds, where no terminal is")
                .value_parser(RangedU64ValueParser::<u64>::new().range(1..)),
        )
        .arg(flag(&NO_COLOUR))
        .args(asking_flags())
        .after_help(
            "Keys: Tab or p, c, o for processes, containers, pods; s sorts by the next column, r turns the order round; \
             / filters (Enter keeps, Esc clears); Space pauses; arrows, PgUp, PgDn, Home and End scroll; q quits.",
        )
}

fn top(matches: &ArgMatches) -> Top {
    let text = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let number = |name: &str| matches.get_one::<u64>(name).copied();
    let (by, sort) = (text("by"), text("sort"));
    Top {
        controls: Controls {
            by: Grouping::ALL.into_iter().find(|grouping| grouping.name() == by).unwrap_or_default(),
            sort: Sort::ALL.into_iter().find(|column| column.name() == sort).unwrap_or_default(),
            filter: text("filter"),
            ..Controls::default()
        },
        json: matches.get_flag("json"),
        rows: number("rows").map_or(usize::MAX, |rows| usize::try_from(rows).unwrap_or(usize::MAX)),
        ticks: number("ticks"),
    }
}

fn agent_flags() -> Vec<Arg> {
    let no_terminal = switch("no-terminal", "The same as --terminal=never").conflicts_with("terminal");
    catalog::ALL.iter().map(flag).chain([no_terminal]).collect()
}

fn asking_flags() -> [Arg; 2] {
    [flag(&PLUGINS_ROOT), flag(&CONFIG)]
}

fn flag(setting: &Setting) -> Arg {
    let Setting { name, value, default, help, .. } = *setting;
    let arg = Arg::new(name).long(name);
    match value {
        Some(value) => arg.value_name(value).help(format!("{} [{default}]", capitalized(help))),
        None => {
            arg.action(ArgAction::SetTrue).help(capitalized(help)).alias((name == NO_COLOUR.name).then_some("no-color"))
        }
    }
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn completions(shell: Option<Shell>) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell.unwrap_or(Shell::Bash), &mut command(), NAME, &mut script);
    script
}

fn man(name: Option<&str>) -> Vec<u8> {
    let mut all = command();
    all.build();
    let page = match name.and_then(|name| all.find_subcommand(name)) {
        Some(command) => command.clone(),
        None => all,
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page).render(&mut text).expect("writing into memory does not fail");
    text
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;

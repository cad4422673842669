//! Rows for the configuration: arguments and environment in, configuration or all errors out. PURE.
use super::*;
use crate::kernel::{HookChoice, ResponseChoice, TlsChoice};
use crate::settings::cli::{self, Call};
use std::ffi::OsString;

fn parse(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    parse_with_file(arguments, environment, Err("cannot be read: there is none".into()))
}

fn parse_with_file(
    arguments: &[&str],
    environment: &[(&str, &str)],
    file: Result<&str, String>,
) -> Result<Config, ConfigError> {
    let arguments = ["scope-http-requests"].iter().chain(arguments).map(OsString::from);
    let lookup =
        |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let read = |_: &Path| file.map(str::to_owned);
    match cli::parse(arguments, Outside { lookup, read, uid: 1000 })? {
        Call::Count(config) => Ok(*config),
        call => panic!("{call:?}"),
    }
}

#[track_caller]
fn check<T: PartialEq + std::fmt::Debug>(
    arguments: &[&str],
    environment: &[(&str, &str)],
    part: impl Fn(Config) -> T,
    expected: T,
) {
    assert_eq!(part(parse(arguments, environment).unwrap()), expected);
}

#[test]
fn without_anything_the_defaults_hold() {
    let config = parse(&[], &[]).unwrap();
    let expected = Config {
        plugins_root: PluginsRoot {
            path: "/var/run/scope/plugins".into(),
            fallbacks: vec!["/tmp/scope-http-requests-1000".into()],
        },
        host: None,
        node: None,
        metrics_address: None,
        metrics_by: Grouping::Container,
        probe: ProbeConfig {
            hook: HookChoice::Auto,
            max_processes: 8192,
            responses: ResponseChoice::Auto,
            tls: TlsChoice::Off,
            without_loop: false,
        },
        kubeconfig: None,
        topologies: Topologies::ALL,
        shown: Shown::All,
        log_format: LogFormat::Auto,
        log_level: "info".into(),
        terminal: When::Auto,
        colour: true,
        given: Vec::new(),
    };
    assert_eq!(config, expected);
}

#[test]
fn a_flag_beats_its_variable_and_an_empty_variable_is_none() {
    let host = |config: Config| config.host.map(|host| host.to_string());
    check(&["--hostname=a"], &[("SCOPE_HOSTNAME", "b")], host, Some("a".into()));
    check(&[], &[("SCOPE_HOSTNAME", "b")], host, Some("b".into()));
    check(&[], &[("SCOPE_HOSTNAME", "")], host, None);
    check(&[], &[("SCOPE_HTTP_REQUESTS_LOG_FORMAT", "json")], |config| config.log_format, LogFormat::Json);
    check(&["--log-level", "debug"], &[("RUST_LOG", "warn")], |config| config.log_level, "debug".into());
    check(&[], &[("RUST_LOG", "agent=debug,warn")], |config| config.log_level, "agent=debug,warn".into());
    let probe = |config: Config| (config.probe.hook, config.probe.max_processes);
    let environment = [("SCOPE_HTTP_REQUESTS_HOOK", "tracepoint"), ("SCOPE_HTTP_REQUESTS_MAX_PROCESSES", "9")];
    check(&["--hook=fexit"], &environment, probe, (HookChoice::Fexit, 9));
    check(&["--max-processes=70000"], &environment, probe, (HookChoice::Tracepoint, 70_000));
    check(&["--node-name=a"], &[("NODE_NAME", "b")], |config| config.node, Some("a".into()));
    check(
        &[],
        &[("NODE_NAME", "ip-10-0-0-1.ec2.internal")],
        |config| config.node,
        Some("ip-10-0-0-1.ec2.internal".into()),
    );
    check(&[], &[("NODE_NAME", "")], |config| config.node, None);
    check(&["--no-terminal"], &[("SCOPE_HTTP_REQUESTS_TERMINAL", "always")], |config| config.terminal, When::Never);
    check(&["--kubeconfig=/k"], &[], |config| config.kubeconfig, Some("/k".into()));
    let topologies = |config: Config| config.topologies;
    let chosen = |list: &str| Topologies::parse(list).unwrap();
    check(&["--topologies=pod"], &[("SCOPE_HTTP_REQUESTS_TOPOLOGIES", "host")], topologies, chosen("pod"));
    check(&[], &[("SCOPE_HTTP_REQUESTS_TOPOLOGIES", "host,pod")], topologies, chosen("pod,host"));
    check(&[], &[("SCOPE_HTTP_REQUESTS_TOPOLOGIES", "")], topologies, Topologies::ALL);
    check(&["--shown=pods"], &[("SCOPE_HTTP_REQUESTS_SHOWN", "all")], |config| config.shown, Shown::Pods);
    check(&[], &[("NO_COLOR", "1")], |config| config.colour, false);
}

#[test]
fn what_is_given_is_known_with_its_source() {
    let file = "hook: tracepoint\nlog-format: json\nnode-name: b\n";
    let arguments = ["--config=/c", "--log-format=human", "--no-terminal", "--no-colour"];
    let config = parse_with_file(&arguments, &[("NODE_NAME", "a"), ("RUST_LOG", "")], Ok(file)).unwrap();
    let expected =
        ["--config=/c", "NODE_NAME=a", "/c: hook=tracepoint", "--log-format=human", "--no-colour", "--no-terminal"];
    assert_eq!(config.given, expected);
}

#[test]
fn a_dumb_terminal_gets_no_colours() {
    check(&[], &[("TERM", "dumb")], |config| config.colour, false);
    check(&[], &[("TERM", "xterm")], |config| config.colour, true);
}

#[test]
fn a_chosen_folder_has_no_fallback() {
    let root = |config: Config| config.plugins_root;
    let chosen = PluginsRoot { path: "/p".into(), fallbacks: vec![] };
    check(&["--plugins-root=/p"], &[("XDG_RUNTIME_DIR", "/run/user/1")], root, chosen.clone());
    check(&[], &[("SCOPE_HTTP_REQUESTS_PLUGINS_ROOT", "/p")], root, chosen);
    let fallbacks = vec!["/run/user/1/scope-http-requests".into(), "/tmp/scope-http-requests-1000".into()];
    check(&[], &[("XDG_RUNTIME_DIR", "/run/user/1")], |config| config.plugins_root.fallbacks, fallbacks);
}

#[test]
fn a_port_alone_is_one_of_loopback() {
    let address = |config: Config| config.metrics_address.map(|address| address.to_string());
    let rows = [
        ("9464", "127.0.0.1:9464"),
        (":9464", "127.0.0.1:9464"),
        ("0.0.0.0:9464", "0.0.0.0:9464"),
        ("[::]:9464", "[::]:9464"),
        ("10.1.2.3:1", "10.1.2.3:1"),
    ];
    for (given, expected) in rows {
        check(&["--metrics-address", given], &[], address, Some(expected.into()));
        check(&[], &[("SCOPE_HTTP_REQUESTS_METRICS_ADDRESS", given)], address, Some(expected.into()));
    }
    for wrong in ["", ":", "65536", "localhost:9464", "10.1.2.3", "::1:9464", "-1"] {
        let argument = format!("--metrics-address={wrong}");
        assert!(matches!(parse(&[&argument], &[]), Err(ConfigError::Values(_))), "{wrong}");
    }
    check(&["--metrics-by=process"], &[], |config| config.metrics_by, Grouping::Process);
}

#[test]
fn all_errors_are_told_at_once_with_their_source() {
    let error = parse(
        &[
            "--hostname=a;b",
            "--log-format=xml",
            "--plugins-root=",
            "--node-name=a,b",
            "--topologies=process,pods",
            "--hook=x",
            "--max-processes=0",
        ],
        &[("RUST_LOG", "agent=loud"), ("SCOPE_HTTP_REQUESTS_TERMINAL", "maybe")],
    );
    let Err(ConfigError::Values(errors)) = error else { panic!("{error:?}") };
    let sources: Vec<_> = errors.iter().map(|error| error.split(':').next().unwrap()).collect();
    let expected = [
        "--plugins-root",
        "--hostname",
        "--node-name",
        "--hook",
        "--max-processes",
        "--topologies",
        "--log-format",
        "RUST_LOG",
        "SCOPE_HTTP_REQUESTS_TERMINAL",
    ];
    assert_eq!(sources, expected, "{errors:?}");
}

#[track_caller]
fn check_file<T: PartialEq + std::fmt::Debug>(
    (arguments, environment, file): (&[&str], &[(&str, &str)], &str),
    part: impl Fn(Config) -> T,
    expected: T,
) {
    let arguments = [&["--config=/etc/agent.yaml"], arguments].concat();
    assert_eq!(part(parse_with_file(&arguments, environment, Ok(file)).unwrap()), expected);
}

#[test]
fn a_flag_beats_its_variable_and_that_beats_the_file() {
    let format = |config: Config| config.log_format;
    let variable = [("SCOPE_HTTP_REQUESTS_LOG_FORMAT", "human")];
    check_file((&[], &[], "log-format: json"), format, LogFormat::Json);
    check_file((&[], &variable, "log-format: json"), format, LogFormat::Human);
    check_file((&["--log-format=auto"], &variable, "log-format: json"), format, LogFormat::Auto);
    check_file((&[], &[], "hostname: a"), format, LogFormat::Auto);
    check_file((&[], &[], "topologies: [pod]"), |config| config.topologies, Topologies::parse("pod").unwrap());
    check_file((&[], &[], "plugins-root: /p"), |config| config.plugins_root.path, "/p".into());
    check_file((&[], &[], "max-processes: 9"), |config| config.probe.max_processes, 9);
    let responses = |config: Config| config.probe.responses;
    check_file((&[], &[], "hostname: a"), responses, ResponseChoice::Auto);
    for file in ["responses: off", "responses: 'off'"] {
        check_file((&[], &[], file), responses, ResponseChoice::Off);
    }
    let variable = [("SCOPE_HTTP_REQUESTS_RESPONSES", "auto")];
    check_file((&[], &variable, "responses: off"), responses, ResponseChoice::Auto);
    check_file((&["--responses=off"], &variable, ""), responses, ResponseChoice::Off);
    check_file((&["--no-terminal"], &[], "terminal: always"), |config| config.terminal, When::Never);
    let colour = |config: Config| config.colour;
    check_file((&[], &[], "no-colour: true"), colour, false);
    check_file((&[], &[], "no-colour: false"), colour, true);
    check_file((&[], &[("NO_COLOR", "0")], "no-colour: false"), colour, false);
    check_file((&["--no-color"], &[], ""), colour, false);
}

#[test]
fn the_file_is_named_by_flag_or_variable() {
    let variable = [("SCOPE_HTTP_REQUESTS_CONFIG", "/etc/agent.yaml")];
    let config = parse_with_file(&[], &variable, Ok("hostname: a")).unwrap();
    assert_eq!(config.host.map(|host| host.to_string()).as_deref(), Some("a"));
}

#[test]
fn errors_of_the_file_name_it_and_come_with_all_others() {
    let errors = |file: Result<&str, String>| {
        let error = parse_with_file(&["--config=/etc/agent.yaml", "--hook=x"], &[], file);
        let Err(ConfigError::Values(errors)) = error else { panic!("{error:?}") };
        errors.join("\n")
    };
    let text = errors(Err("cannot be read: none".into()));
    assert!(text.starts_with("/etc/agent.yaml: cannot be read: none\n--hook: "), "{text}");
    let text = errors(Ok("metrics-adress: 1"));
    assert!(text.starts_with("/etc/agent.yaml: \"metrics-adress\" is no setting\n--hook: "), "{text}");
    let text = errors(Ok("log-format: xml\nno-colour: maybe"));
    assert!(text.contains("/etc/agent.yaml: log-format: \"xml\" is none of"), "{text}");
    assert!(text.contains("/etc/agent.yaml: no-colour: \"maybe\" is neither"), "{text}");
}

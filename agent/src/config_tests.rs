//! Rows for the configuration: arguments and environment in, configuration or all errors out. PURE.
use super::*;

fn parse(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let arguments = ["scope-http-requests"].iter().chain(arguments).map(OsString::from);
    let lookup =
        |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Config::parse(arguments, lookup, 1000)
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
        probe: ProbeConfig { hook: HookChoice::Auto, max_processes: 8192 },
        kubeconfig: None,
        cgroup_root: "/sys/fs/cgroup".into(),
        topologies: Topologies::ALL,
        log_format: LogFormat::Auto,
        log_level: "info,kube_runtime=error,kube_client=error".into(),
        terminal: When::Auto,
        colour: true,
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
    check(&["--cgroup-root=/host"], &[], |config| config.cgroup_root, "/host".into());
    let topologies = |config: Config| config.topologies;
    let chosen = |list: &str| Topologies::parse(list).unwrap();
    check(&["--topologies=pod"], &[("SCOPE_HTTP_REQUESTS_TOPOLOGIES", "host")], topologies, chosen("pod"));
    check(&[], &[("SCOPE_HTTP_REQUESTS_TOPOLOGIES", "host,pod")], topologies, chosen("pod,host"));
    check(&[], &[("SCOPE_HTTP_REQUESTS_TOPOLOGIES", "")], topologies, Topologies::ALL);
    check(&[], &[("NO_COLOR", "1")], |config| config.colour, false);
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
            "--cgroup-root=",
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
        "--cgroup-root",
        "--topologies",
        "--log-format",
        "RUST_LOG",
        "SCOPE_HTTP_REQUESTS_TERMINAL",
    ];
    assert_eq!(sources, expected, "{errors:?}");
}

#[test]
fn help_fits_a_screen() {
    let Err(ConfigError::Usage(help)) = parse(&["--help"], &[]) else { panic!("no help") };
    let text = help.to_string();
    assert!(text.lines().count() <= 40, "{text}");
    assert!(text.contains("SCOPE_HOSTNAME"), "{text}");
}

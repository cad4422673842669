//! Rows for the command line: what it asks for, and what help, completions and man page say. PURE.
use super::*;
use std::path::PathBuf;

fn outside() -> Outside<impl Fn(&str) -> Option<String>, impl FnOnce(&Path) -> Result<String, String>> {
    Outside { lookup: |_: &str| None, read: |_: &Path| Ok("plugins-root: /of-file\n".to_owned()), uid: 0 }
}

fn call(line: &str) -> Result<Call, ConfigError> {
    parse(line.split(' ').filter(|word| !word.is_empty()).map(OsString::from), outside())
}

fn usage(line: &str) -> String {
    match call(line) {
        Err(ConfigError::Usage(error)) => error.to_string(),
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn each_command_is_what_it_says() {
    assert!(matches!(call("x"), Ok(Call::Count(_))));
    assert!(matches!(call("x --hostname=check"), Ok(Call::Count(_))));
    assert!(matches!(call("x check"), Ok(Call::Check(_, false))));
    let Ok(Call::Check(config, true)) = call("x check --hostname=a --json") else { panic!("no check") };
    assert_eq!(config.host.map(|host| host.to_string()).as_deref(), Some("a"));
    assert!(matches!(
        call("x health live"),
        Ok(Call::Ask(_, Request::Health(Question::Live, Duration::ZERO, Whose::Anyones)))
    ));
    let Ok(Call::Ask(_, Request::Health(Question::Ready, wait, Whose::OfThisContainer))) =
        call("x health ready --own --wait=20")
    else {
        panic!("no health")
    };
    assert_eq!(wait, Duration::from_secs(20));
    let Ok(Call::Ask(config, Request::Report)) = call("x report --plugins-root=/p") else { panic!("no report") };
    assert_eq!(config.plugins_root.path, PathBuf::from("/p"));
    let Ok(Call::Ask(config, Request::Report)) = call("x report --config=/f") else { panic!("no report") };
    assert_eq!(config.plugins_root.path, PathBuf::from("/of-file"));
    for wrong in [
        "x health",
        "x health maybe",
        "x health live --wait=long",
        "x report --hook=fexit",
        "x --hook=fexit report",
        "x topp",
        "x top --by=y",
    ] {
        usage(wrong);
    }
}

#[test]
fn what_is_wrong_with_counting_keeps_nobody_from_asking() {
    let asked = |line: &str| {
        let lookup = |name: &str| (name == "SCOPE_HTTP_REQUESTS_HOOK").then(|| "nowhere".to_owned());
        let read = |_: &Path| Err("no files".to_owned());
        parse(line.split(' ').map(OsString::from), Outside { lookup, read, uid: 0 })
    };
    assert!(matches!(asked("x health live"), Ok(Call::Ask(..))));
    assert!(matches!(asked("x top"), Ok(Call::Top(..))));
    assert!(matches!(asked("x check"), Err(ConfigError::Values(_))));
    assert!(matches!(asked("x --no-terminal"), Err(ConfigError::Values(_))));
}

#[test]
fn last_words_are_the_agents_alone() {
    for (line, expected) in [("x", true), ("x --hook=x", true), ("x top --hook=x", false), ("x topp", false)] {
        let arguments: Vec<_> = line.split(' ').map(OsString::from).collect();
        assert_eq!(is_the_agents(&arguments), expected, "{line}");
    }
}

#[test]
fn top_begins_as_asked() {
    let Ok(Call::Top(_, top)) = call("x top") else { panic!("no top") };
    assert_eq!(top, Top { controls: Controls::default(), json: false, rows: 10, ticks: None });
    let line = "x top --by pod --sort total --filter shop --json --rows 3 --ticks 2 --no-colour --plugins-root /p";
    let Ok(Call::Top(config, top)) = call(line) else { panic!("no top") };
    let controls = Controls { by: Grouping::Pod, sort: Sort::Total, filter: "shop".into(), ..Controls::default() };
    assert_eq!(top, Top { controls, json: true, rows: 3, ticks: Some(2) });
    assert!(!config.colour);
    for wrong in ["--rows=0", "--rows=x", "--ticks=0", "--by=host", "--sort=pid"] {
        usage(&format!("x top {wrong}"));
    }
}

#[test]
fn help_fits_a_screen() {
    for line in ["x --help", "x top --help", "x check --help", "x health --help", "x report --help"] {
        let text = usage(line);
        assert!(text.lines().count() <= 40, "{} lines\n{text}", text.lines().count());
        assert!(text.lines().all(|line| line.chars().count() <= 110), "{text}");
    }
    let text = usage("x --help");
    for words in ["Examples:", "top --by pod", "--config", "docs/configuration.md", "69"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn the_version_names_commit_and_readers() {
    let text = usage("x --version");
    let words = [env!("CARGO_PKG_VERSION"), "commit ", "dynptr", "fexit"];
    assert!(words.iter().all(|word| text.contains(word)) && text.lines().count() == 1, "{text}");
}

#[test]
fn completions_and_man_pages_know_every_flag() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let Ok(Call::Print(script)) = call(&format!("x completions {shell}")) else { panic!("{shell}") };
        let script = String::from_utf8(script).unwrap();
        let knows = |name: &str| script.contains(name);
        assert!(catalog::ALL.iter().all(|setting| knows(setting.name)) && knows("top"), "{shell}: {script}");
    }
    let page = |line: &str| match call(line) {
        Ok(Call::Print(text)) => String::from_utf8(text).unwrap().replace("\\-", "-"),
        other => panic!("{other:?}"),
    };
    let text = page("x man");
    assert!(catalog::ALL.iter().all(|setting| text.contains(setting.name)) && text.starts_with(".ie"), "{text}");
    assert!(page("x man top").contains("--ticks"));
}

#[test]
fn the_definition_is_sound() {
    command().debug_assert();
}

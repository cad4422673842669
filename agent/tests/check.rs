//! `scope-http-requests check` as a process: what it finds on this machine, without capabilities, and of API servers.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking; clippy knows its functions, not their helpers")]

#[expect(dead_code, reason = "it knows more scenarios than are asked about here")]
mod api_server;

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use api_server::{ApiServer, Scenario};
use serde_json::{Value, json};

const AGENT: &str = env!("CARGO_BIN_EXE_scope-http-requests");

/// Findings, and the exit code.
struct Outcome {
    findings: Vec<Value>,
    code: i32,
}

impl Outcome {
    /// Runs it, after `before` (a program that runs another), with a kubeconfig if there is one.
    fn of(before: &[&str], arguments: &[&str], kubeconfig: Option<&Path>) -> Self {
        let words: Vec<_> = before.iter().copied().chain([AGENT, "check", "--json"]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(arguments).env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
        let output = command.envs(kubeconfig.map(|file| ("KUBECONFIG", file))).output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        let (code, can_count) = (output.status.code().unwrap(), document["can_count"].as_bool().unwrap());
        assert_eq!(code == 0, can_count, "{document:#}");
        Self { findings: document["checks"].as_array().unwrap().clone(), code }
    }

    /// Verdict, what was found and what to do, of every finding of this check.
    fn of_check(&self, check: &str) -> Vec<[&str; 3]> {
        let parts = |finding: &'_ Value| finding["check"] == check;
        let found = self.findings.iter().filter(|finding| parts(finding));
        found.map(|finding| ["verdict", "found", "to_do"].map(|part| finding[part].as_str().unwrap())).collect()
    }
}

/// Whether this machine can run what needs root and a kernel that takes the probe; says so if not.
fn can_count(outcome: &Outcome) -> bool {
    let can = outcome.code == 0;
    let required = env::var_os("REQUIRE_PROBE").is_some_and(|value| value == "1");
    assert!(can || !required, "the probe must load here: {:#?}", outcome.findings);
    if !can {
        eprintln!("SKIPPED: what check finds where the probe loads: {:?}", outcome.of_check("probe"));
    }
    can
}

#[test]
fn it_counts_its_own_requests_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("plugins");
    let outcome = Outcome::of(&[], &["--plugins-root", plugins.to_str().unwrap()], None);
    assert!(!plugins.exists());
    assert_eq!(outcome.of_check("plugin folder")[0][0], "note");
    if can_count(&outcome) {
        assert_eq!(outcome.of_check("own requests"), [["ok", "4 sent, 4 counted", ""]]);
        let [verdict, found, to_do] = outcome.of_check("own responses")[0];
        let said = ["200 1, 204 1, 404 1, 503 1, all durations known; counted at ", "not counted: "];
        assert!(said.iter().any(|said| found.starts_with(said)), "{verdict}: {found}: {to_do}");
        assert_eq!((verdict == "ok", to_do), (found.starts_with(said[0]), ""));
        let tls = outcome.of_check("own TLS")[0];
        assert!(tls[0] == "ok" && tls[1].starts_with("1 ClientHello sent, 1 seen"), "{tls:?}");
        let off = Outcome::of(&[], &["--responses=off"], None);
        assert_eq!(off.of_check("own responses"), [["note", "not counted: off by --responses", ""]]);
        assert!(outcome.of_check("probe")[0][1].starts_with("loads and attaches: "));
    } else {
        assert_eq!(outcome.code, 69);
    }
}

/// An agent that serves: it ends with this.
struct Serving(std::process::Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn it_tells_what_the_agent_that_serves_would_hand_over() {
    let folder = tempfile::tempdir().unwrap();
    let root = format!("--plugins-root={}", folder.path().join("plugins").display());
    if !can_count(&Outcome::of(&[], &[&root], None)) {
        return;
    }
    let agent = Command::new(AGENT).arg(&root).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _serving = Serving(agent);
    let ready = Command::new(AGENT).args(["health", "ready", "--wait=30", &root]).output().unwrap();
    assert!(ready.status.success(), "{}", String::from_utf8_lossy(&ready.stderr));
    for (more, then) in [
        ("--responses=auto", "one that starts with these settings goes on with its counts"),
        ("--max-processes=100", "its probe is another one: one that starts with these settings takes its place, and"),
    ] {
        let outcome = Outcome::of(&[], &[&root, more], None);
        let [verdict, found, _] = outcome.of_check("plugin folder")[0];
        let expected = format!(": started from nothing, handovers 0; {then}");
        assert!(verdict == "note" && found.contains(&expected), "{verdict}: {found}");
    }
}

#[test]
fn all_missing_capabilities_are_told_at_once() {
    let drop = ["setpriv", "--bounding-set", "-bpf,-perfmon,-sys_admin"];
    let able = Command::new(drop[0]).args(&drop[1..]).arg("true").output().is_ok_and(|output| output.status.success());
    if !able {
        eprintln!("SKIPPED: capabilities: setpriv is missing, or this is not root");
        return;
    }
    let outcome = Outcome::of(&drop, &[], None);
    assert_eq!(outcome.code, 69);
    let capabilities = outcome.of_check("capability");
    for (name, [verdict, found, to_do]) in ["CAP_BPF", "CAP_PERFMON"].iter().zip(&capabilities) {
        assert_eq!((*verdict, *found), ("failed", format!("{name} is missing").as_str()));
        assert!(to_do.contains("in Kubernetes add BPF and PERFMON to"), "{to_do}");
    }
    let [verdict, found, to_do] = outcome.of_check("probe")[0];
    assert_eq!(verdict, "failed");
    assert!(
        found.ends_with("refused the probe (BPF_MAP_CREATE)") && to_do.contains("add BPF and PERFMON to"),
        "{found}: {to_do}"
    );
    assert!(outcome.of_check("own requests").is_empty());
}

/// It has every capability, of no use.
#[test]
fn root_of_a_user_namespace_is_told_so() {
    let users = ["unshare", "--user", "--map-root-user"];
    let able =
        Command::new(users[0]).args(&users[1..]).arg("true").output().is_ok_and(|output| output.status.success());
    if !able {
        eprintln!("SKIPPED: no user namespaces here");
        return;
    }
    let outcome = Outcome::of(&users, &[], None);
    assert_eq!(outcome.code, 69);
    let capabilities = outcome.of_check("capability");
    for [verdict, found, to_do] in [capabilities[0], capabilities[1], outcome.of_check("probe")[0]] {
        assert_eq!(verdict, "failed");
        assert!(found.contains("root of a user namespace") && to_do.contains("hostUsers"), "{found}: {to_do}");
    }
}

/// Some kernels take programs, but not at the end of a function; then nothing but that is in the way.
#[test]
fn a_kernel_that_refuses_fexit_is_not_taken_for_a_profile() {
    if !can_count(&Outcome::of(&[], &[], None)) {
        return;
    }
    let [verdict, found, to_do] = Outcome::of(&[], &["--hook=fexit"], None).of_check("probe")[0].map(str::to_owned);
    if verdict == "ok" {
        eprintln!("SKIPPED: this kernel takes programs at the end of functions");
        return;
    }
    assert!(
        found.contains("(fexit, BPF_PROG_LOAD)") && to_do.starts_with("leave out --hook=fexit"),
        "{found}: {to_do}"
    );
}

#[test]
fn a_configuration_that_cannot_be_is_told_first() {
    let output = Command::new(AGENT).args(["check", "--metrics-address=x"]).env_clear().output().unwrap();
    assert_eq!(output.status.code(), Some(64), "{output:?}");
}

#[test]
fn an_address_in_use_is_found() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let outcome = Outcome::of(&[], &["--metrics-address", &address], None);
    let [verdict, found, to_do] = outcome.of_check("metrics")[0];
    assert_eq!(verdict, "failed");
    assert!(found.contains(&address) && to_do.contains("--metrics-address"), "{found}: {to_do}");
}

/// What it finds of an API server that answers so. Each row is a verdict and a part of what was found or is to do.
async fn check_api_server(scenario: Scenario, pods: usize, expected: &[(&str, &str)]) {
    let server = ApiServer::start(scenario).await;
    for number in 0..pods {
        let uid = format!("{number:08x}-0000-0000-0000-000000000000");
        server.put(json!({ "metadata": { "name": format!("p{number}"), "namespace": "shop", "uid": uid } }));
    }
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = server.write_kubeconfig(folder.path(), &json!({}));
    let run = move || Outcome::of(&[], &["--node-name=node-1"], Some(&kubeconfig));
    let outcome = tokio::task::spawn_blocking(run).await.unwrap();
    let found = outcome.of_check("API server");
    assert_eq!(found.len(), expected.len(), "{scenario:?}: {found:?}");
    for ([verdict, found, to_do], (expected, part)) in found.iter().zip(expected) {
        assert_eq!(verdict, expected, "{scenario:?}: {found}");
        assert!(found.contains(part) || to_do.contains(part), "{scenario:?}: {found}: {to_do}");
    }
    let requests = server.world().requests.join("\n");
    assert!(requests.contains("spec.nodeName%3Dnode-1"), "{requests}");
    drop(folder);
}

/// The proxy would not answer.
#[tokio::test]
async fn an_api_server_on_this_machine_is_asked_without_a_proxy() {
    let server = ApiServer::start(Scenario::Serve).await;
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = server.write_kubeconfig(folder.path(), &json!({}));
    let run =
        move || Outcome::of(&["env", "HTTPS_PROXY=http://127.0.0.1:1"], &["--node-name=node-1"], Some(&kubeconfig));
    let outcome = tokio::task::spawn_blocking(run).await.unwrap();
    assert_eq!(outcome.of_check("API server")[1], ["ok", "pods may be watched", ""]);
}

#[tokio::test]
async fn what_an_api_server_answers() {
    check_api_server(Scenario::Serve, 2, &[("ok", "lists 2 pods of the node \"node-1\""), ("ok", "may be watched")])
        .await;
    check_api_server(Scenario::Serve, 0, &[("warning", "kubectl get nodes"), ("ok", "may be watched")]).await;
    check_api_server(Scenario::Status(401), 0, &[("warning", "service account token")]).await;
    check_api_server(Scenario::Status(403), 0, &[("warning", "verbs: [list, watch]")]).await;
    check_api_server(Scenario::Status(500), 0, &[("warning", "look at the API server's log")]).await;
    check_api_server(Scenario::Garbage, 0, &[("warning", "not a proxy")]).await;
    check_api_server(Scenario::Close, 0, &[("warning", "NetworkPolicy")]).await;
}

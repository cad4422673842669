//! The agent's metrics in a real Prometheus: well-formed, equal to a known load, and enough for every query of the
//! dashboard and of the alerts.
//!
//! Needs root and a kernel that takes the probe, and Prometheus, which `.ci/setup test` installs. What is missing is
//! skipped aloud, or fails where the environment says `REQUIRE_PROBE=1`.

#[path = "../harness/mod.rs"]
mod harness;
mod lab;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use agent::scope::plugin::socket_path;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use harness::{caught, wait_for};
use lab::{Lab, Load, Missing, output, root, run};

/// A name, and what happens; it gives what it found.
type Check = (&'static str, fn(&Lab) -> Result<String>);

const CHECKS: &[Check] = &[
    ("curl: index page", index_page),
    ("promtool check metrics", well_formed),
    ("Prometheus: scrapes it as OpenMetrics", scraped),
    ("totals and rate of a known load", known_load),
    ("responses of a known load, and each request's end", responses),
    ("kernel program: calls and time while measured", kernel_program),
    ("dashboard: every query has data", dashboard),
    ("alerts: every query runs, none fires", alerts),
    ("promtool: check and test rules", rules),
];

const LOAD_PER_SECOND: u32 = 200;
/// Ten scrapes and more.
const LOAD_FOR: Duration = Duration::from_secs(12);

fn main() -> ExitCode {
    // Asked by cargo and by test runners; there is nothing to list.
    if env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let filters: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if !filters.is_empty()
        && !CHECKS.iter().any(|(name, _)| filters.iter().any(|filter| name.contains(filter.as_str())))
    {
        println!("0 passed, 0 failed, 0 skipped");
        return ExitCode::SUCCESS;
    }
    let required = env::var_os("REQUIRE_PROBE").is_some_and(|value| value == "1");
    let lab = match Lab::start() {
        Ok(lab) => lab,
        Err(error) => {
            let missing = error.is::<Missing>() && !required;
            println!("{}: metrics in Prometheus: {error:#}", if missing { "SKIPPED" } else { "FAILED" });
            let (failed, skipped) = if missing { (0, CHECKS.len()) } else { (1, 0) };
            println!("0 passed, {failed} failed, {skipped} skipped");
            return if missing { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    };
    let (mut passed, mut failed) = (0, 0);
    for (name, check) in CHECKS {
        let begun = Instant::now();
        match caught(|| check(&lab)).map_err(anyhow::Error::from).flatten() {
            Ok(found) => {
                passed += 1;
                println!("{name:48} passed, {:.1} s: {found}", begun.elapsed().as_secs_f64());
            }
            Err(error) => {
                failed += 1;
                println!("{name:48} FAILED: {error:#}");
            }
        }
    }
    println!("{passed} passed, {failed} failed, 0 skipped");
    if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn index_page(lab: &Lab) -> Result<String> {
    let page = output("curl", &["--silent", "--fail", &lab.url("/")], b"")?;
    let link = page.split("href=\"").nth(1).and_then(|rest| rest.split('"').next()).context("the page has no link")?;
    let metrics = output("curl", &["--silent", "--fail", &lab.url(link)], b"")?;
    ensure!(metrics.contains("scope_http_requests_node_total"), "{link}: {metrics}");
    Ok(format!("{} bytes, leads to {link}", page.len()))
}

fn well_formed(lab: &Lab) -> Result<String> {
    let text = output("curl", &["--silent", "--fail", &lab.url("/metrics")], b"")?;
    let verdict = run("promtool", &["check", "metrics"], text.as_bytes())?;
    let said = String::from_utf8_lossy(&[verdict.stdout, verdict.stderr].concat()).into_owned();
    ensure!(verdict.status.success() && said.is_empty(), "promtool: {said}");
    Ok(format!("{} lines", text.lines().count()))
}

/// Only OpenMetrics has info metrics: in Prometheus' own format they are gauges.
fn scraped(lab: &Lab) -> Result<String> {
    let kind = wait_for("the metadata", || {
        let metadata = lab.api("metadata", "")?;
        Ok(metadata["scope_http_requests_agent_build"][0]["type"].as_str().map(str::to_owned))
    })?;
    ensure!(kind == "info", "the agent's build is a {kind}");
    let series = lab.value("scrape_samples_scraped")?.context("no samples")?;
    let time = lab.value("scrape_duration_seconds")?.context("no duration")?;
    Ok(format!("{series} samples in {:.1} ms", time * 1e3))
}

fn known_load(lab: &Lab) -> Result<String> {
    let mut load = Load::new()?;
    let pid = load.pid();
    let series = format!(
        "scope_http_requests_total{{process_pid=\"{pid}\",network_protocol_version=\"1.1\",k8s_node_name=\"node-1\"}}"
    );
    load.exchange()?;
    let counted = |expected: u64| {
        wait_for(&format!("{expected} requests"), || {
            let value = lab.value(&series)?;
            ensure!(value.unwrap_or(0.0) <= expected as f64, "counted {value:?} of {expected}");
            Ok(value.filter(|value| *value == expected as f64))
        })
    };
    counted(1)?;
    let sent = load.steady(LOAD_PER_SECOND, LOAD_FOR)?;
    // Two scrapes lie within any two and a half seconds; the load was steady for much longer.
    let rate = lab.value(&format!("rate({series}[8s])"))?.context("no rate")?;
    counted(load.sent)?;
    ensure!((rate / sent - 1.0).abs() < 0.25, "the rate is {rate:.1}, and {sent:.1} were sent");
    // Not one more comes.
    let total =
        "sum(scope_http_requests_total) + sum(scope_http_requests_retired_total) - sum(scope_http_requests_node_total)";
    let difference = lab.value(total)?.context("no totals")?;
    ensure!(difference == 0.0, "series and total differ by {difference}");
    Ok(format!("{} of {} requests; {rate:.1} of {sent:.1} a second", load.sent, load.sent))
}

/// After the load that fails now and then, of the same process.
fn responses(lab: &Lab) -> Result<String> {
    let state = "scope_http_requests_agent_responses_state{state=\"counted\"}";
    if lab.value(state)? == Some(0.0) {
        return Ok("not counted on this kernel".to_owned());
    }
    let mut load = Load::new()?;
    let pid = load.pid();
    let count = |status: u32| -> Result<f64> {
        let labels = format!("{{process_pid=\"{pid}\",http_response_status_code=\"{status}\"}}");
        Ok(lab.value(&format!("sum(http_server_request_duration_seconds_count{labels})"))?.unwrap_or_default())
    };
    let before = [count(204)?, count(503)?];
    let sent = 200;
    (0..sent).try_for_each(|_| load.exchange())?;
    let expected = [before[0] + (load.sent - load.failed()) as f64, before[1] + load.failed() as f64];
    wait_for("every response", || {
        let counted = [count(204)?, count(503)?];
        ensure!(counted[0] <= expected[0] && counted[1] <= expected[1], "{counted:?} of {expected:?}");
        Ok((counted == expected).then_some(()))
    })?;
    // At every scrape: in a histogram, of unknown duration, waiting or retired; and each request has a response, waits for it,
    // or never gets one.
    let in_series = "sum(http_server_request_duration_seconds_count) + (sum(scope_http_requests_unknown_durations_total) or vector(0)) \
                     + sum(scope_http_requests_retired_responses_total) + sum(scope_http_requests_waiting_responses) \
                     - sum(scope_http_requests_node_responses_total)";
    let ends = "sum(scope_http_requests_node_responses_total) + sum(scope_http_requests_in_flight) \
                + sum(scope_http_requests_unanswered_total) + sum(scope_http_requests_lost_responses_total) \
                - sum(scope_http_requests_node_total)";
    for identity in [in_series, ends] {
        let difference = lab.value(identity)?.context("no totals")?;
        ensure!(difference == 0.0, "{identity} is {difference}");
    }
    let median = "histogram_quantile(0.5, sum by (le) (http_server_request_duration_seconds_bucket))";
    let median = lab.value(median)?.context("no median")?;
    ensure!(median > 0.0 && median < 1.0, "a median of {median} s");
    Ok(format!("{} and {}, half of them within {:.2} ms", expected[0], expected[1], median * 1e3))
}

/// The kernel measures while somebody holds a descriptor; nothing needs restoring.
fn kernel_program(lab: &Lab) -> Result<String> {
    let _measuring = aya::sys::enable_stats(aya::sys::Stats::RunTime).context("the kernel does not measure")?;
    let mut load = Load::new()?;
    let calls = "scope_http_requests_agent_program_runs_total";
    let per_call =
        "scope_http_requests_agent_program_run_time_seconds_total / scope_http_requests_agent_program_runs_total";
    // Two scrapes at least, for rates.
    wait_for("calls and their time", || {
        load.exchange()?;
        Ok(lab.value(&format!("rate({calls}[10s])"))?.filter(|rate| *rate > 0.0))
    })?;
    let seconds = lab.value(per_call)?.context("no time")?;
    ensure!(seconds > 0.0 && seconds < 1e-3, "{seconds} s a call");
    Ok(format!("{:.0} ns a call", seconds * 1e9))
}

/// A dashboard's query with Grafana's variables filled in.
fn filled_in(expression: &str) -> String {
    expression.replace("$__rate_interval", "30s").replace("$node", ".*").replace("$namespace", ".*")
}

/// Every `expr` of a dashboard, wherever it stands.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("expr").and_then(Value::as_str).map(filled_in));
            members.values().for_each(|member| expressions(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

/// The metrics that a text names.
fn metrics(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = ["scope_http_requests_", "http_server_request_duration_seconds_"];
    words.filter(|word| ours.iter().any(|prefix| word.starts_with(prefix))).collect()
}

fn dashboard(lab: &Lab) -> Result<String> {
    // Polls as Scope's, so that there are size and time of reports, and rates of them.
    let socket = socket_path(&lab.plugins).display().to_string();
    let poll =
        || output("curl", &["--silent", "--fail", "--unix-socket", &socket, "http://plugin/report?probe_id=1"], b"");
    wait_for("reports to be rendered", || {
        poll()?;
        let rendered = lab.value("rate(scope_http_requests_agent_report_render_duration_seconds_count[30s])")?;
        Ok(rendered.filter(|rate| *rate > 0.0))
    })?;
    let text = fs::read_to_string(root().join("deploy/grafana/scope-http-requests.json"))?;
    let dashboard: Value = serde_json::from_str(&text)?;
    let mut queries = Vec::new();
    expressions(&dashboard, &mut queries);
    ensure!(queries.len() > 20, "only {} queries were found", queries.len());
    for query in &queries {
        ensure!(!query.contains('$'), "a variable is left: {query}");
        let samples = lab.query(query)?;
        ensure!(!samples.is_empty(), "no data: {query}");
    }
    for metric in metrics(&text) {
        ensure!(lab.value(&format!("count({metric})"))?.is_some(), "{metric} is not exposed");
    }
    Ok(format!("{} queries, {} metrics", queries.len(), metrics(&text).len()))
}

/// Losses are the whole machine's: others than this test may be among their causes.
const OF_THE_MACHINE: [&str; 2] = ["ScopeHttpRequestsLost", "ScopeHttpRequestsUncertain"];

/// It has a sample for each reason that there is, and there is none while TLS is not read.
const OF_A_REASON: &str = "scope_http_requests_tls_unread";

fn alerts(lab: &Lab) -> Result<String> {
    let groups = wait_for("the rules to be evaluated", || {
        let groups = lab.api("rules", "")?["groups"].clone();
        let rules: Vec<Value> = groups[0]["rules"].as_array().context("no rules")?.clone();
        let evaluated = rules.iter().all(|rule| rule["health"] != "unknown");
        Ok(evaluated.then_some(rules))
    })?;
    for rule in &groups {
        let query = rule["query"].as_str().context("no query")?;
        ensure!(rule["health"] == "ok", "{}: {}", rule["name"], rule["lastError"]);
        lab.query(query)?;
        for metric in metrics(query).into_iter().filter(|metric| *metric != OF_A_REASON) {
            ensure!(lab.value(&format!("count({metric})"))?.is_some(), "{metric} is not exposed");
        }
        let firing: Vec<_> =
            rule["alerts"].as_array().into_iter().flatten().filter(|alert| alert["state"] == "firing").collect();
        let excused = OF_THE_MACHINE.iter().any(|name| rule["name"] == *name);
        ensure!(firing.is_empty() || excused, "{} fires: {firing:?}", rule["name"]);
    }
    Ok(format!("{} alerts", groups.len()))
}

fn rules(_: &Lab) -> Result<String> {
    let folder = root().join("deploy/prometheus");
    let file = |name: &str| folder.join(name).display().to_string();
    output("promtool", &["check", "rules", &file("scope-http-requests.rules.yml")], b"")?;
    output("promtool", &["test", "rules", &file("scope-http-requests.rules.test.yml")], b"")?;
    Ok("as their tests say".to_owned())
}

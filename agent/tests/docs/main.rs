//! The docs say what the code says: causes of loss, metrics, settings, messages, keys, paths, links.

mod messages;
mod paths;
mod top;

use std::fs;
use std::path::{Path, PathBuf};

use agent::metrics::catalog::{self, Metric};
use agent::pods::watch::State;
use agent::settings::catalog as settings;
use common::exchange::Untold;
use common::failure::Failure;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// Every document for people.
fn documents() -> Vec<PathBuf> {
    [("", false), ("docs", true), (".ci", false), ("deploy", true)]
        .into_iter()
        .flat_map(|(folder, below)| files(&root().join(folder), "md", below))
        .collect()
}

/// Files with this ending in a folder, and below it if asked.
fn files(folder: &Path, ending: &str, below: bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("a folder's entries can be read").path();
        if path.is_dir() && below {
            found.extend(files(&path, ending, true));
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
    found
}

/// The cells of every row of a text's tables.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    lines.map(|line| line.split(" | ").collect())
}

/// What stands between backticks in a text.
fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The lines from a heading of the second level to the next one.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    rest.split("\n## ").next().unwrap_or_default()
}

#[test]
fn every_cause_of_loss_is_documented_in_its_own_words() {
    let text = read(&root().join("docs/losses.md"));
    let documented: Vec<_> = rows(section(&text, "Causes in the kernel")).skip(1).collect();
    let names: Vec<_> = documented.iter().map(|row| row[0].trim_matches('`')).collect();
    let expected: Vec<_> = Failure::ALL.iter().map(|cause| cause.name()).collect();
    assert_eq!(names, expected, "docs/losses.md and Failure::ALL name other causes");
    for (row, cause) in documented.iter().zip(Failure::ALL) {
        assert_eq!(row[1], cause.sentence(), "docs/losses.md on {}", cause.name());
        assert!(row.len() == 3 && !row[2].is_empty(), "docs/losses.md on {}: what to do?", cause.name());
    }
}

#[test]
fn every_cause_of_what_is_untold_is_documented_in_its_own_words() {
    let text = read(&root().join("docs/losses.md"));
    let documented = rows(section(&text, "Causes of what is not known of responses")).skip(1);
    let documented: Vec<_> = documented.map(|row| (row[0].trim_matches('`'), row[1], row.len())).collect();
    let expected: Vec<_> = Untold::ALL.iter().map(|cause| (cause.name(), cause.sentence(), 3)).collect();
    assert_eq!(documented, expected, "docs/losses.md and Untold::ALL differ");
}

/// A metric's row in docs/metrics.md.
fn metric_row(metric: &Metric) -> String {
    let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
    let labels = if labels.is_empty() { "-".to_owned() } else { labels.join(", ") };
    format!("| `{}` | {} | {} | {labels} | {} |", metric.name(), metric.kind.name(), metric.unit, metric.help)
}

#[test]
fn every_metric_is_documented_in_its_own_words() {
    let text = read(&root().join("docs/metrics.md"));
    let table = section(&text, "Every metric").lines().filter(|line| line.starts_with("| `"));
    let expected: Vec<_> = catalog::ALL.iter().map(metric_row).collect();
    let documented: Vec<_> = table.collect();
    assert!(documented == expected, "docs/metrics.md must have these rows:\n{}", expected.join("\n"));
    for state in State::NAMES {
        assert!(text.contains(&format!("`{state}`")), "docs/metrics.md: the API server's state {state}");
    }
}

#[test]
fn every_setting_is_documented_in_its_own_words() {
    let text = read(&root().join("docs/configuration.md"));
    let table = section(&text, "Every setting").lines().filter(|line| line.starts_with("| `"));
    let (documented, expected) = (table.collect::<Vec<_>>(), settings::table());
    assert!(documented == expected, "docs/configuration.md must have these rows:\n{}", expected.join("\n"));
}

/// The example of a file is one.
#[test]
fn the_documented_file_is_understood() {
    let text = read(&root().join("docs/configuration.md"));
    let (_, example) = text.split_once("```yaml\n").expect("there is an example");
    let (example, _) = example.split_once("```").expect("it ends");
    let known = settings::of_file(example).unwrap_or_else(|errors| panic!("{}", errors.join("\n")));
    assert!(known.len() > 3, "{known:?}");
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    let kept = heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .collect::<String>();
    kept.replace(' ', "-")
}

#[test]
fn links_lead_somewhere() {
    let documents = documents();
    let mut links = 0;
    for document in &documents {
        let text = read(document);
        for (start, _) in text.match_indices("](") {
            let link = text[start + 2..].split(')').next().unwrap_or_default();
            if link.contains("://") {
                continue;
            }
            let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { document.clone() } else { document.with_file_name(path) };
            assert!(target.exists(), "{}: {link} leads nowhere", document.display());
            let headings = || {
                read(&target)
                    .lines()
                    .filter(|line| line.starts_with('#'))
                    .map(|line| anchor(line.trim_start_matches('#').trim()))
                    .collect::<Vec<_>>()
            };
            assert!(
                fragment.is_empty() || headings().contains(&fragment.to_owned()),
                "{}: no heading #{fragment}",
                document.display()
            );
            links += 1;
        }
    }
    assert!(links > 10, "too few links found in {documents:?}");
}

//! Every file and folder that a document names is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{code_spans, documents, read, root};

/// A name with one of these endings is that of a file.
const ENDINGS: [&str; 11] = [".rs", ".md", ".py", ".yaml", ".yml", ".json", ".jsonl", ".toml", ".go", ".png", ".sh"];
/// Files of others, or of whoever reads.
const ELSEWHERE: [&str; 1] = ["scope-http-requests.rules.yml"];

/// Every file and folder of the project, from its root.
fn tree(folder: &Path, below: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let entry = entry.expect("a folder's entries can be read");
        let name = entry.file_name().to_string_lossy().into_owned();
        if [".git", "target"].contains(&&*name) {
            continue;
        }
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        if entry.path().is_dir() {
            tree(&entry.path(), &path, found);
        }
        found.insert(path);
    }
}

/// The words of a text that look like a path of the project: below one of its folders, a folder below another, or a
/// file by its ending.
fn named<'a>(text: &'a str, folders: &[&str]) -> Vec<&'a str> {
    let edges = |c: char| matches!(c, ',' | ';' | ':' | '[' | ']' | '|' | '"' | '\'');
    let is_file = |word: &str| ENDINGS.iter().any(|ending| word.len() > ending.len() && word.ends_with(ending));
    let is_path = |word: &&str| match word.trim_end_matches('/').split_once('/') {
        Some((first, _)) => folders.contains(&first) || word.ends_with('/') || is_file(word),
        None => false,
    };
    // In a fence or out of it: a command names a script, too.
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, '`' | '(' | ')'));
    let words = words.map(|word| word.trim_matches(edges).trim_end_matches('.')).filter(is_path);
    let files = code_spans(text).filter(|span| !span.contains(char::is_whitespace) && !span.contains('/'));
    let elsewhere = |word: &&str| word.starts_with(['/', '~', '$']) || word.contains("://");
    words.chain(files.filter(|span| is_file(span))).filter(|word| !elsewhere(word)).collect()
}

/// Whether a file of this path, or one whose path ends so, is there. `*` and what is to be filled in stand for anything.
fn exists(path: &str, tree: &BTreeSet<String>) -> bool {
    let path = path.trim_start_matches("../").trim_end_matches('/');
    let known = path.split(['*', '#']).next().unwrap_or_default().trim_end_matches('/');
    let whole = known.len() == path.len();
    tree.iter().any(|there| {
        let is_it = there == known || there.ends_with(&format!("/{known}"));
        is_it || (!whole && there.starts_with(known))
    })
}

#[test]
fn every_path_exists() {
    let mut there = BTreeSet::new();
    tree(&root(), "", &mut there);
    let folders: Vec<_> = there.iter().filter_map(|path| path.split_once('/')).map(|(first, _)| first).collect();
    let (mut missing, mut names) = (Vec::new(), 0);
    for document in documents() {
        let text = read(&document);
        for name in named(&text, &folders) {
            names += 1;
            if !exists(name, &there) && !ELSEWHERE.contains(&name) {
                missing.push(format!("{}: {name}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "named and not there:\n{}", missing.join("\n"));
    assert!(names > 100, "only {names} paths were found");
}

#[test]
fn the_check_can_fail() {
    let there = BTreeSet::from(["agent", "agent/src", "agent/src/run.rs", ".ci/run"].map(str::to_owned));
    let check = |text: &str, expected: &[&str]| {
        let missing: Vec<_> = named(text, &["agent", ".ci"]).into_iter().filter(|name| !exists(name, &there)).collect();
        assert_eq!(missing, expected, "{text}");
    };
    check("`agent/src/run.rs`, `run.rs`, `agent/src/`, `agent/src/*.rs` and (agent/src/run.rs).", &[]);
    check("`agent/src/gone.rs` or `gone.rs`", &["agent/src/gone.rs", "gone.rs"]);
    check("$ .ci/gone all\n.ci/run", &[".ci/gone"]);
    check(
        "```text\nagent/   all\n  src/run.rs src/gone.rs  words\n  src/gone/ and/or\n```",
        &["src/gone.rs", "src/gone/"],
    );
    check("`/proc/self/maps.rs`, https://agent/src/gone, $HOME/gone.rs", &[]);
}

#[test]
fn every_script_has_its_row() {
    let folder = root().join(".ci");
    let text = read(&folder.join("README.md"));
    let named: BTreeSet<_> = code_spans(&text).filter_map(|span| span.split_whitespace().next()).collect();
    let mut scripts = BTreeSet::new();
    tree(&folder, "", &mut scripts);
    scripts.remove("README.md");
    let missing: Vec<_> = scripts.iter().filter(|name| !named.contains(name.as_str())).collect();
    assert!(missing.is_empty(), ".ci/README.md does not name {missing:?}");
}

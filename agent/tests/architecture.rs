//! The rules between modules that ARCHITECTURE.md states, checked in the sources themselves.
//!
//! A file says in its opening doc comment whether it is PURE (computes, and is told the time) or an
//! EDGE (talks to the kernel, the file system, the network or the terminal).

use std::fs;
use std::path::{Path, PathBuf};

/// What a PURE file must not name.
const EDGE_NAMES: [&str; 7] = ["aya", "kube", "hyper", "tokio", "std::fs", "std::env", "std::net"];

/// Files that only put others together: they may say neither.
const WIRING: [&str; 4] = ["main.rs", "lib.rs", "run.rs", "mod.rs"];

/// A broken rule in a file of this name with this text, if there is one.
fn violation(name: &str, text: &str) -> Option<String> {
    let opening: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
    let pure = has_word(&opening, "PURE");
    if !pure && !has_word(&opening, "EDGE") {
        return if WIRING.contains(&name) {
            None
        } else {
            Some("opens with no `//!` sentence that says PURE or EDGE".to_owned())
        };
    }
    if !pure {
        return None;
    }
    for (number, line) in (1..).zip(text.lines()) {
        let code = line.split("//").next().unwrap_or_default();
        if let Some(edge) = EDGE_NAMES.iter().find(|edge| names(code, edge)) {
            return Some(format!("is PURE and names `{edge}` in line {number}"));
        }
    }
    None
}

/// Whether a line of code names the module: as a path, or inside the braces of `use std::{...}`.
fn names(code: &str, module: &str) -> bool {
    if has_word(code, module) {
        return true;
    }
    let Some(name) = module.strip_prefix("std::") else { return false };
    code.contains("std::{") && has_word(code, name)
}

/// Whether `word` stands in `text` and is not a part of a longer identifier.
fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| !text[..at].ends_with(part) && !text[at + word.len()..].starts_with(part))
}

/// Every Rust file below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()));
    let mut files = Vec::new();
    for path in entries.map(|entry| entry.expect("a folder's entries can be read").path()) {
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn modules_keep_the_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = sources(&root.join("agent/src"));
    files.extend(sources(&root.join("common/src")));
    assert!(files.len() > 5, "too few sources found: {files:?}");
    let broken: Vec<String> = files
        .iter()
        .filter_map(|path| {
            let text = fs::read_to_string(path).expect("a source file is text");
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            violation(name, &text).map(|rule| format!("{} {rule}", path.display()))
        })
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn each_rule_can_fail() {
    let pure = |code: &str| format!("//! Rates. PURE.\n\n{code}\n");
    for code in [
        "use aya::Ebpf;",
        "use kube::Client;",
        "let x = hyper::Request::new(());",
        "#[tokio::main]",
        "use std::fs;",
        "let home = std::env::var(\"HOME\");",
        "use std::net::TcpStream;",
        "use std::{fmt, fs};",
    ] {
        assert!(violation("rates.rs", &pure(code)).is_some(), "{code}");
    }
    for code in ["use std::fmt;", "// as std::fs would", "let aya_like = 1;", "use std::{fmt, time};"] {
        assert_eq!(violation("rates.rs", &pure(code)), None, "{code}");
    }
    assert!(violation("rates.rs", "//! Rates.\n").is_some());
    assert!(violation("rates.rs", "use std::fmt;\n//! PURE, too late.\n").is_some());
    assert_eq!(violation("kernel.rs", "//! The kernel. EDGE.\nuse aya::Ebpf;\n"), None);
    assert_eq!(violation("main.rs", "//! The process.\n"), None);
}

//! The rule that keeps computing apart from acting: what a PURE file may not name.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking; clippy knows its functions, not their helpers")]

use std::fs;
use std::path::{Path, PathBuf};

/// What reaches outside the program.
const OUTSIDE: [&str; 8] = ["tokio::", "hyper::", "hyper_util::", "aya::", "kube::", "std::fs", "std::env", "std::net"];

/// Says which modules there are, or starts the program; computes nothing.
const WITHOUT_KIND: [&str; 2] = ["lib.rs", "main.rs"];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// What is wrong with a file of this content.
fn faults(content: &str) -> Vec<String> {
    let opening: Vec<_> = content.lines().take_while(|line| line.starts_with("//!")).collect();
    let says = |kind: &str| opening.iter().any(|line| line.contains(kind));
    let (is_pure, is_edge) = (says("PURE"), says("EDGE"));
    if is_pure == is_edge {
        return vec!["its opening comment does not say whether it is PURE or EDGE".to_owned()];
    }
    if is_edge {
        return Vec::new();
    }
    let code = content.lines().filter(|line| !line.trim_start().starts_with("//"));
    let named = code.flat_map(|line| OUTSIDE.iter().filter(move |name| line.contains(**name)).map(move |_| line));
    named.map(|line| format!("PURE, but: {}", line.trim())).collect()
}

#[test]
fn pure_files_name_nothing_outside_the_program() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files: Vec<_> = ["src", "../common/src"].iter().flat_map(|folder| sources(&package.join(folder))).collect();
    assert!(files.len() > 30, "only {} files were found", files.len());
    let mut found = Vec::new();
    for file in files {
        if WITHOUT_KIND.iter().any(|name| file.ends_with(format!("src/{name}"))) {
            continue;
        }
        let faults = faults(&fs::read_to_string(&file).unwrap());
        found.extend(faults.into_iter().map(|fault| format!("{}: {fault}", file.display())));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn the_check_can_fail() {
    for (content, expected) in [
        ("//! A thing. PURE.\nuse std::time::Duration;\n// like tokio::time\n", 0),
        ("//! A thing. EDGE.\nuse std::fs;\n", 0),
        ("//! A thing. PURE.\nuse std::fs;\nlet x = tokio::spawn(y);\n", 2),
        ("//! A thing.\n", 1),
        ("use std::fs;\n", 1),
        ("", 1),
    ] {
        assert_eq!(faults(content).len(), expected, "{content}");
    }
}

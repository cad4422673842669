//! The rules between modules: what a PURE file may not name, and which folder names which.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking; clippy knows its functions, not their helpers")]

mod names;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use names::{Module, Modules, Source, files, kinds};
use syn::Item;

/// What reaches outside the program.
const OUTSIDE: [&str; 8] = ["tokio::", "hyper::", "hyper_util::", "aya::", "kube::", "std::fs", "std::env", "std::net"];

/// Which folder of `agent/src`, or file beside them, names which: the rows of ARCHITECTURE.md's table.
fn rows() -> Vec<(String, Vec<String>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ARCHITECTURE.md");
    let text = std::fs::read_to_string(path).unwrap();
    let blocks = text.split("```text\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut tables =
        blocks.filter(|block| block.lines().all(|line| line.split(' ').filter(|w| *w == "→").count() == 1));
    let table = tables.next().expect("ARCHITECTURE.md has a table of arrows");
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    table
        .lines()
        .map(|line| line.split_once('→').unwrap())
        .map(|(from, to)| (from.trim().to_owned(), words(to)))
        .collect()
}

fn agent() -> Modules {
    Modules::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

/// A folder's `mod.rs`, and `lib.rs`, say which modules there are and what they hand out; they hold no code.
fn hands_out(source: &Source) -> bool {
    source.path.ends_with("mod.rs") || source.path.ends_with("lib.rs")
}

/// What is wrong with a file of this content.
fn faults(text: &str) -> Vec<String> {
    let (is_pure, is_edge) = kinds(text);
    if is_pure == is_edge {
        return vec!["its opening comment does not say whether it is PURE or EDGE".to_owned()];
    }
    if is_edge {
        return Vec::new();
    }
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let named = code.flat_map(|line| OUTSIDE.iter().filter(move |name| line.contains(**name)).map(move |_| line));
    named.map(|line| format!("PURE, but: {}", line.trim())).collect()
}

/// What folders' own files hold beside lists of modules, and what PURE files name that is EDGE.
fn faults_between(modules: &Modules) -> Vec<String> {
    let is_edge = |module: &Module| modules.get(module).is_some_and(|source| kinds(&source.text).1);
    let mut found = Vec::new();
    for (module, source) in modules.iter() {
        if hands_out(source) {
            let code = source
                .syntax
                .items
                .iter()
                .find(|item| !matches!(item, Item::Mod(_) | Item::Use(_) | Item::ExternCrate(_)));
            found.extend(code.map(|_| format!("{}: holds code", source.path.display())));
        } else if kinds(&source.text).0 {
            let edges = modules.named_by(module).into_iter().filter(is_edge);
            found.extend(edges.map(|edge| format!("{}: PURE, but names {}", source.path.display(), edge.join("::"))));
        }
    }
    found
}

/// From which folder to which other something is named.
fn arrows(modules: &Modules) -> BTreeSet<(String, String)> {
    let mut all = BTreeSet::new();
    for (module, _) in modules.iter() {
        let Some(from) = module.first() else { continue };
        let named = modules.named_by(module).into_iter().filter_map(|named| named.first().cloned());
        all.extend(named.filter(|to| to != from).map(|to| (from.clone(), to)));
    }
    all
}

#[test]
fn pure_files_name_nothing_outside_the_program() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files: Vec<_> = ["src", "../common/src"].iter().flat_map(|folder| files(&package.join(folder))).collect();
    assert!(files.len() > 30, "only {} files were found", files.len());
    let mut found = Vec::new();
    for file in files {
        if ["lib.rs", "mod.rs", "src/main.rs"].iter().any(|name| file.ends_with(name)) {
            continue;
        }
        let faults = faults(&std::fs::read_to_string(&file).unwrap());
        found.extend(faults.into_iter().map(|fault| format!("{}: {fault}", file.display())));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn pure_files_name_no_edge_and_folders_only_hand_out() {
    let found = faults_between(&agent());
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn folders_name_each_other_as_drawn() {
    let rows = rows();
    let drawn: BTreeSet<_> =
        rows.iter().flat_map(|(from, to)| to.iter().map(|to| (from.clone(), to.clone()))).collect();
    let found = arrows(&agent());
    let text = |arrows: Vec<&(String, String)>| {
        arrows.iter().map(|(from, to)| format!("{from} -> {to}")).collect::<Vec<_>>().join("\n")
    };
    let (new, gone) = (text(found.difference(&drawn).collect()), text(drawn.difference(&found).collect()));
    assert!(new.is_empty() && gone.is_empty(), "not in the table:\n{new}\nnot in the code:\n{gone}");
    let row = |name: &str| rows.iter().position(|(from, _)| from == name);
    for (from, to) in &drawn {
        assert!(row(from) < row(to), "{from} -> {to} runs back up");
    }
}

#[test]
fn the_check_of_a_file_can_fail() {
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

#[test]
fn the_checks_between_files_can_fail() {
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a/mod.rs", "//! A.\npub mod pure; mod edge; pub use edge::Acts;\n"),
        ("a/pure.rs", "//! PURE.\nuse super::Acts;\nuse crate::b;\nfn f() { crate::c::g() }\n"),
        ("a/edge.rs", "//! EDGE.\npub struct Acts;\n#[cfg(test)]\nmod tests { use crate::d; }\n"),
        ("b.rs", "//! EDGE.\n"),
        ("c.rs", "//! PURE.\npub fn g() { }\n"),
        ("d/mod.rs", "//! D.\nfn code() {}\n"),
    ];
    let modules = Modules::of(files.map(|(path, text)| (PathBuf::from(path), text.to_owned())));
    let expected = ["a/pure.rs: PURE, but names a::edge", "a/pure.rs: PURE, but names b", "d/mod.rs: holds code"];
    assert_eq!(faults_between(&modules), expected);
    let arrow = |to: &str| ("a".to_owned(), to.to_owned());
    assert_eq!(arrows(&modules), BTreeSet::from([arrow("b"), arrow("c")]));
}

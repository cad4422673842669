//! docs/troubleshooting.md has the messages of the code, and no other.

use std::path::Path;

use agent::pods::watch::State;
use proc_macro2::{TokenStream, TokenTree};

use super::{code_spans, files, read, root, rows, section};

/// Shown to whoever asks for the log level `debug`, as the cause of something that went on in another way.
const ONLY_FOR_DEBUGGING: [&str; 3] = [
    "this processor's memory map is not known to the probe",
    "{slabs} slabs do not agree on where pages are mapped",
    "both ways of reading differ: {0:?}",
];

/// The sentences of a source.
#[derive(Default)]
struct Sentences {
    /// Every string.
    all: Vec<String>,
    /// What an error or a log line says that somebody should act on.
    errors: Vec<String>,
}

impl Sentences {
    fn of(path: &Path) -> Self {
        let code: TokenStream = read(path).parse().expect("the agent's sources are Rust");
        let mut sentences = Self::default();
        sentences.collect(code);
        sentences
    }

    fn collect(&mut self, code: TokenStream) {
        let tokens: Vec<_> = code.into_iter().collect();
        for (place, token) in tokens.iter().enumerate() {
            let before: String = tokens[place.saturating_sub(3)..place].iter().map(ToString::to_string).collect();
            match token {
                TokenTree::Group(_) if before.ends_with("modtests") => {}
                TokenTree::Group(group) => {
                    let begin = self.all.len();
                    self.collect(group.stream());
                    // `#[error(..)]`, `tracing::error!(..)`, `self.errors.push(..)`
                    let of_macro = ["error!", "warn!"].iter().any(|name| before.ends_with(name));
                    if before == "error" || of_macro || before == "errors.push" {
                        self.errors.extend(self.all[begin..].iter().max_by_key(|text| text.len()).cloned());
                    }
                }
                TokenTree::Literal(literal) => {
                    if let syn::Lit::Str(text) = syn::Lit::new(literal.clone()) {
                        self.all.push(text.value());
                    }
                }
                _ => {}
            }
        }
    }
}

/// A format string with `...` for what is filled in.
fn shown(format: &str) -> String {
    let (mut text, mut rest) = (String::new(), format);
    while let Some((before, behind)) = rest.split_once('{') {
        text.push_str(before);
        match behind.split_once('}') {
            Some((_, behind)) => (text, rest) = (text + "...", behind),
            None => break,
        }
    }
    text + rest
}

/// Whether a documented message, in which `...` stands for any text, is this sentence.
fn matches(message: &str, sentence: &str) -> bool {
    let parts: Vec<_> = message.split("...").map(str::trim).collect();
    let (Some((first, rest)), sentence) = (parts.split_first(), sentence.trim()) else { return false };
    let Some(mut behind) = sentence.strip_prefix(first) else { return false };
    let Some((last, between)) = rest.split_last() else { return behind.is_empty() };
    for part in between {
        match behind.split_once(part) {
            Some((_, rest)) => behind = rest,
            None => return false,
        }
    }
    behind.ends_with(last)
}

/// Every message of the table.
fn documented() -> Vec<String> {
    let text = read(&root().join("docs/troubleshooting.md"));
    let table = rows(section(&text, "Messages of the agent")).skip(1);
    table.flat_map(|row| code_spans(row[0]).map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn sources() -> Vec<Sentences> {
    let files = files(&root().join("agent/src"), "rs", true);
    let is_test = |path: &Path| path.file_stem().is_some_and(|name| name.to_string_lossy().ends_with("_tests"));
    files.iter().filter(|path| !is_test(path)).map(|path| Sentences::of(path)).collect()
}

#[test]
fn every_message_is_one_of_the_code() {
    let all: Vec<_> = sources().iter().flat_map(|source| &source.all).map(|text| shown(text)).collect();
    let messages = documented();
    let strange: Vec<_> =
        messages.iter().filter(|message| !all.iter().any(|sentence| matches(message, sentence))).collect();
    assert!(strange.is_empty(), "docs/troubleshooting.md: no source says {strange:#?}");
    assert!(messages.len() > 30, "the table of messages was not found");
}

#[test]
fn every_error_and_warning_is_documented() {
    let messages = documented();
    let sources = sources();
    let errors = sources.iter().flat_map(|source| &source.errors);
    let says_something = |error: &&String| shown(error).replace("...", "").contains(char::is_alphabetic);
    let errors: Vec<_> = errors.filter(says_something).collect();
    let missing: Vec<_> = errors
        .iter()
        .filter(|error| !ONLY_FOR_DEBUGGING.contains(&error.as_str()))
        .filter(|error| !messages.iter().any(|message| matches(message, &shown(error))))
        .collect();
    assert!(missing.is_empty(), "docs/troubleshooting.md says nothing of {missing:#?}");
    assert!(errors.len() > 20, "only {} errors and warnings were found", errors.len());
}

#[test]
fn every_state_of_the_watch_that_is_trouble_is_documented() {
    let text = read(&root().join("docs/troubleshooting.md"));
    let states: Vec<_> =
        rows(section(&text, "Causes of no news of pods")).skip(1).map(|row| row[0].to_owned()).collect();
    let expected = State::NAMES.iter().filter(|name| !["off", "starting", "watching"].contains(name));
    assert_eq!(states, expected.map(|name| format!("`{name}`")).collect::<Vec<_>>());
}

#[test]
fn the_check_can_fail() {
    for (message, sentence, expected) in [
        ("no ... here: ...", "no {what} here: {error}", true),
        ("no ... there", "no {what} here", false),
        ("no way", "no way out", false),
        ("no way ...", "no way out", true),
        ("... is none of ...", "{source}: {value:?} is none of {}", true),
        ("cannot ...: ...", "the probe cannot be loaded: {0}", false),
    ] {
        assert_eq!(matches(message, &shown(sentence)), expected, "{message} / {sentence}");
    }
    let mut found = Sentences::default();
    let code = "#[error(\"a\")] struct A; fn f() { tracing::warn!(%error, \"bb {error}\"); self.errors.push(format!(\"c\")); say(\"d\") } mod tests { const E: &str = \"e\"; }";
    found.collect(code.parse().expect("it is Rust"));
    assert_eq!(
        (found.errors.join(","), found.all.join(",")),
        ("a,bb {error},c".to_owned(), "a,bb {error},c,d".to_owned())
    );
}

//! Why a process's TLS is not counted, as far as its files are the cause. PURE.

use crate::tls::trouble::NotUnderstood;

/// `Display` is a part of a sentence, `word` a label's value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// rustls, Java, Envoy: linked statically and without names, or made while it runs.
    #[error("it has no known TLS library")]
    NoLibrary,
    /// An update took it away from under the process, which would have to be started anew.
    #[error("its TLS library was replaced on disk: restart it")]
    Replaced,
    /// The file is not what was expected.
    #[error("its TLS library was not understood: {0}")]
    NotUnderstood(NotUnderstood),
    /// Another process's files may not be looked at.
    #[error("its files may not be read: the agent lacks CAP_SYS_PTRACE")]
    NoPrivilege,
    /// More than is read of one file.
    #[error("its TLS library is too large to be looked at")]
    TooLarge,
    /// A Go program, and those are left out.
    #[error("it is a Go program: add go to --tls")]
    NotAskedFor,
    /// The file cannot be read, or is none.
    #[error("its TLS library cannot be read: {0}")]
    Unreadable(String),
    /// As many files as are kept.
    #[error("too many different TLS libraries were found")]
    TooMany,
    /// It ended meanwhile.
    #[error("it has ended")]
    Gone,
}

impl Reason {
    /// Every word.
    pub const WORDS: [&str; 9] = [
        "no_known_library",
        "library_replaced",
        "not_understood",
        "no_privilege",
        "too_large",
        "not_asked_for",
        "unreadable",
        "too_many_files",
        "process_gone",
    ];

    /// One of [`Reason::WORDS`].
    #[must_use]
    pub const fn word(&self) -> &'static str {
        let [no_library, replaced, not_understood, no_privilege, too_large, not_asked_for, unreadable, too_many, gone] =
            Self::WORDS;
        match self {
            Self::NoLibrary => no_library,
            Self::Replaced => replaced,
            Self::NotUnderstood(_) => not_understood,
            Self::NoPrivilege => no_privilege,
            Self::TooLarge => too_large,
            Self::NotAskedFor => not_asked_for,
            Self::Unreadable(_) => unreadable,
            Self::TooMany => too_many,
            Self::Gone => gone,
        }
    }
}

impl From<NotUnderstood> for Reason {
    fn from(trouble: NotUnderstood) -> Self {
        match trouble {
            NotUnderstood::NoTls => Self::NoLibrary,
            NotUnderstood::TooLarge => Self::TooLarge,
            NotUnderstood::NotAskedFor => Self::NotAskedFor,
            other => Self::NotUnderstood(other),
        }
    }
}

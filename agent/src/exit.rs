//! How the agent ends, as a number for scripts and a line for people. PURE.

use std::fmt;

/// Why the agent ends other than by being asked to. The codes are those of `sysexits.h`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It was told what cannot be.
    Usage(String),
    /// The kernel cannot run the probe, or another agent is at work.
    Unavailable(String),
    /// It hangs.
    Hung(String),
    /// Something of the system failed.
    Io(String),
}

impl Failure {
    /// The exit code.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 64,
            Self::Unavailable(_) => 69,
            Self::Hung(_) => 70,
            Self::Io(_) => 74,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(line) | Self::Unavailable(line) | Self::Hung(line) | Self::Io(line)) = self;
        f.write_str(line)
    }
}

//! Where probes stand in the file of a TLS library or of a program. PURE.

use common::tls::action::{Action, cookie};

use crate::tls::trouble::NotUnderstood;

/// Of how places are found. With another number an agent does not go on with the places that another one has found: to be raised
/// where other places are found in the same file.
pub const VERSION: u32 = 1;

/// Where one probe stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// In the file, of an instruction's first byte.
    pub offset: u64,
    /// What the probe says.
    pub action: Action,
    /// Bytes from the stack pointer here up to where it was at the function's first instruction (on x86-64: where the
    /// return address lies). 0 in Go, where a call is known by its goroutine.
    pub depth: u32,
}

impl Place {
    /// What the kernel hands to the program at this place.
    #[must_use]
    pub const fn cookie(&self) -> u64 {
        cookie(self.action, self.depth)
    }
}

/// What a file's functions are called, and what they hand over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// OpenSSL, as a library or within a program.
    OpenSsl,
    /// `GnuTLS`.
    GnuTls,
    /// A program in Go, with `crypto/tls`.
    Go,
}

/// Which places are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Those at which an answer is written.
    pub writes: bool,
    /// Those in Go programs.
    pub go: bool,
}

/// All places of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    kind: Kind,
    places: Vec<Place>,
    unanswered: Option<NotUnderstood>,
}

impl Places {
    /// In the order in which they are to be attached: ends, entries, then begins and frees. So nobody's entry is missed
    /// whose begin was seen, and nobody's end whose entry was.
    #[must_use]
    pub fn new(kind: Kind, mut places: Vec<Place>) -> Self {
        let rank = |action: Action| match action {
            action if action.is_end() => 0,
            action if action.is_entry() => 1,
            _ => 2,
        };
        places.sort_by_key(|place| (rank(place.action), place.offset, place.action));
        places.dedup();
        Self { kind, places, unanswered: None }
    }

    /// The same without those at which an answer is written, and why.
    #[must_use]
    pub fn without_writes(mut self, why: NotUnderstood) -> Self {
        self.places.retain(|place| !place.action.is_write());
        Self { unanswered: Some(why), ..self }
    }

    /// Whether there are places at which an answer is written.
    #[must_use]
    pub fn has_writes(&self) -> bool {
        self.places.iter().any(|place| place.action.is_write())
    }

    /// Why there are none, though they were wanted.
    #[must_use]
    pub const fn unanswered(&self) -> Option<&NotUnderstood> {
        self.unanswered.as_ref()
    }

    /// Of the file.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// In order.
    #[must_use]
    pub fn as_slice(&self) -> &[Place] {
        &self.places
    }
}

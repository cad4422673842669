//! Why no places were found in a file. PURE.

/// Of a file. `Display` is a part of a sentence: which function, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotUnderstood {
    /// No program or library, or one for another machine.
    #[error("no ELF file of 64 bits for x86-64 or arm64")]
    Format,
    /// Its tables are longer than what is read of one file.
    #[error("its tables are too large")]
    TooLarge,
    /// A table is cut off, or points to where nothing is.
    #[error("its {0} cannot be read")]
    Broken(&'static str),
    /// It has none of the functions that are known.
    #[error("no known TLS function")]
    NoTls,
    /// A program in Go, and those are not wanted.
    #[error("a Go program, which is not asked for")]
    NotAskedFor,
    /// One function is not what was expected.
    #[error("{function} {why}")]
    Function {
        /// Its name.
        function: &'static str,
        /// What is with it.
        why: Why,
    },
}

/// Of a function.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Others of its library are there.
    #[error("is missing")]
    Missing,
    /// Neither a symbol nor the unwinder's table says where it ends.
    #[error("has no known end")]
    NoRange,
    /// Or what it jumps to.
    #[error("is too long")]
    TooLong,
    /// In its range, at this address.
    #[error("has something at {0:#x} that is no instruction")]
    Undecodable(u64),
    /// Perhaps to another function, whose end nobody would see.
    #[error("jumps at {0:#x} to where is not known")]
    IndirectJump(u64),
    /// Of those that hand over to one another.
    #[error("hands over to too many functions")]
    TooDeep,
    /// By a jump.
    #[error("hands over to {0}, which is not in this file")]
    LeavesFile(String),
    /// No return, and no jump to one.
    #[error("never returns")]
    NoEnd,
}

impl Why {
    /// With the function's name.
    #[must_use]
    pub const fn of(self, function: &'static str) -> NotUnderstood {
        NotUnderstood::Function { function, why: self }
    }
}

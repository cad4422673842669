//! Whether the live table is wanted. PURE.

/// Whether something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// If it makes sense.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

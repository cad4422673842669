//! What an agent's counts start from. PURE.

/// What counts start from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Nothing: no other agent was there.
    #[default]
    Nothing,
    /// What another agent had counted.
    Handover,
    /// Nothing: the other agent's probe was another one, which counted until this one's did.
    OtherLayout,
    /// Nothing: the other agent did not hand over.
    Refused,
}

impl Origin {
    /// Each name in metrics and logs.
    pub const NAMES: [&str; 4] = ["nothing", "handover", "other_layout", "refused"];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

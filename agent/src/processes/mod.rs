//! Processes: which of those that are counted live, and who they are, as /proc and pidfds tell. Hands out identities and ends.

mod life;
mod pidfds;
mod table;

pub use table::ProcessTable;

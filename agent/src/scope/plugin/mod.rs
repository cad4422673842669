//! The socket that Scope polls, and that `top` and the other commands ask. Hands out a claimed place for it, and serves answers there.

mod answer;
mod connection;
mod folder;
mod place;
mod pulse;
mod reports;
mod root;
mod serve;
mod socket;

pub use answer::{Answers, Asked, Refusal, Report, ScopeProbe};
pub use place::claim_first;
pub use pulse::Pulse;
pub use reports::Reports;
pub use root::{DEFAULT_PLUGINS_ROOT, PluginsRoot};
pub use serve::serve;
pub use socket::{ClaimError, Socket, is_served, socket_path};

pub use crate::http::serve::Limits;

//! The socket that Scope polls, and that `top` and the other commands ask. Hands out a claimed place for it, and serves answers there.

mod answer;
mod client;
mod connection;
mod folder;
mod place;
mod pulse;
mod reports;
mod root;
mod serve;
mod socket;
mod takers;

pub use answer::{Answers, Asked, Refusal, Report, ScopeProbe};
pub use client::get;
pub use place::claim_first;
pub use pulse::Pulse;
pub use reports::Reports;
pub use root::{DEFAULT_PLUGINS_ROOT, PluginsRoot};
pub use serve::serve;
pub use socket::{ClaimError, Socket, connected, is_served, server_of, socket_path};
pub use takers::{OTHER_LAYOUT, PATH, PROTOCOL, Serving, TLS_LAYOUT, Taker, Takers};

pub use crate::http::serve::Limits;

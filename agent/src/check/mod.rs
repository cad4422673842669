//! `scope-http-requests check`: tries everything that the agent needs, and says what to do about what is missing. Hands out findings.

mod cluster;
mod counting;
pub mod finding;
mod run;
mod serving;
mod system;

pub use run::run;

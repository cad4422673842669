//! Settings: from the command line, variables and a file to checked values. Hands out what the program is to do, and how.

pub mod catalog;
pub mod cli;
pub mod config;
pub mod environment;
mod values;

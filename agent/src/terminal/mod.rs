//! The terminal: keys, what the live table says, drawing, and lines. Hands out a table or lines, of what a source has.

mod controls;
mod draw;
pub mod lines;
mod screen;
mod shorten;
mod view;
mod when;

pub use controls::{Controls, Outcome, Sort};
pub use screen::{Picture, failed, run, wanted};
pub use view::NOTICES;
pub use when::When;

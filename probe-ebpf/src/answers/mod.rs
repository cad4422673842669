//! Responses: what is awaited, what is sent, and for whom it counts.

mod close;
mod count;
mod counted;
mod expect;
mod finish;
mod first;
mod follow;
mod guess;
mod inbox;
mod maps;
mod message;
mod send;
mod unix;
mod unix_inbox;

pub(crate) use close::{state_changed, unix_closed};
pub(crate) use expect::{decide, lost, read};
pub(crate) use follow::{Bytes, Parts, turns};
pub(crate) use guess::looks_for_frames;
pub(crate) use send::{sending, sent, sent_pages};
pub(crate) use unix::{READERS, begins_frames, received};

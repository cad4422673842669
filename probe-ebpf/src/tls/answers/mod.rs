//! Responses in TLS: what the requests that were read are owed, and what a process writes.

#[path = "../../answers/count.rs"]
mod count;
#[path = "../../answers/counted.rs"]
mod counted;
#[path = "../../answers/finish.rs"]
mod finish;
#[path = "../../answers/follow.rs"]
mod follow;
#[path = "../../answers/inbox.rs"]
mod inbox;
mod maps;
mod requests;
mod writes;

pub(crate) use requests::{decide, lost, note};
pub(crate) use writes::{IS_ALONE, IS_WIDE, MAY_CALL, begin, begin_again, closed, end, end_again, ended, unseen};

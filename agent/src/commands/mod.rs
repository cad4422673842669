//! Commands that ask a running agent over its plugin socket. Hands out `health` and `report`, and `top`.

pub mod ask;
pub mod top;

//! HTTP/2 framing: hands out [`step`]. PURE.

mod frames;

pub(crate) use frames::step;

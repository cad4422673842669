//! What a server answers, as the machine in `common` sees it.

mod http1;
mod http2;
mod random;
#[path = "../support/recorder.rs"]
mod recorder;
mod sessions;
mod support;

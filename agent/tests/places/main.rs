//! Where probes belong in files of TLS libraries: those of this machine, and some that the test makes.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking; clippy knows its functions, not their helpers")]

mod go;
mod hostile;
mod machine;
mod made;
mod processes;
mod shapes;

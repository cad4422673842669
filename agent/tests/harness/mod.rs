//! What the programs of cases share: a case that panics is one failed case, and no wait is for ever.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// Nothing takes so long on a machine that works, however busy it is, an emulated one included.
const DEADLINE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(10);

/// A case ended in the middle.
#[derive(Debug, thiserror::Error)]
#[error("it panicked: {0}")]
pub struct Panicked(String);

/// Runs a case. What a panic leaves half done is the case's own, and goes with it.
pub fn caught<T>(case: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(case)).map_err(|cause| Panicked(words(&*cause)))
}

fn words(cause: &(dyn Any + Send)) -> String {
    let text = cause.downcast_ref::<String>().map(String::as_str).or_else(|| cause.downcast_ref().copied());
    text.unwrap_or("without a word").to_owned()
}

/// Waits until there is something.
pub fn wait_for<T>(what: &str, mut find: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = find()? {
            return Ok(found);
        }
        ensure!(started.elapsed() < DEADLINE, "waited {} s for {what}", DEADLINE.as_secs());
        thread::sleep(POLL);
    }
}

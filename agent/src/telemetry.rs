//! Where logs go: to stderr, or into a pane as long as a live table has the terminal. EDGE.

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::settings::config::{Config, DEFAULT_LOG_LEVEL, LogFormat};

/// Lines kept while the table is shown; of more, the oldest are dropped.
const MAX_HELD_LINES: usize = 200;

/// Log lines that wait until the terminal is free.
#[derive(Clone, Debug, Default)]
pub struct HeldLines(Arc<Mutex<VecDeque<String>>>);

/// Starts logging. With a live table the lines are held.
#[must_use]
pub fn start(config: &Config, live_table: bool) -> Option<HeldLines> {
    let filter = EnvFilter::try_new(&config.log_level).unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG_LEVEL));
    let human = match config.log_format {
        LogFormat::Human => true,
        LogFormat::Json => false,
        LogFormat::Auto => live_table || io::stderr().is_terminal(),
    };
    // A line that cannot be written (a full disk, a closed pipe) is lost, and nothing else is: saying so on stderr would
    // be a panic there.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).log_internal_errors(false);
    // A subscriber that is already there (tests) stays.
    if live_table {
        let lines = HeldLines::default();
        let _ = builder.with_ansi(false).with_writer(lines.clone()).try_init();
        return Some(lines);
    }
    let _ = if human {
        let colour = config.colour && io::stderr().is_terminal();
        builder.with_ansi(colour).with_writer(io::stderr).try_init()
    } else {
        builder.json().flatten_event(true).with_writer(io::stderr).try_init()
    };
    None
}

impl HeldLines {
    /// The newest lines, at most `count`, the oldest first.
    #[must_use]
    pub fn last(&self, count: usize) -> Vec<String> {
        let lines = self.lock();
        lines.iter().skip(lines.len().saturating_sub(count)).cloned().collect()
    }

    /// Writes all lines to stderr and forgets them.
    pub fn release(&self) {
        let mut stderr = io::stderr().lock();
        for line in self.lock().drain(..) {
            // There is nowhere left to say that this failed.
            let _ = writeln!(stderr, "{line}");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for HeldLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = self.lock();
        for line in String::from_utf8_lossy(bytes).lines() {
            if lines.len() == MAX_HELD_LINES {
                lines.pop_front();
            }
            lines.push_back(line.to_owned());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for HeldLines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_held() {
        let mut lines = HeldLines::default();
        for number in 0..MAX_HELD_LINES + 3 {
            lines.write_all(format!("line {number}\n").as_bytes()).unwrap();
        }
        assert_eq!(lines.last(2), ["line 201", "line 202"]);
        assert_eq!(lines.last(1000).len(), MAX_HELD_LINES);
    }
}

//! Where logs go: to stderr, or into a pane as long as a live table has the terminal. EDGE.

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::printable::{is_printable, printable_lines};
use crate::settings::config::{Config, DEFAULT_LOG_LEVEL, LogFormat};

/// Lines kept while the table is shown; of more, the oldest are dropped.
const MAX_HELD_LINES: usize = 200;

/// The watch on pods says itself what fails, once and with advice; kube would say it again at each attempt, without.
/// A filter that names these targets has them.
const SILENT: &str = "kube_client=off,kube_runtime=off";

/// Log lines that wait until the terminal is free.
#[derive(Clone, Debug, Default)]
pub struct HeldLines(Arc<Mutex<VecDeque<String>>>);

/// Starts logging. With a live table the lines are held.
#[must_use]
pub fn start(config: &Config, live_table: bool) -> Option<HeldLines> {
    let filter = filter(&config.log_level);
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
        builder.with_ansi(colour).with_writer(|| Stderr).try_init()
    } else {
        builder.json().flatten_event(true).with_writer(|| Stderr).try_init()
    };
    None
}

/// What passes at this level, or through this filter of targets.
#[must_use]
pub fn filter(level: &str) -> EnvFilter {
    let of = |level: &str| EnvFilter::try_new(format!("{SILENT},{level}"));
    of(level).or_else(|_| of(DEFAULT_LOG_LEVEL)).expect("the default is a level")
}

/// A line's text as a log may have it: fields may be others' text. Escapes of colours are the formatter's, which
/// replaces those in fields.
fn shown(line: &str) -> String {
    let is_kept = |c: char| matches!(c, '\n' | '\x1b') || is_printable(c);
    line.chars().map(|c| if is_kept(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// Where lines go that nobody holds.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(shown(&String::from_utf8_lossy(line)).as_bytes()).map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
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
        for line in printable_lines(&String::from_utf8_lossy(bytes)).lines() {
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
    fn a_line_holds_nothing_that_moves_or_reorders_but_its_colours() {
        assert_eq!(shown("\x1b[32mINFO\x1b[0m a\u{202e}b\u{9b}c\n"), "\x1b[32mINFO\x1b[0m a\u{fffd}b\u{fffd}c\n");
        let mut lines = HeldLines::default();
        lines.write_all("a\u{202e}\x1b[2J\n".as_bytes()).unwrap();
        assert_eq!(lines.last(9), ["a\u{fffd}\u{fffd}[2J"]);
    }

    #[track_caller]
    fn check_filter(level: &str, target: &'static str, expected: bool) {
        // The callsite's own metadata would be `agent`'s: a filter shows what it is made of.
        let directives = filter(level).to_string();
        let named = directives.split(',').rfind(|directive| directive.starts_with(target));
        assert_eq!(named.is_some_and(|directive| !directive.ends_with("=off")), expected, "{level}: {directives}");
    }

    #[test]
    fn kube_is_silent_unless_it_is_named() {
        check_filter("info", "kube_client", false);
        check_filter("trace", "kube_runtime", false);
        check_filter("no = filter", "kube_client", false);
        check_filter("info,kube_client=debug", "kube_client", true);
    }

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

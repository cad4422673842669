//! `scope-http-requests top`: shows live what the running agent counts, over its plugin socket. EDGE.

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::watch;

use crate::commands::ask;
use crate::counting::overview::Overview;
use crate::counting::tick::TICK;
use crate::exit::Failure;
use crate::scope::plugin::socket_path;
use crate::settings::cli::Top;
use crate::settings::config::Reach;
use crate::shutdown::{self, Signals};
use crate::terminal::{self, When, lines};

/// After a tick there is nothing new for so long; asking earlier would only add to what the agent itself receives.
const REST: Duration = TICK.saturating_sub(POLL);
/// Between two questions whether there is a new tick by now.
const POLL: Duration = Duration::from_millis(100);

/// What is known of the running agent.
struct Attached {
    overview: Arc<Overview>,
    /// Why it does not answer, if it does not.
    trouble: Option<String>,
}

/// Shows until somebody quits, or as many ticks as asked for.
///
/// # Errors
///
/// No agent is there, or what is to be written to does not take it.
pub fn run(reach: &Reach, top: Top) -> Result<(), Failure> {
    let root = ask::served(&reach.plugins_root).to_owned();
    let first = first(&root)?;
    if !top.json && terminal::wanted(When::Auto) {
        return show(root, first, top, reach.colour);
    }
    match print(&root, first, &top, &mut io::stdout()) {
        Err(Ended::Unwritable(error)) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Io(format!("cannot write: {error}")))
        }
        Err(Ended::Unanswered(cause)) => Err(Failure::Unavailable(cause)),
        // Whoever closed the pipe has read enough.
        Ok(()) | Err(Ended::Unwritable(_)) => Ok(()),
    }
}

fn first(root: &Path) -> Result<Overview, Failure> {
    let none = |cause: String| {
        let socket = socket_path(root);
        Failure::Unavailable(if socket.exists() {
            cause
        } else {
            format!(
                "{cause}\nNo agent runs here, or its socket is elsewhere (--plugins-root). `scope-http-requests` alone counts and shows the same."
            )
        })
    };
    ask::overview(root, None).map_err(none).map(Option::unwrap_or_default)
}

fn show(root: PathBuf, first: Overview, top: Top, colour: bool) -> Result<(), Failure> {
    let (sender, source) = watch::channel(Attached { overview: Arc::new(first), trouble: None });
    // Ends with the process, or once nobody looks.
    thread::spawn(move || follow(&root, &sender));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Io(format!("cannot start: {error}")))?;
    let result = runtime.block_on(async {
        let (trigger, shutdown) = shutdown::channel();
        let mut signals = Signals::listen()?;
        tokio::spawn(async move {
            signals.received().await;
            trigger.pull();
        });
        let picture = |attached: &Attached| {
            let trouble = attached.trouble.as_ref().map(|cause| format!("the last that is known: {cause}"));
            (Arc::clone(&attached.overview), trouble.into_iter().collect())
        };
        terminal::run(source, picture, (top.controls, colour), shutdown).await
    });
    result.map_err(terminal::failed)
}

fn follow(root: &Path, sender: &watch::Sender<Attached>) {
    let mut pause = REST;
    while !sender.is_closed() {
        thread::sleep(pause);
        let known = sender.borrow().overview.sequence;
        let answer = ask::overview(root, Some(known));
        pause = if matches!(answer, Ok(None)) { POLL } else { REST };
        sender.send_if_modified(|attached| {
            let trouble = answer.as_ref().err().cloned();
            let changed = trouble != attached.trouble;
            attached.trouble = trouble;
            if let Ok(Some(overview)) = answer {
                attached.overview = Arc::new(overview);
                return true;
            }
            changed
        });
    }
}

/// Why lines end.
enum Ended {
    Unanswered(String),
    Unwritable(io::Error),
}

fn print(root: &Path, first: Overview, top: &Top, out: &mut impl Write) -> Result<(), Ended> {
    let mut write = |text: &str| out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Ended::Unwritable);
    let Top { controls, json, rows, ticks } = top;
    if !json {
        write(&lines::header(controls))?;
    }
    let (mut overview, mut printed) = (first, 0);
    loop {
        // Before its first tick the agent has nothing to show.
        if overview.sequence > 0 {
            let text = if *json { lines::json(&overview, controls) } else { lines::lines(&overview, controls, *rows) };
            write(&text)?;
            printed += 1;
            if ticks.is_some_and(|ticks| printed >= ticks) {
                return Ok(());
            }
        }
        overview = next(root, overview.sequence)?;
    }
}

/// Waits for the next tick.
fn next(root: &Path, known: u64) -> Result<Overview, Ended> {
    thread::sleep(REST);
    loop {
        if let Some(overview) = ask::overview(root, Some(known)).map_err(Ended::Unanswered)? {
            return Ok(overview);
        }
        thread::sleep(POLL);
    }
}

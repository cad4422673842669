//! The live table on a terminal. EDGE.

mod draw;
mod view;

use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::Backend;
use tokio::sync::{mpsc, watch};

pub use view::Facts;

use crate::config::When;
use crate::shutdown::Shutdown;
use crate::snapshot::Snapshot;
use crate::telemetry::HeldLines;
use view::View;

/// Keys that wait to be looked at; somebody who types faster waits.
const PENDING_KEYS: usize = 16;

/// What a person did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Quit,
    Redraw,
}

/// Whether the table is to be shown here.
#[must_use]
pub fn wanted(when: When) -> bool {
    match when {
        When::Always => true,
        When::Never => false,
        When::Auto => io::stdout().is_terminal() && io::stdin().is_terminal(),
    }
}

/// Shows the table until somebody quits or the agent ends; the terminal is left as it was found,
/// after a panic too.
///
/// # Errors
///
/// The terminal cannot be used.
pub async fn run(
    snapshots: watch::Receiver<Arc<Snapshot>>,
    facts: Facts,
    lines: HeldLines,
    shutdown: Shutdown,
) -> io::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let _restored = Restored;
    show(&mut terminal, snapshots, &facts, &lines, inputs(), shutdown).await.map_err(io::Error::other)
}

struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

async fn show<B: Backend>(
    terminal: &mut Terminal<B>,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    facts: &Facts,
    lines: &HeldLines,
    mut inputs: mpsc::Receiver<Input>,
    mut shutdown: Shutdown,
) -> Result<(), B::Error> {
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        terminal.draw(|frame| {
            let view = View::new(&snapshot, facts, lines.last(view::NOTICES), frame.area().height);
            draw::draw(frame, &view);
        })?;
        tokio::select! {
            () = shutdown.requested() => return Ok(()),
            changed = snapshots.changed() => if changed.is_err() { return Ok(()) },
            input = inputs.recv() => match input {
                Some(Input::Redraw) => {}
                Some(Input::Quit) | None => return Ok(()),
            },
        }
    }
}

/// Reading keys blocks, so it has a thread of its own; it ends with the process.
fn inputs() -> mpsc::Receiver<Input> {
    let (sender, receiver) = mpsc::channel(PENDING_KEYS);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if let Some(input) = meaning(&event)
                && sender.blocking_send(input).is_err()
            {
                return;
            }
        }
    });
    receiver
}

fn meaning(event: &Event) -> Option<Input> {
    match event {
        Event::Resize(..) => Some(Input::Redraw),
        Event::Key(KeyEvent { kind: KeyEventKind::Press, code, modifiers, .. }) => match code {
            KeyCode::Char('q' | 'Q') => Some(Input::Quit),
            KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Some(Input::Quit),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shutdown;
    use crate::snapshot::tests_support::{process, snapshot};
    use ratatui::backend::TestBackend;

    fn facts() -> Facts {
        Facts { probe: "probe".into(), socket: "socket".into(), colour: true }
    }

    #[track_caller]
    fn check(code: KeyCode, modifiers: KeyModifiers, expected: Option<Input>) {
        assert_eq!(meaning(&Event::Key(KeyEvent::new(code, modifiers))), expected);
    }

    #[test]
    fn keys() {
        check(KeyCode::Char('q'), KeyModifiers::NONE, Some(Input::Quit));
        check(KeyCode::Char('c'), KeyModifiers::CONTROL, Some(Input::Quit));
        check(KeyCode::Char('c'), KeyModifiers::NONE, None);
        check(KeyCode::Enter, KeyModifiers::NONE, None);
        assert_eq!(meaning(&Event::Resize(1, 1)), Some(Input::Redraw));
    }

    #[tokio::test]
    async fn it_redraws_at_each_tick_and_ends_when_asked() {
        let (sender, snapshots) = watch::channel(Arc::new(snapshot(vec![])));
        let (keys, inputs) = mpsc::channel(1);
        let (_trigger, shutdown) = shutdown::channel();
        let mut terminal = Terminal::new(TestBackend::new(80, 10)).unwrap();
        let task = tokio::spawn(async move {
            show(&mut terminal, snapshots, &facts(), &HeldLines::default(), inputs, shutdown).await.unwrap();
            terminal.backend().to_string()
        });
        tokio::task::yield_now().await;
        sender.send(Arc::new(snapshot(vec![process(42, &[1.0], 7)]))).unwrap();
        tokio::task::yield_now().await;
        keys.send(Input::Quit).await.unwrap();
        assert!(task.await.unwrap().contains("server-42"));
    }

    #[tokio::test]
    async fn it_ends_with_the_agent() {
        let (_sender, snapshots) = watch::channel(Arc::new(snapshot(vec![])));
        let (_keys, inputs) = mpsc::channel(1);
        let (trigger, shutdown) = shutdown::channel();
        trigger.pull();
        let mut terminal = Terminal::new(TestBackend::new(80, 10)).unwrap();
        show(&mut terminal, snapshots, &facts(), &HeldLines::default(), inputs, shutdown).await.unwrap();
    }
}

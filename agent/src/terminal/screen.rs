//! The live table on a terminal. EDGE.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use ratatui::Terminal;
use ratatui::backend::Backend;
use tokio::sync::{mpsc, watch};

use super::controls::{Controls, Outcome};
use super::view::View;
use super::{When, draw};
use crate::counting::overview::Overview;
use crate::exit::Failure;
use crate::shutdown::Shutdown;

/// Keys that wait to be looked at; somebody who types faster waits.
const PENDING_KEYS: usize = 16;

/// What `TERM` calls a terminal that can do nothing but print.
const DUMB: &str = "dumb";
/// A terminal says within this how large it is.
const SIZE_WITHIN: Duration = Duration::from_secs(1);
const SIZE_POLL: Duration = Duration::from_millis(20);
const NO_SIZE: &str = "the terminal says that it has no columns or no rows (`stty columns 80 rows 24` gives it some)";

/// What a person did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Key(KeyEvent),
    Redraw,
}

/// What is to be shown now: the last tick, and lines about it.
pub type Picture = (Arc<Overview>, Vec<String>);

/// Whether the table is to be shown here.
#[must_use]
pub fn wanted(when: When) -> bool {
    match when {
        When::Always => true,
        When::Never => false,
        When::Auto if !io::stdout().is_terminal() || !io::stdin().is_terminal() => false,
        When::Auto if std::env::var_os("TERM").is_some_and(|name| name == DUMB) => false,
        When::Auto if !has_size() => {
            // Where it cannot be said nobody can read it.
            let _ = writeln!(io::stderr(), "{NO_SIZE}: lines instead of the live table");
            false
        }
        When::Auto => true,
    }
}

/// Whether the terminal has columns and rows. `kubectl exec` tells them a moment after the start.
fn has_size() -> bool {
    let asked = Instant::now();
    loop {
        match crossterm::terminal::size() {
            Ok((0, _) | (_, 0)) if asked.elapsed() < SIZE_WITHIN => thread::sleep(SIZE_POLL),
            // Where it cannot be asked, drawing says why.
            size => return !matches!(size, Ok((0, _) | (_, 0))),
        }
    }
}

/// Shows what the source has until somebody quits or it is asked to end; the terminal is left as it was found,
/// after a panic too.
///
/// # Errors
///
/// The terminal cannot be used.
pub async fn run<T>(
    source: watch::Receiver<T>,
    picture: impl Fn(&T) -> Picture,
    (controls, colour): (Controls, bool),
    shutdown: Shutdown,
) -> io::Result<()> {
    if !has_size() {
        return Err(io::Error::other(NO_SIZE));
    }
    let mut terminal = ratatui::try_init()?;
    let _restored = Restored;
    show(&mut terminal, source, picture, (controls, colour), (inputs(), shutdown)).await.map_err(io::Error::other)
}

/// The terminal cannot be used.
pub fn failed(error: io::Error) -> Failure {
    Failure::Io(format!("cannot use the terminal: {error}; --no-terminal does without"))
}

struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

async fn show<B: Backend, T>(
    terminal: &mut Terminal<B>,
    mut source: watch::Receiver<T>,
    picture: impl Fn(&T) -> Picture,
    (mut controls, colour): (Controls, bool),
    (mut inputs, mut shutdown): (mpsc::Receiver<Input>, Shutdown),
) -> Result<(), B::Error> {
    let (mut overview, mut notices) = picture(&source.borrow_and_update());
    loop {
        terminal.draw(|frame| {
            let view = View::new(&overview, &controls, notices.clone(), (frame.area().height, colour));
            draw::draw(frame, &view);
            controls.offset = view.offset;
        })?;
        tokio::select! {
            () = shutdown.requested() => return Ok(()),
            changed = source.changed() => if changed.is_err() { return Ok(()) },
            input = inputs.recv() => match input {
                Some(Input::Redraw) => {}
                Some(Input::Key(key)) => if controls.press(key) == Outcome::Quit { return Ok(()) },
                None => return Ok(()),
            },
        }
        let (newest, said) = picture(&source.borrow_and_update());
        notices = said;
        if !controls.paused {
            overview = newest;
        }
    }
}

/// Reading keys blocks, so it has a thread of its own; it ends with the process.
fn inputs() -> mpsc::Receiver<Input> {
    let (sender, receiver) = mpsc::channel(PENDING_KEYS);
    thread::spawn(move || {
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
        Event::Key(key) if key.kind == KeyEventKind::Press => Some(Input::Key(*key)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counting::overview::Facts;
    use crate::counting::snapshot::tests_support::{process, snapshot};
    use crate::shutdown;
    use crossterm::event::{KeyCode, KeyModifiers};
    use ratatui::backend::TestBackend;

    fn overview(rates: &[f32]) -> Arc<Overview> {
        let processes = rates.iter().zip(42..).map(|(rate, pid)| process(pid, &[*rate], 7)).collect();
        Arc::new(Overview::new(&snapshot(processes), &Facts::default()))
    }

    fn key(letter: char) -> Input {
        Input::Key(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::NONE))
    }

    struct Shown {
        sender: watch::Sender<Arc<Overview>>,
        keys: mpsc::Sender<Input>,
        trigger: shutdown::Trigger,
        task: tokio::task::JoinHandle<String>,
    }

    fn shown() -> Shown {
        let (sender, source) = watch::channel(overview(&[]));
        let (keys, inputs) = mpsc::channel(1);
        let (trigger, shutdown) = shutdown::channel();
        let mut terminal = Terminal::new(TestBackend::new(80, 10)).unwrap();
        let task = tokio::spawn(async move {
            let picture = |overview: &Arc<Overview>| (Arc::clone(overview), vec!["a notice".to_owned()]);
            show(&mut terminal, source, picture, (Controls::default(), true), (inputs, shutdown)).await.unwrap();
            terminal.backend().to_string()
        });
        Shown { sender, keys, trigger, task }
    }

    impl Shown {
        /// Sends one after another, each once the one before was looked at.
        async fn press(&self, letters: &str) {
            for letter in letters.chars() {
                self.keys.send(key(letter)).await.unwrap();
                while self.keys.capacity() == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }

        async fn tick(&self, rates: &[f32]) {
            self.sender.send(overview(rates)).unwrap();
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn what_is_no_key_pressed_is_ignored() {
        let mut released = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
        assert_eq!(meaning(&Event::Key(released)), Some(Input::Key(released)));
        released.kind = KeyEventKind::Release;
        assert_eq!(meaning(&Event::Key(released)), None);
        assert_eq!(meaning(&Event::Resize(1, 1)), Some(Input::Redraw));
        assert_eq!(meaning(&Event::FocusLost), None);
    }

    #[tokio::test]
    async fn it_redraws_at_each_tick_and_ends_when_asked() {
        let shown = shown();
        tokio::task::yield_now().await;
        shown.tick(&[1.0]).await;
        shown.press("q").await;
        let screen = shown.task.await.unwrap();
        assert!(screen.contains("server-42") && screen.contains("a notice"), "{screen}");
    }

    #[tokio::test]
    async fn what_is_paused_stays_as_it_is() {
        let shown = shown();
        shown.tick(&[1.0]).await;
        shown.press(" ").await;
        shown.tick(&[1.0, 2.0]).await;
        shown.press("q").await;
        let screen = shown.task.await.unwrap();
        assert!(screen.contains("PAUSED") && screen.contains("server-42") && !screen.contains("server-43"), "{screen}");
    }

    #[tokio::test]
    async fn after_a_pause_the_newest_is_shown() {
        let shown = shown();
        shown.press(" ").await;
        shown.tick(&[1.0, 2.0]).await;
        shown.press(" q").await;
        let screen = shown.task.await.unwrap();
        assert!(!screen.contains("PAUSED") && screen.contains("server-43"), "{screen}");
    }

    #[tokio::test]
    async fn it_ends_with_the_agent() {
        let shown = shown();
        shown.trigger.pull();
        shown.task.await.unwrap();
    }
}

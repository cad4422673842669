//! The agent that serves already: what it started from, and what it would hand over. EDGE.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::process::getuid;

use super::finding::Finding;
use crate::scope::plugin::{PATH, Serving, connected, get, server_of};

const PATIENCE: Duration = Duration::from_secs(2);

/// What one with a probe of this layout would find.
pub(super) fn serving(check: &'static str, socket: &Path, layout: &str) -> Finding {
    let shown = socket.display();
    Finding::note(
        check,
        match ask(socket) {
            Ok(serving) => format!("an agent serves {shown}: {}", said(&serving, layout)),
            Err(error) => {
                format!(
                    "an agent serves {shown}: another one needs its own --plugins-root, or takes its place ({error})"
                )
            }
        },
    )
}

fn said(Serving { layout, started_from, handovers }: &Serving, own: &str) -> String {
    let then = if layout == own {
        "one that starts with these settings goes on with its counts"
    } else {
        "its probe is another one: one that starts with these settings takes its place, and counts start from nothing"
    };
    format!("started from {started_from}, handovers {handovers}; {then}")
}

fn ask(socket: &Path) -> io::Result<Serving> {
    let mut stream = UnixStream::from(connected(socket)?);
    let server = server_of(&stream)?.uid();
    if server != getuid().as_raw() {
        return Err(io::Error::other(format!("it is user {server}'s")));
    }
    stream.set_nonblocking(false)?;
    parsed(get(&mut stream, PATH, PATIENCE)?)
        .ok_or_else(|| io::Error::other("it does not tell what it would hand over"))
}

fn parsed((status, body): (u16, String)) -> Option<Serving> {
    if status == 200 { serde_json::from_str(&body).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_handed_over() {
        let answer = r#"{"layout":"a","started_from":"handover","handovers":3}"#;
        let serving = parsed((200, answer.to_owned())).expect("it is an answer");
        let goes_on = "started from handover, handovers 3; one that starts with these settings goes on with its counts";
        assert_eq!(said(&serving, "a"), goes_on);
        assert!(said(&serving, "b").ends_with("counts start from nothing"));
        assert!(parsed((426, answer.to_owned())).is_none());
        assert!(parsed((200, "what".to_owned())).is_none());
    }
}

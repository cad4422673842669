//! What each request on the plugin socket is answered with. EDGE.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body;
use hyper::ext::ReasonPhrase;
use hyper::header::ACCEPT_ENCODING;
use hyper::{Request, Response, StatusCode};

use super::pulse::Pulse;
use super::takers::Takers;
use crate::counting::overview;
use crate::health::Question;
use crate::http::encoding::takes_gzip;
use crate::http::serve::{in_gzip, of_type, refused, text};

/// Where answers come from.
pub trait Answers: Send + Sync {
    /// The report, or why there is none.
    ///
    /// # Errors
    ///
    /// One line for people.
    fn report(&self, asked: &Asked) -> Result<Report, String>;

    /// The last tick as the live table shows it, unless it is the one with this number.
    ///
    /// # Errors
    ///
    /// One line for people.
    fn overview(&self, _after: Option<u64>) -> Result<Option<Bytes>, String> {
        Err("nothing to show".to_owned())
    }

    /// One line that says what is wrong, if something is.
    fn complaint(&self, question: Question) -> Option<String>;

    /// One line of what else there is to know for whoever asks how the agent is.
    fn remark(&self) -> Option<String> {
        None
    }

    /// A Scope probe with this PID has asked for the first time: how it calls this host, if that can be told.
    fn scopes_host(&self, _pid: u32) -> Option<Arc<str>> {
        None
    }

    /// Where agents queue that want to go on with what is counted here.
    fn takers(&self) -> Option<&Takers> {
        None
    }

    /// A Scope probe has taken the whole of a report.
    fn taken(&self) {}

    /// A Scope probe has left before it had the whole of its report of so many nodes, so long after it had asked.
    fn abandoned(&self, _nodes: usize, _after: Duration) {}
}

/// What somebody who asks for a report needs.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Whether it may be in gzip.
    pub gzip: bool,
    /// The Scope probe that asks, if it is one.
    pub scope: Option<ScopeProbe>,
}

/// A Scope probe, and what it was told on the same connection.
#[derive(Clone, Debug, Default)]
pub struct ScopeProbe {
    /// How it calls this host.
    pub host: Option<Arc<str>>,
    /// Reports that it took.
    pub reports: u64,
    /// The number of the tick of the last one.
    pub tick: Option<u64>,
}

/// A report, in gzip if it was asked for.
#[derive(Clone, Debug)]
pub struct Report {
    /// As it is sent.
    pub bytes: Bytes,
    /// The number of the tick that it is on.
    pub tick: u64,
    /// Nodes of the topology that has most of them.
    pub nodes: usize,
    /// Nodes of all topologies that found no room.
    pub left_out: usize,
}

/// Instead of reports, the line that says why there are none.
///
/// Scope overwrites a report's status with "ok", but shows the reason phrase of any other answer.
pub struct Refusal(pub String);

impl Answers for Refusal {
    fn report(&self, _asked: &Asked) -> Result<Report, String> {
        Err(self.0.clone())
    }

    fn overview(&self, _after: Option<u64>) -> Result<Option<Bytes>, String> {
        Err(self.0.clone())
    }

    /// It is not restarted for this: it ends by itself.
    fn complaint(&self, question: Question) -> Option<String> {
        Pulse::new().complaint(question, Some(&self.0))
    }
}

/// The answer to anything but a report.
pub(super) fn answer<B: Body>(answers: &dyn Answers, request: &Request<B>) -> Option<Response<Full<Bytes>>> {
    let path = request.uri().path();
    let question = Question::at(path);
    if question.is_none() && !matches!(path, "/report" | overview::PATH) {
        let paths = "the paths are /report, /overview, /health/live and /health/ready\n";
        return Some(text(StatusCode::NOT_FOUND, paths));
    }
    if let Some(refusal) = refused(request.method()) {
        return Some(refusal);
    }
    if let Some(question) = question {
        return Some(match answers.complaint(question) {
            None => {
                text(StatusCode::OK, answers.remark().map_or_else(|| "ok\n".into(), |line| format!("ok\n{line}\n")))
            }
            Some(complaint) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{complaint}\n")),
        });
    }
    (path == overview::PATH).then(|| match answers.overview(after(request.uri().query())) {
        Ok(Some(overview)) => of_type("application/json", overview),
        Ok(None) => text(StatusCode::NO_CONTENT, ""),
        Err(cause) => refusal(&cause),
    })
}

/// Whether an answer may be in gzip.
pub(super) fn may_be_gzip<B>(request: &Request<B>) -> bool {
    let accepted = request.headers().get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    accepted.into_iter().any(takes_gzip)
}

pub(super) fn report(bytes: Bytes, is_gzip: bool) -> Response<Full<Bytes>> {
    let response = of_type("application/json", bytes);
    if is_gzip { in_gzip(response) } else { response }
}

/// The number of the tick that whoever asks has seen.
fn after(query: Option<&str>) -> Option<u64> {
    query?.split('&').find_map(|parameter| parameter.strip_prefix("after=")?.parse().ok())
}

pub(super) fn refusal(cause: &str) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, format!("{cause}\n"));
    let phrase = cure_first(cause).chars().map(|c| if c.is_ascii_graphic() { c } else { ' ' }).collect::<String>();
    if let Ok(phrase) = ReasonPhrase::try_from(phrase) {
        response.extensions_mut().insert(phrase);
    }
    response
}

/// What to do, then why: of the phrase Scope shows the first half of a line. A message has its cause first, up to a
/// colon that is in no parentheses.
fn cure_first(message: &str) -> String {
    let mut depth = 0_u32;
    let colon = message.char_indices().find(|(index, c)| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        *c == ':' && depth == 0 && message[index + 1..].starts_with(char::is_whitespace)
    });
    match colon.map(|(index, _)| (&message[..index], message[index + 1..].trim())) {
        Some((cause, cure)) if !cure.is_empty() => format!("{cure} ({cause})"),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, expected: &str) {
        assert_eq!(cure_first(message), expected);
    }

    #[test]
    fn what_to_do_comes_before_the_cause() {
        check(
            "this kernel has no BTF (/sys: No such file): use Linux 5.17",
            "use Linux 5.17 (this kernel has no BTF (/sys: No such file))",
        );
        check("refused (x): CAP_BPF missing; run as root", "CAP_BPF missing; run as root (refused (x))");
        for message in ["not counting", "at 10:30", "nothing: ", "(a: b", ""] {
            check(message, message);
        }
    }
}

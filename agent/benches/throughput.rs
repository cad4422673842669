//! What the agent costs a server: nginx under wrk in pairs of windows, with and without the agent.

use std::io;

use crate::Figures;
use crate::nginx::Nginx;
use crate::pairs::{self, Pair};
use crate::spread::Spread;
use crate::table::Figure;
use crate::wrk::Wrk;

const PAIRS: usize = 20;
const WINDOW_SECONDS: u64 = 1;

/// What was seen in one window.
struct Window {
    requests_per_second: f64,
    /// Microseconds of nginx's processor time.
    time_per_request: f64,
}

pub(crate) fn measure() -> Figures {
    let nginx = Nginx::start()?;
    let pairs = pairs::alternate(PAIRS, || window(&nginx))?;
    let figure = |name, unit, of: fn(&Pair<Window>) -> f64| Figure::new(name, unit, Spread::of(pairs.iter().map(of)));
    let paired = format!("{PAIRS} pairs");
    Ok(vec![
        figure("requests/s without", "1/s", |pair| pair.without.requests_per_second),
        figure("requests/s with", "1/s", |pair| pair.with.requests_per_second),
        figure("throughput lost, pair by pair", "%", |pair| {
            100.0 * (1.0 - pair.with.requests_per_second / pair.without.requests_per_second)
        })
        .at_most(1.0)
        .note(paired.as_str()),
        figure("nginx's CPU time a request without", "us", |pair| pair.without.time_per_request),
        figure("nginx's CPU time a request with", "us", |pair| pair.with.time_per_request),
        figure("CPU time added, pair by pair", "%", |pair| {
            100.0 * (pair.with.time_per_request / pair.without.time_per_request - 1.0)
        })
        .at_most(1.0)
        .note(paired.as_str()),
        figure("CPU time added, pair by pair", "ns", |pair| {
            1000.0 * (pair.with.time_per_request - pair.without.time_per_request)
        })
        .note("a request"),
    ])
}

fn window(nginx: &Nginx) -> io::Result<Window> {
    let before = nginx.time()?;
    let load = Wrk::start(&nginx.url(), WINDOW_SECONDS)?.finish()?;
    let time = nginx.time()? - before;
    Ok(Window {
        requests_per_second: load.per_second,
        time_per_request: time.as_secs_f64() * 1e6 / load.requests as f64,
    })
}

//! Serves the metrics over TCP. EDGE.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::ACCEPT;
use hyper::{Request, Response, StatusCode};
use tokio::net::{TcpListener, TcpStream};

use super::format::Format;
use crate::http::serve::{self, Limits, of_type, refused, text};
use crate::shutdown::Shutdown;

/// Anybody who reaches the address may ask: fewer connections than the plugin's socket has, but more time to take a
/// megabyte over a network.
pub const LIMITS: Limits = Limits { connections: 32, write: Duration::from_secs(10), ..Limits::DEFAULT };

/// Gives the metrics as they are.
pub type Render = dyn Fn(Format) -> String + Send + Sync;

const INDEX: &str = include_str!("index.html");

/// Listens at the address.
///
/// # Errors
///
/// One line for people.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    let failed =
        |error: io::Error| format!("cannot serve metrics at {address}: {error}; choose another --metrics-address");
    TcpListener::bind(address).await.map_err(failed)
}

/// Serves until shutdown.
pub async fn serve(listener: TcpListener, limits: Limits, shutdown: Shutdown, render: Arc<Render>) {
    serve::serve(listener, limits, shutdown, |_: &TcpStream| {
        let render = Arc::clone(&render);
        move |request: &_| answer(&*render, request)
    })
    .await;
}

fn answer<B>(render: &Render, request: &Request<B>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if !matches!(path, "/" | "/metrics") {
        return text(StatusCode::NOT_FOUND, "the paths are / and /metrics\n");
    }
    if let Some(refusal) = refused(request.method()) {
        return refusal;
    }
    if path == "/" {
        return of_type("text/html; charset=utf-8", INDEX);
    }
    let accepted = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::of(&accepted.collect::<Vec<_>>().join(","));
    of_type(format.content_type(), render(format))
}

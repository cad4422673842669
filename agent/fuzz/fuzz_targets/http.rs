//! Bytes of a client of the plugin socket or of the metrics: it gets well-formed answers, and the server ends.
#![no_main]

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use agent::http::serve::{Limits, Listener, serve, text};
use agent::shutdown;
use hyper::StatusCode;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::Mutex;

/// Accepts one connection, and then none.
struct One(Mutex<Option<DuplexStream>>);

impl Listener for One {
    type Stream = DuplexStream;

    async fn next(&self) -> io::Result<(DuplexStream, Option<IpAddr>)> {
        match self.0.lock().await.take() {
            Some(stream) => Ok((stream, None)),
            None => std::future::pending().await,
        }
    }
}

const LIMITS: Limits = Limits {
    connections: 4,
    share: 4,
    head: Duration::from_secs(1),
    write: Duration::from_secs(1),
    drain: Duration::from_secs(1),
};

async fn exchange(data: &[u8]) -> Vec<u8> {
    let (mut client, server) = duplex(1 << 20);
    let (trigger, shutdown) = shutdown::channel();
    let listener = One(Mutex::new(Some(server)));
    let serving = tokio::spawn(serve(listener, LIMITS, shutdown, |_: &DuplexStream| {
        |_: &_| text(StatusCode::OK, "well".to_owned())
    }));
    let mut answers = Vec::new();
    client.write_all(data).await.expect("there is room");
    client.shutdown().await.expect("it is open");
    client.read_to_end(&mut answers).await.expect("the server closes");
    trigger.pull();
    serving.await.expect("the server does not panic");
    answers
}

fuzz_target!(|data: &[u8]| {
    let data = &data[..data.len().min(1 << 19)];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let answers = runtime.expect("it starts").block_on(exchange(data));
    assert!(answers.is_empty() || answers.starts_with(b"HTTP/1."), "{answers:?}");
});

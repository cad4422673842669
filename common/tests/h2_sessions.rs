//! Sessions that the `h2` crate speaks, recorded on the wire and read back: as many requests as its
//! server accepted, however the bytes are cut.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use common::replay::Replay;
use h2::{client, server};
use http::{HeaderMap, Request, Response};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// Remembers what is written.
struct Recorder {
    inner: DuplexStream,
    written: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Recorder {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for Recorder {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = result {
            self.written.lock().expect("no writer panics").extend(&bytes[..count]);
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[derive(Clone, Debug)]
struct Call {
    body: Vec<u8>,
    fields: usize,
    trailers: bool,
}

fn call() -> impl Strategy<Value = Call> {
    (vec(any::<u8>(), 0..3000), 0..400_usize, any::<bool>()).prop_map(|(body, fields, trailers)| Call {
        body,
        fields,
        trailers,
    })
}

/// Serves until the client goes; returns how many requests came.
async fn serve(stream: DuplexStream) -> Result<u64, h2::Error> {
    let mut connection = server::handshake(stream).await?;
    let mut requests = 0;
    while let Some(accepted) = connection.accept().await {
        let (request, mut respond) = accepted?;
        requests += 1;
        tokio::spawn(async move {
            let mut body = request.into_body();
            while let Some(Ok(data)) = body.data().await {
                let _ = body.flow_control().release_capacity(data.len());
            }
            respond.send_response(Response::new(()), true)
        });
    }
    Ok(requests)
}

async fn speak(stream: Recorder, calls: Vec<Call>) -> Result<(), h2::Error> {
    let (mut client, connection) = client::handshake(stream).await?;
    let connection = tokio::spawn(connection);
    let mut answers = Vec::new();
    for call in calls {
        client = client.ready().await?;
        let mut request = Request::post("http://a.example/GET/HTTP");
        for index in 0..call.fields {
            request = request.header(format!("field-{index}"), "GET / HTTP/1.1");
        }
        let (answer, mut body) = client.send_request(request.body(()).expect("a valid request"), false)?;
        body.send_data(call.body.into(), !call.trailers)?;
        if call.trailers {
            body.send_trailers(HeaderMap::new())?;
        }
        answers.push(answer);
    }
    for answer in answers {
        answer.await?;
    }
    drop(client);
    // How the session closes is not what is tested here.
    let _ = connection.await;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn as_many_as_the_server_accepted(calls in vec(call(), 1..20), size in 1..2000_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let expected = calls.len() as u64;
        let (accepted, written) = runtime.block_on(async {
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            let written = Arc::new(Mutex::new(Vec::new()));
            let recorder = Recorder { inner: ours, written: Arc::clone(&written) };
            let (accepted, spoken) = tokio::join!(serve(theirs), speak(recorder, calls));
            spoken.unwrap();
            (accepted.unwrap(), std::mem::take(&mut *written.lock().unwrap()))
        });
        prop_assert_eq!(accepted, expected);
        let mut replay = Replay::<1024>::default();
        for read in written.chunks(size) {
            replay.read(read);
        }
        prop_assert_eq!(replay.requests, [0, 0, expected]);
        prop_assert_eq!(replay.failure, None);
    }
}

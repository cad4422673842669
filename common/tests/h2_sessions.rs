//! Sessions that the `h2` crate speaks, recorded on the wire and read back: as many requests as its
//! server accepted, however the bytes are cut.

#[path = "support/recorder.rs"]
mod recorder;

use std::sync::{Arc, Mutex};

use common::method::Method as Told;
use common::replay::Replay;
use h2::{client, server};
use http::{HeaderMap, Method, Request, Response};
use proptest::collection::vec;
use proptest::prelude::*;
use recorder::Recorder;
use tokio::io::DuplexStream;

/// What is asked, and which of it is told. GET and POST always are.
const METHODS: [(&str, Told); 10] = [
    ("GET", Told::Get),
    ("POST", Told::Post),
    ("HEAD", Told::Head),
    ("PUT", Told::Put),
    ("DELETE", Told::Delete),
    ("OPTIONS", Told::Options),
    ("TRACE", Told::Trace),
    ("PATCH", Told::Patch),
    ("QUERY", Told::Query),
    ("PROPFIND", Told::Other),
];

#[derive(Clone, Debug)]
struct Call {
    method: Method,
    body: Vec<u8>,
    fields: usize,
    trailers: bool,
}

fn call() -> impl Strategy<Value = Call> {
    let method = prop::sample::select(METHODS.map(|(name, _)| name).to_vec());
    let method = method.prop_map(|name| Method::from_bytes(name.as_bytes()).expect("a token"));
    (method, vec(any::<u8>(), 0..3000), 0..400_usize, any::<bool>()).prop_map(|(method, body, fields, trailers)| Call {
        method,
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
        let mut request = Request::builder().method(call.method).uri("http://a.example/GET/HTTP");
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
        let asked = METHODS.map(|(name, _)| calls.iter().filter(|call| call.method == name).count() as u64);
        let (accepted, written) = runtime.block_on(async {
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            let written = Arc::new(Mutex::new(Vec::new()));
            let recorder = Recorder::new(ours, Arc::clone(&written));
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
        let told = |methods: [u64; 16]| METHODS.map(|(_, method)| methods[method as usize]);
        prop_assert!(told(replay.methods).iter().zip(asked).all(|(told, asked)| *told <= asked));
        prop_assert_eq!(told(replay.methods).iter().sum::<u64>() + replay.methods[Told::Unknown as usize], expected);
        // In one read nothing cuts a header block from its frame. All that the fixed table has is known, and of another method the
        // first on the connection: later ones refer to it, as long as it is in the table.
        let mut whole = Replay::<1024>::default();
        whole.read(&written);
        for (index, (told, asked)) in told(whole.methods).into_iter().zip(asked).enumerate() {
            let least = if index < 2 { asked } else { asked.min(1) };
            prop_assert!((least..=asked).contains(&told), "{:?}: {told} of {asked}", METHODS[index]);
        }
    }
}

//! Responses that the `h2` crate's server sends, recorded on the wire: as many of each status as its client understood.

use std::io::Cursor;
use std::sync::{Arc, Mutex};

use common::exchange::{Answer, Asked};
use common::method::Method;
use common::replay_responses::Responses;
use h2::{client, server};
use http::{HeaderMap, Request, Response};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::DuplexStream;

use crate::recorder::Recorder;

#[derive(Clone, Debug)]
struct Reply {
    status: u16,
    /// Values of fields that the table takes, or is too small for.
    fields: Vec<usize>,
    body: usize,
    trailers: bool,
}

fn reply() -> impl Strategy<Value = Reply> {
    let status = prop_oneof![Just(200_u16), Just(404), 201..=599_u16];
    let field = prop_oneof![0..40_usize, 0..300_usize, Just(5000_usize)];
    (status, vec(field, 0..30), 0..3000_usize, any::<bool>()).prop_map(|(status, fields, body, trailers)| Reply {
        status,
        fields,
        body,
        trailers,
    })
}

async fn serve(stream: Recorder, replies: Vec<Reply>) -> Result<(), h2::Error> {
    let mut connection = server::handshake(stream).await?;
    let mut replies = replies.into_iter();
    while let Some(accepted) = connection.accept().await {
        let (_, mut respond) = accepted?;
        let Some(reply) = replies.next() else { continue };
        let mut response = Response::builder().status(reply.status);
        for (index, length) in reply.fields.iter().enumerate() {
            response = response.header(format!("field-{}", (index + length) % 50), "v".repeat(*length));
        }
        let response = response.body(()).expect("a valid response");
        if reply.body == 0 && !reply.trailers {
            respond.send_response(response, true)?;
            continue;
        }
        let mut body = respond.send_response(response, false)?;
        body.send_data(vec![b'x'; reply.body].into(), !reply.trailers)?;
        if reply.trailers {
            let fields = [("grpc-status", "0"), ("grpc-message", "ok")];
            let fields = fields.map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
            body.send_trailers(HeaderMap::from_iter(fields))?;
        }
    }
    Ok(())
}

async fn ask(stream: DuplexStream, count: usize, table: u32) -> Result<Vec<u32>, h2::Error> {
    let (mut client, connection) =
        client::Builder::new().header_table_size(table).handshake::<_, Cursor<Vec<u8>>>(stream).await?;
    let connection = tokio::spawn(connection);
    let mut statuses = Vec::new();
    for _ in 0..count {
        client = client.ready().await?;
        let request = Request::get("http://a.example/").body(()).expect("a valid request");
        let (answer, _) = client.send_request(request, true)?;
        let answer = answer.await?;
        statuses.push(u32::from(answer.status().as_u16()));
        let mut body = answer.into_body();
        while let Some(data) = body.data().await {
            body.flow_control().release_capacity(data?.len())?;
        }
        body.trailers().await?;
    }
    drop(client);
    let _ = connection.await;
    Ok(statuses)
}

const METHODS: [Method; 3] = [Method::Get, Method::Unknown, Method::Post];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn as_many_as_the_client_understood(replies in vec(reply(), 1..40), size in 1..2000_usize, table in prop_oneof![Just(4096_u32), Just(0), Just(64), Just(256), Just(65536)]) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (understood, written) = runtime.block_on(async {
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            let written = Arc::new(Mutex::new(Vec::new()));
            let recorder = Recorder::new(theirs, Arc::clone(&written));
            let count = replies.len();
            let (served, understood) = tokio::join!(serve(recorder, replies), ask(ours, count, table));
            served.unwrap();
            (understood.unwrap(), std::mem::take(&mut *written.lock().unwrap()))
        });
        let mut responses = Responses::<1024>::default();
        for index in 0..understood.len() as u32 {
            responses.open(2 * index + 1, Asked::http_2(METHODS[index as usize % METHODS.len()] as u8), 1);
        }
        let mut found = Vec::new();
        let mut asked = Vec::new();
        for send in written.chunks(size) {
            responses.send(send, &mut |answer: Answer| {
                found.push(answer.status);
                asked.push(answer.asked.method());
            });
        }
        prop_assert!(asked.iter().zip(METHODS.iter().cycle()).all(|(asked, method)| asked == method), "{asked:?}");
        prop_assert_eq!(found.len(), understood.len());
        prop_assert_eq!((responses.lost, responses.unanswered), (0, 0));
        // One by one, so in the same order: each is right, or not known.
        let untold = found.iter().filter(|status| **status == common::exchange::UNTOLD).count();
        let wrong = found.iter().zip(&understood).any(|(found, understood)| found != understood && *found != common::exchange::UNTOLD);
        prop_assert!(!wrong, "{found:?} {understood:?}");
        if table == 4096 || table == 65536 {
            prop_assert!(untold <= found.len() / 2, "{untold} of {} not known", found.len());
        }
    }
}

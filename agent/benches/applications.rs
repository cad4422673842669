//! What the agent costs servers for which counting is pure loss: large bodies, and what is no HTTP.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::Figures;
use crate::nginx::Nginx;
use crate::pairs::{self, Pair};
use crate::redis::Redis;
use crate::spread::Spread;
use crate::table::Figure;

const PAIRS: usize = 20;
const UPLOADS: u32 = 1000;
const BODY_BYTES: usize = 1 << 20;
const REDIS_REQUESTS: u32 = 60_000;
const BULK_BYTES: u64 = 1 << 31;
/// Of one send, and of one receive.
const BULK_BUFFER_BYTES: usize = 128 << 10;

pub(crate) fn measure() -> Figures {
    let nginx = Nginx::start()?;
    let bodies = pairs::alternate(PAIRS, || {
        let before = nginx.time()?;
        post(nginx.address(), UPLOADS)?;
        Ok((nginx.time()? - before).as_secs_f64() * 1e6 / f64::from(UPLOADS))
    })?;
    drop(nginx);

    let redis = Redis::start()?;
    let commands =
        pairs::alternate(PAIRS, || Ok(redis.answer(REDIS_REQUESTS)?.as_secs_f64() * 1e6 / f64::from(REDIS_REQUESTS)))?;
    drop(redis);

    let bulk = pairs::alternate(PAIRS, || {
        Ok(transfer(BULK_BYTES)?.as_secs_f64() * 1e3 / (BULK_BYTES as f64 / f64::from(1 << 30)))
    })?;

    Ok([
        figures("nginx, 1 MiB POST", "us", &bodies),
        figures("Redis, GET", "us", &commands),
        figures("bulk TCP, the receiver, 1 GiB", "ms", &bulk),
    ]
    .into_iter()
    .flatten()
    .collect())
}

fn figures(name: &str, unit: &'static str, pairs: &[Pair<f64>]) -> [Figure; 3] {
    let figure = |what: &str, unit, of: fn(&Pair<f64>) -> f64| {
        Figure::new(format!("{name}: {what}"), unit, Spread::of(pairs.iter().map(of)))
    };
    [
        figure("without", unit, |pair| pair.without),
        figure("with", unit, |pair| pair.with),
        figure("added, pair by pair", "%", |pair| 100.0 * (pair.with / pair.without - 1.0))
            .at_most(1.0)
            .note(format!("{} pairs", pairs.len())),
    ]
}

/// Posts so many bodies over one connection, one after another.
fn post(address: SocketAddr, uploads: u32) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let head = format!("POST / HTTP/1.1\r\nHost: bench\r\nContent-Length: {BODY_BYTES}\r\n\r\n");
    let request = [head.as_bytes(), &vec![b'x'; BODY_BYTES]].concat();
    let mut answer = [0; 4096];
    for _ in 0..uploads {
        stream.write_all(&request)?;
        // An empty 200, which fits in one read.
        let length = stream.read(&mut answer)?;
        if !answer[..length].starts_with(b"HTTP/1.1 200") {
            return Err(io::Error::other("nginx refuses the body"));
        }
    }
    Ok(())
}

/// Sends so many bytes over loopback, and returns the receiving thread's processor time.
fn transfer(bytes: u64) -> io::Result<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    let receiver = thread::spawn(move || -> io::Result<Duration> {
        let mut buffer = vec![0; BULK_BUFFER_BYTES];
        while server.read(&mut buffer)? > 0 {}
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Ok(Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32))
    });
    let buffer = vec![b'x'; BULK_BUFFER_BYTES];
    for _ in 0..bytes / BULK_BUFFER_BYTES as u64 {
        client.write_all(&buffer)?;
    }
    drop(client);
    receiver.join().expect("the receiver does not panic")
}

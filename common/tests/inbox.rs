//! Who reads requests and who reads responses, at one inbox at the same time: whatever step comes before which, each request is taken once,
//! in its order, with its time. The steps are the probe's (`probe-ebpf/src/answers/inbox.rs`), between which it orders what it writes.

use common::exchange::{Asked, Exchange, Handed, Inbox, Queue};

/// So many requests are read, while it is looked twice for some.
const REQUESTS: u32 = 4;
const LOOKS: u32 = 2;
const TIME_NS: u64 = 1_000_001;
/// Their number begins again meanwhile.
const BEGUN: u32 = u32::MAX - 1;

/// Who reads requests is about to.
#[derive(Clone, Copy)]
enum Reading {
    Look,
    Write,
    Push,
    Leave,
}

#[derive(Clone, Copy)]
struct Reader {
    reading: Reading,
    read: u32,
}

impl Reader {
    fn step<T: Copy + Default>(&mut self, inbox: &mut Inbox<T, 2>, request: fn(u32) -> T) {
        let (reading, read) = match self.reading {
            Reading::Look => (if inbox.keeps() { Reading::Write } else { Reading::Leave }, 0),
            Reading::Write => {
                inbox.write(request(self.read), time_ns(self.read));
                (Reading::Push, 0)
            }
            Reading::Push => {
                inbox.pushed = inbox.pushed.wrapping_add(1);
                (Reading::Look, 1)
            }
            Reading::Leave => {
                inbox.unkept += 1;
                (Reading::Look, 1)
            }
        };
        self.reading = reading;
        self.read += read;
    }
}

/// Who follows responses, and what both have.
trait Follower: Copy {
    fn read(&mut self, reader: &mut Reader);
    fn step(&mut self);
    fn progress(&self) -> Progress;
    fn is_idle(&self) -> bool;
}

/// How far who follows responses is.
#[derive(Clone, Copy, Default)]
struct Progress {
    looks: u32,
    /// Requests that were taken or taken note of.
    taken: u32,
}

/// Every order of what is left of both; returns how many there are.
fn go_on<F: Follower>(reader: Reader, follower: F) -> u64 {
    let (reads, looks) = (reader.read < REQUESTS, follower.progress().looks < LOOKS);
    let mut orders = 0;
    if reads {
        let (mut reader, mut follower) = (reader, follower);
        follower.read(&mut reader);
        orders += go_on(reader, follower);
    }
    if looks {
        let mut follower = follower;
        follower.step();
        orders += go_on(reader, follower);
    }
    if reads || looks {
        return orders;
    }
    let mut last = follower;
    for _ in 0..10 * REQUESTS {
        if last.progress().taken < REQUESTS || !last.is_idle() {
            last.step();
        }
    }
    assert_eq!((last.progress().taken, last.is_idle()), (REQUESTS, true));
    1
}

const fn time_ns(request: u32) -> u64 {
    TIME_NS * (1 + request as u64)
}

#[track_caller]
fn check_time(request: u32, came_ns: u64) {
    let early = time_ns(request).checked_sub(came_ns);
    assert!(early.is_some_and(|early| early < 1024), "{request} came at {came_ns}");
}

#[track_caller]
fn check_every_order(follower: impl Follower) {
    let orders = go_on(Reader { reading: Reading::Look, read: 0 }, follower);
    assert!(orders > 100_000, "{orders}");
}

/// Who takes requests of HTTP/2 is about to, having seen so many unkept, and of so many kept having taken some.
#[derive(Clone, Copy)]
enum Taking {
    AskUnkept,
    AskKept { unkept: u32 },
    Take { unkept: u32, kept: u32, done: u32 },
    GiveUnkept { unkept: u32, kept: u32 },
    GiveKept { kept: u32 },
}

#[derive(Clone, Copy)]
struct Http2 {
    inbox: Inbox<u32, 2>,
    taking: Taking,
    progress: Progress,
}

impl Follower for Http2 {
    fn read(&mut self, reader: &mut Reader) {
        reader.step(&mut self.inbox, |request| request);
    }

    fn step(&mut self) {
        let inbox = &mut self.inbox;
        self.taking = match self.taking {
            Taking::AskUnkept => Taking::AskKept { unkept: inbox.unkept },
            Taking::AskKept { unkept } => match inbox.kept() {
                0 => Taking::GiveUnkept { unkept, kept: 0 },
                kept => Taking::Take { unkept, kept, done: 0 },
            },
            Taking::Take { unkept, kept, done } => {
                let (request, came_ns) = inbox.read(inbox.taken.wrapping_add(done));
                assert_eq!(request, self.progress.taken);
                check_time(request, came_ns);
                self.progress.taken += 1;
                let done = done + 1;
                if done < kept { Taking::Take { unkept, kept, done } } else { Taking::GiveUnkept { unkept, kept } }
            }
            Taking::GiveUnkept { unkept, kept } => {
                self.progress.taken += unkept;
                inbox.unkept -= unkept;
                Taking::GiveKept { kept }
            }
            Taking::GiveKept { kept } => {
                inbox.taken = inbox.taken.wrapping_add(kept);
                self.progress.looks += 1;
                Taking::AskUnkept
            }
        };
    }

    fn progress(&self) -> Progress {
        self.progress
    }

    fn is_idle(&self) -> bool {
        self.inbox.is_idle()
    }
}

#[test]
fn every_order_of_two_sides() {
    let mut inbox = Inbox::default();
    (inbox.pushed, inbox.taken) = (BEGUN, BEGUN);
    check_every_order(Http2 { inbox, taking: Taking::AskUnkept, progress: Progress::default() });
}

/// Who answers requests of HTTP/1 is about to.
#[derive(Clone, Copy)]
enum Answering {
    TakeOver,
    /// All that came until then are answered, or none of them will be.
    Answer,
    Give,
    GiveUnkept {
        kept: u32,
        unkept: u32,
    },
    GiveKept {
        kept: u32,
    },
}

#[derive(Clone, Copy)]
struct Http1 {
    exchange: Exchange<Handed<2>>,
    answering: Answering,
    /// How many are answered at a look; none: they are given up.
    answers: u32,
    read: u32,
    came: u32,
    progress: Progress,
}

impl Http1 {
    fn answer(&mut self) -> Answering {
        if self.answers == 0 {
            self.progress.taken += self.exchange.waiting.clear();
            return Answering::Give;
        }
        for _ in 0..self.answers {
            if self.progress.taken >= self.came {
                break;
            }
            let next = self.exchange.waiting.next();
            let taken = self.exchange.waiting.take().expect("one waits");
            if let Some(next) = next {
                assert_eq!((next, taken.asked), (asked(self.progress.taken), asked(self.progress.taken)));
                check_time(self.progress.taken, taken.started_ns);
            } else {
                assert_eq!((taken.asked, taken.started_ns), (Asked::HTTP_1, 0));
            }
            self.progress.taken += 1;
        }
        Answering::Give
    }
}

const fn asked(request: u32) -> Asked {
    Asked::from_number(request as u8)
}

impl Follower for Http1 {
    fn read(&mut self, reader: &mut Reader) {
        reader.step(&mut self.exchange.waiting.inbox, asked);
        self.read = reader.read;
    }

    fn step(&mut self) {
        let exchange = &mut self.exchange;
        self.answering = match self.answering {
            Answering::TakeOver => {
                self.came = self.read;
                assert_eq!(exchange.take_over(exchange.waiting.inbox.kept(), 0), 0);
                Answering::Answer
            }
            Answering::Answer => self.answer(),
            Answering::Give => {
                let (kept, unkept) = exchange.waiting.done();
                Answering::GiveUnkept { kept, unkept }
            }
            Answering::GiveUnkept { kept, unkept } => {
                exchange.waiting.inbox.unkept -= unkept;
                Answering::GiveKept { kept }
            }
            Answering::GiveKept { kept } => {
                let inbox = &mut exchange.waiting.inbox;
                inbox.taken = inbox.taken.wrapping_add(kept);
                self.progress.looks += 1;
                Answering::TakeOver
            }
        };
    }

    fn progress(&self) -> Progress {
        self.progress
    }

    fn is_idle(&self) -> bool {
        self.exchange.waiting.is_empty() && self.exchange.waiting.len() == 0
    }
}

#[test]
fn every_order_of_two_sides_where_requests_wait_until_they_are_answered() {
    for answers in [0, 1, 2, REQUESTS] {
        let mut exchange = Exchange::<Handed<2>>::default();
        let inbox = &mut exchange.waiting.inbox;
        (inbox.pushed, inbox.taken) = (BEGUN, BEGUN);
        check_every_order(Http1 {
            exchange,
            answering: Answering::TakeOver,
            answers,
            read: 0,
            came: 0,
            progress: Progress::default(),
        });
    }
}

//! Who reads requests and who reads responses, at one inbox at the same time: whatever step comes before which, each request is taken once,
//! in its order, with its time. The steps are the probe's (`probe-ebpf/src/answers/inbox.rs`), between which it orders what it writes.

use common::exchange::Inbox;

/// So many requests are read, while it is looked twice for some.
const REQUESTS: u32 = 4;
const TAKES: u32 = 2;
const TIME_NS: u64 = 1_000_001;

/// Who reads requests is about to.
#[derive(Clone, Copy)]
enum Reading {
    Look,
    Write,
    Push,
    Leave,
}

/// Who reads responses is about to, having seen so many unkept, and of so many kept having taken some.
#[derive(Clone, Copy)]
enum Taking {
    AskUnkept,
    AskKept { unkept: u32 },
    Take { unkept: u32, kept: u32, done: u32 },
    GiveUnkept { unkept: u32, kept: u32 },
    GiveKept { kept: u32 },
}

#[derive(Clone, Copy)]
struct Sides {
    inbox: Inbox<2>,
    reading: Reading,
    read: u32,
    taking: Taking,
    takes: u32,
    /// Requests that were taken or taken note of.
    taken: u32,
}

impl Sides {
    /// One step of who reads requests.
    fn read(&mut self) {
        let inbox = &mut self.inbox;
        let (reading, read) = match self.reading {
            Reading::Look => (if inbox.keeps() { Reading::Write } else { Reading::Leave }, 0),
            Reading::Write => {
                inbox.write(self.read, time_ns(self.read));
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

    /// One step of who reads responses.
    fn take(&mut self) {
        let inbox = &mut self.inbox;
        self.taking = match self.taking {
            Taking::AskUnkept => Taking::AskKept { unkept: inbox.unkept },
            Taking::AskKept { unkept } => match inbox.kept() {
                0 => Taking::GiveUnkept { unkept, kept: 0 },
                kept => Taking::Take { unkept, kept, done: 0 },
            },
            Taking::Take { unkept, kept, done } => {
                let (request, came_ns) = inbox.read(inbox.taken.wrapping_add(done));
                assert_eq!(request, self.taken);
                let early = time_ns(request).checked_sub(came_ns);
                assert!(early.is_some_and(|early| early < 1024), "{request} came at {came_ns}");
                self.taken += 1;
                let done = done + 1;
                if done < kept { Taking::Take { unkept, kept, done } } else { Taking::GiveUnkept { unkept, kept } }
            }
            Taking::GiveUnkept { unkept, kept } => {
                self.taken += unkept;
                inbox.unkept -= unkept;
                Taking::GiveKept { kept }
            }
            Taking::GiveKept { kept } => {
                inbox.taken = inbox.taken.wrapping_add(kept);
                self.takes += 1;
                Taking::AskUnkept
            }
        };
    }

    /// Every order of what is left of both; returns how many there are.
    fn go_on(self) -> u64 {
        let (reads, takes) = (self.read < REQUESTS, self.takes < TAKES);
        let mut orders = 0;
        if reads {
            let mut next = self;
            next.read();
            orders += next.go_on();
        }
        if takes {
            let mut next = self;
            next.take();
            orders += next.go_on();
        }
        if reads || takes {
            return orders;
        }
        let mut last = self;
        while last.takes == TAKES {
            last.take();
        }
        assert_eq!((last.taken, last.inbox.kept(), last.inbox.unkept), (REQUESTS, 0, 0));
        1
    }
}

const fn time_ns(request: u32) -> u64 {
    TIME_NS * (1 + request as u64)
}

#[test]
fn every_order_of_two_sides() {
    let mut inbox = Inbox::default();
    // Their number begins again meanwhile.
    inbox.pushed = u32::MAX - 1;
    inbox.taken = inbox.pushed;
    let sides = Sides { inbox, reading: Reading::Look, read: 0, taking: Taking::AskUnkept, takes: 0, taken: 0 };
    let orders = sides.go_on();
    assert!(orders > 100_000, "{orders}");
}

//! Runs the machine over the responses of a connection, which are at hand and are cut into sends, as [`crate::replay`] does over
//! requests. PURE.

use crate::exchange::{Answer, Asked, Displaced, Exchange, KEPT, Streams};
use crate::machine::Read;
use crate::replay::Slice;
use crate::stream::Phase;

/// Streams that can be displaced without being mixed up.
const DISPLACED: usize = 1 << 10;

/// A connection whose responses are being sent. Windows hold at most `CAPACITY` bytes.
#[derive(Clone, Copy, Debug)]
pub struct Responses<const CAPACITY: u32> {
    /// What waits, and where the responses stand.
    pub exchange: Exchange,
    /// The same of HTTP/2.
    pub streams: Streams,
    /// How much was sent.
    pub sent: u32,
    /// Requests whose responses will not be known.
    pub lost: u32,
    /// Requests that go without an answer.
    pub unanswered: u32,
    /// However many turns a send takes.
    pub unbounded: bool,
    slack: u8,
    /// Streams that had to make room: the kernel side has a map for them.
    displaced: [Displaced; DISPLACED],
}

impl<const CAPACITY: u32> Default for Responses<CAPACITY> {
    fn default() -> Self {
        Self {
            exchange: Exchange::default(),
            streams: Streams::default(),
            sent: 0,
            lost: 0,
            unanswered: 0,
            unbounded: false,
            slack: 0,
            displaced: [Displaced::default(); DISPLACED],
        }
    }
}

impl<const CAPACITY: u32> Responses<CAPACITY> {
    /// Behind a window's end, the machine sees this; a send takes as many turns as it needs.
    #[must_use]
    pub fn with_slack(slack: u8) -> Self {
        Self { slack, unbounded: true, ..Self::default() }
    }

    /// A request of HTTP/1 has come.
    pub fn expect(&mut self, asked: Asked, now_ns: u64) {
        let known = self.exchange.expect(asked, now_ns, self.sent);
        self.lost += u32::from(!known);
    }

    /// A request of HTTP/2 has opened a stream.
    pub fn open(&mut self, id: u32, asked: Asked, now_ns: u64) {
        self.exchange.expect_frames(self.sent);
        let displaced = self.streams.open(id, asked, now_ns);
        if displaced.id != 0 {
            *self.displaced(displaced.id) = displaced;
        }
    }

    /// The place of a stream that is not kept with the connection.
    fn displaced(&mut self, id: u32) -> &mut Displaced {
        &mut self.displaced[(id >> 1) as usize % DISPLACED]
    }

    /// Sends the stream's next bytes; `found` is given what is complete.
    pub fn send(&mut self, bytes: &[u8], found: &mut dyn FnMut(Answer)) {
        let (position, length) = (self.sent, bytes.len() as u32);
        self.sent = position.wrapping_add(length);
        self.sends(position, bytes, found);
    }

    /// The same at a position that is not the next.
    ///
    /// # Panics
    ///
    /// When a turn neither ends the read nor changes anything: the kernel would turn for ever.
    pub fn sends(&mut self, position: u32, bytes: &[u8], found: &mut dyn FnMut(Answer)) {
        let length = bytes.len() as u32;
        let Some(offset) = self.exchange.arrive(position, length) else {
            self.lose(found);
            return;
        };
        let mut read = Read::new(offset, length);
        read.grant_send();
        if self.unbounded {
            read.credit = u32::MAX;
        }
        let mut source = Slice::<CAPACITY>::new(bytes, self.slack);
        read.pass_over(&mut self.exchange.stream);
        self.complete(found);
        if self.exchange.stream.phase == Phase::Start && read.offset < read.end {
            // As the kernel side does of TCP; of an ordinary response nothing is left then.
            self.exchange.first_turn(&mut source, &mut read);
            self.complete(found);
        }
        while self.exchange.stream.phase.reads_on() && read.offset < read.end {
            let before = (self.exchange, self.streams, read);
            self.turn(&mut source, &mut read, found);
            assert_ne!((self.exchange, self.streams, read), before, "a turn without progress");
        }
    }

    fn turn(&mut self, source: &mut Slice<'_, CAPACITY>, read: &mut Read, found: &mut dyn FnMut(Answer)) {
        if self.exchange.stream.phase < Phase::Preface {
            self.exchange.turn(source, read);
        } else {
            let event = self.streams.turn(&mut self.exchange.stream, source, read);
            let (id, status) = (self.exchange.stream.last_stream, event.status());
            if status != 0 && !self.streams.found(id, status) {
                let other = self.displaced(id);
                other.id = id;
                other.note(status);
            }
        }
        self.complete(found);
    }

    /// Hands over what is complete now.
    fn complete(&mut self, found: &mut dyn FnMut(Answer)) {
        self.exchange.answered().into_iter().for_each(&mut *found);
        if self.exchange.stream.phase.is_lost() {
            self.lose(found);
        }
        if let Some(id) = self.streams.ended(&mut self.exchange.stream) {
            let stream = self.streams.take(id).unwrap_or_else(|| core::mem::take(self.displaced(id)));
            // Of one that ended before, as where its reset follows, nothing is kept.
            if stream.id == id {
                self.end(stream, found);
            }
        }
    }

    fn end(&mut self, stream: Displaced, found: &mut dyn FnMut(Answer)) {
        let answer = self.streams.end(stream);
        self.unanswered += u32::from(answer.is_none());
        answer.into_iter().for_each(found);
    }

    fn lose(&mut self, found: &mut dyn FnMut(Answer)) {
        self.lost += self.exchange.lose();
        self.exchange.answered().into_iter().for_each(found);
        self.lost += self.streams.lose();
    }

    /// The connection sends no more.
    pub fn close(&mut self, found: &mut dyn FnMut(Answer)) {
        let (answer, unanswered) = self.exchange.close();
        answer.into_iter().for_each(&mut *found);
        for index in 0..KEPT {
            if let Some(stream) = self.streams.drain(index) {
                self.end(stream, found);
            }
        }
        let open = self.streams.close();
        self.unanswered += unanswered;
        *if self.streams.is_lost() { &mut self.lost } else { &mut self.unanswered } += open;
    }
}

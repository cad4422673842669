//! What the kernel keeps of one connection: position, certainty, and who counts for it. PURE.

use crate::failure::Failure;
use crate::maps::ProcessKey;
use crate::stream::{Phase, Stream, flag};

/// State of one direction of one connection, in the socket's storage. Fresh storage is zeroed.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// The position behind the last byte seen, counted from the stream's first byte.
    pub next: u64,
    /// Where the stream stands at `next`.
    pub stream: Stream,
    /// The process that last counted a request here; its slot is asked for once.
    pub process: ProcessKey,
    /// That process's slot.
    pub slot: u32,
    /// How much had been sent on the socket at its last read, while unsynced.
    pub sent: u32,
    /// `AF_UNIX`: where in its buffer the next byte is expected; 0 at the start of a new one.
    pub buffer_offset: u32,
    /// Not 0 when the connection is older than the probe, was noted at its start, and has not been read from since.
    pub joined: u16,
    /// `AF_UNIX`, where two programs look at each read: not 0 from the first one's turn to the second one's.
    pub taken: u16,
}

const _: () = assert!(size_of::<Connection>() <= 64);

/// Where a read is said to stand that follows a gap of unknown size: beyond the end of any body.
const UNKNOWN_GAP: u64 = 1 << 62;

/// What is to be done with a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Nothing: every byte was seen before (a peek), or none matters.
    Ignore,
    /// Process it from this offset on.
    Process(u32),
    /// See whether it begins with a complete request line: then the stream is certain again. Or with frames of HTTP/2.
    Try,
    /// See whether it begins with frames of HTTP/2.
    Look,
    /// Bytes were missed; nothing is known until the stream is certain again.
    Lost(Failure),
}

/// What became of bytes that never passed the hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The reader took them in another way.
    Unseen,
    /// They were urgent: the reader's stream has not got them.
    Urgent,
    /// Some of them were.
    Unclear,
}

impl Connection {
    /// The position of a read on an `AF_UNIX` stream, which has no sequence numbers: `consumed` bytes
    /// of the buffer were read before, `length` are being read, and `buffer_length` are in it. What
    /// was expected tells whether bytes were missed; only buffers that were missed whole, between
    /// two that were read to their ends, cannot be noticed.
    #[inline(always)]
    pub fn unix_position(&mut self, consumed: u32, length: u32, buffer_length: u32) -> u64 {
        let expected = self.buffer_offset;
        let behind = consumed.wrapping_add(length);
        self.buffer_offset = if behind < buffer_length { behind } else { 0 };
        if consumed >= expected {
            return self.next.wrapping_add(u64::from(consumed - expected));
        }
        // Another buffer, and the rest of the last one was never read.
        self.next = 0;
        UNKNOWN_GAP
    }

    /// Of two programs that are called for each read, either of which may be left out, says whether this one
    /// is to look at it: the first always, the second if the first was left out.
    #[inline(always)]
    pub const fn takes_turn(&mut self, is_first: bool) -> bool {
        let takes = is_first || self.taken == 0;
        self.taken = is_first as u16;
        takes
    }

    /// Takes note of a read of `length` bytes at `position`, on a socket that has `sent` so many
    /// bytes (modulo 2^32). `missing` is asked about a gap.
    #[inline(always)]
    pub fn arrive(&mut self, position: u64, length: u32, sent: u32, missing: impl FnOnce(u64) -> Missing) -> Arrival {
        if self.stream.is_settled() {
            return Arrival::Ignore;
        }
        let behind = position + u64::from(length);
        if behind <= self.next {
            return Arrival::Ignore;
        }
        let expected = self.next;
        self.next = behind;
        if self.stream.phase == Phase::Unsynced {
            return self.arrive_unsynced(sent, position == expected);
        }
        if position <= expected {
            return Arrival::Process((expected - position) as u32);
        }
        let gap = position - expected;
        let cause = match missing(gap) {
            Missing::Urgent => return Arrival::Process(0),
            Missing::Unclear => Failure::UrgentData,
            Missing::Unseen if self.stream.skips() && gap <= self.stream.left => {
                self.stream.skip(gap);
                return Arrival::Process(0);
            }
            Missing::Unseen if expected == 0 && self.stream.phase == Phase::Begin => Failure::Joined,
            _ if self.stream.is_unsure() => {
                self.stream = self.stream.tried();
                return self.arrive_unsynced(sent, true);
            }
            Missing::Unseen => Failure::Gap,
        };
        self.lose_certainty(cause);
        self.sent = sent;
        Arrival::Lost(cause)
    }

    /// A process answers a request after it has read it: a read after an answer begins a request. The first read of a
    /// connection that is older than the probe must also be the one that was to come when it was noted.
    #[inline(always)]
    fn arrive_unsynced(&mut self, sent: u32, is_next: bool) -> Arrival {
        let answered = sent != self.sent;
        self.sent = sent;
        if self.joined != 0 && !(answered && is_next) {
            self.lose_certainty(Failure::Joined);
            return Arrival::Lost(Failure::Joined);
        }
        if !answered {
            return if self.stream.is_tried_always() { Arrival::Look } else { Arrival::Ignore };
        }
        self.stream = self.stream.to_try();
        Arrival::Try
    }

    /// The connection is older than the probe: the next read is to begin at `next`, on a socket that has `sent` so many
    /// bytes by now (modulo 2^32). `answered`: since it was last read from.
    #[must_use]
    #[inline(always)]
    pub fn noted(next: u64, sent: u32, answered: bool) -> Self {
        let sent = if answered { sent.wrapping_sub(1) } else { sent };
        Self { next, sent, joined: 1, stream: Stream::lost(Failure::Joined), ..Self::default() }
    }

    /// Looks at what comes as at frames of HTTP/2.
    #[inline(always)]
    pub const fn look_for_frames(&mut self) {
        self.stream = Stream::unsure_frames();
    }

    /// They are HTTP/2's.
    #[inline(always)]
    pub const fn confirm_frames(&mut self) {
        self.stream.flags = flag::SEEN;
    }

    /// Whether they are will not be known.
    #[inline(always)]
    pub const fn lose_frames(&mut self) {
        self.stream = Stream::lost(Failure::Joined);
    }

    /// They are nobody's requests.
    #[inline(always)]
    pub const fn give_up_frames(&mut self) {
        self.stream = Stream::lost(Failure::Joined);
        self.stream.phase = Phase::NotHttp;
    }

    /// Ends a try that found no request, and of which `is_whole` says that every byte was looked at: frames of HTTP/2 from the
    /// first byte to the last, among them one that opens a stream, are looked at further.
    #[inline(always)]
    pub fn end_try(&mut self, is_whole: bool) {
        let is_frames = self.stream.is_unsure() && self.stream.phase == Phase::Frame && self.stream.progress == 0;
        if !(is_frames && is_whole && self.stream.last_stream != 0) {
            self.stream = self.stream.tried();
        }
    }

    /// Nothing is known from here on, until the connection becomes certain again: if it may, after this cause.
    #[inline(always)]
    pub fn lose_certainty(&mut self, cause: Failure) {
        self.stream = Stream::lost(cause);
        self.joined = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::TRIES;

    const BUFFER: u32 = 100;

    fn unseen(_: u64) -> Missing {
        Missing::Unseen
    }

    /// Reads of (consumed before, length), each with what comes of it.
    #[track_caller]
    fn check_unix(reads: &[(u32, u32, Arrival)]) {
        let mut connection = Connection::default();
        for (index, (consumed, length, expected)) in reads.iter().enumerate() {
            let position = connection.unix_position(*consumed, *length, BUFFER);
            assert_eq!(connection.arrive(position, *length, 0, unseen), *expected, "read {index}");
            if connection.stream.phase == Phase::Begin {
                connection.stream.phase = Phase::Start;
            }
        }
    }

    #[test]
    fn unix_buffers_one_after_another() {
        let process = Arrival::Process(0);
        check_unix(&[(0, 100, process), (0, 40, process), (40, 60, process), (0, 100, process)]);
    }

    #[test]
    fn missed_bytes_of_a_unix_buffer_are_a_gap() {
        let (process, gap) = (Arrival::Process(0), Arrival::Lost(Failure::Gap));
        check_unix(&[(0, 40, process), (50, 50, gap)]);
        check_unix(&[(0, 40, process), (0, 100, gap)]);
        check_unix(&[(0, 100, process), (10, 90, gap)]);
        check_unix(&[(10, 90, Arrival::Lost(Failure::Joined))]);
    }

    /// A connection that was noted at `NEXT`, when `SENT` bytes had been sent: what its first read is, and the next.
    #[test]
    fn a_connection_older_than_the_probe() {
        const NEXT: u64 = 1000;
        const SENT: u32 = 500;
        let joined = Arrival::Lost(Failure::Joined);
        let check = |answered, position, sent, first, second| {
            let mut connection = Connection::noted(NEXT, SENT, answered);
            assert_eq!(connection.arrive(position, 10, sent, unseen), first, "{answered} {position} {sent}");
            connection.end_try(true);
            connection.joined = 0;
            assert_eq!(connection.arrive(position + 10, 10, sent, unseen), second, "{answered} {position} {sent}");
        };
        check(true, NEXT, SENT, Arrival::Try, Arrival::Look);
        check(false, NEXT, SENT, joined, Arrival::Look);
        // A request was being answered.
        check(false, NEXT, SENT + 1, Arrival::Try, Arrival::Look);
        // A read was going on when it was noted.
        check(true, NEXT + 1, SENT, joined, Arrival::Look);
        check(true, NEXT + 1, SENT + 1, joined, Arrival::Look);
        check(true, NEXT - 1, SENT, joined, Arrival::Look);
    }

    #[test]
    fn a_unix_connection_older_than_the_probe() {
        let first = |consumed, expected| {
            let mut connection = Connection::noted(0, 0, true);
            let position = connection.unix_position(consumed, 10, BUFFER);
            assert_eq!(
                connection.arrive(position, 10, connection.sent.wrapping_add(1), unseen),
                expected,
                "{consumed}"
            );
        };
        first(0, Arrival::Try);
        first(90, Arrival::Lost(Failure::Joined));
    }

    #[test]
    fn of_two_programs_one_takes_each_read() {
        let mut connection = Connection::default();
        for (first_is_called, second_is_called) in
            [(true, true), (false, true), (true, false), (true, true), (false, true)]
        {
            let first = first_is_called && connection.takes_turn(true);
            let second = second_is_called && connection.takes_turn(false);
            assert!(first != second, "{first_is_called} {second_is_called}");
        }
    }

    /// A stream whose first line is none, then reads that each follow an answer, and are none either.
    #[test]
    fn another_protocol_is_tried_some_times_only() {
        let mut connection = Connection::default();
        assert_eq!(connection.arrive(0, 1, 0, unseen), Arrival::Process(0));
        connection.stream = Stream { phase: Phase::Unsynced, last_stream: TRIES, ..Stream::default() };
        for answers in 1..=TRIES {
            assert_eq!(connection.arrive(answers.into(), 1, answers, unseen), Arrival::Try, "answer {answers}");
            connection.end_try(true);
        }
        assert_eq!(connection.stream.phase, Phase::NotHttp);
    }

    #[test]
    fn what_was_certain_is_tried_as_often_as_it_takes() {
        let mut connection = Connection { stream: Stream::lost(Failure::Gap), ..Connection::default() };
        for answers in 1..100_u32 {
            assert_eq!(connection.arrive(answers.into(), 1, answers, unseen), Arrival::Try, "answer {answers}");
            connection.end_try(true);
        }
    }

    #[test]
    fn positions_tell_peeks_gaps_and_overlaps() {
        let mut connection = Connection::default();
        assert_eq!(connection.arrive(0, 10, 0, unseen), Arrival::Process(0));
        assert_eq!(connection.arrive(0, 10, 0, unseen), Arrival::Ignore, "read after a peek");
        assert_eq!(connection.arrive(5, 10, 0, unseen), Arrival::Process(5), "a longer read after a peek");
        connection.stream = Stream { phase: Phase::Body, left: 20, ..Stream::default() };
        assert_eq!(connection.arrive(25, 20, 0, unseen), Arrival::Process(0), "a gap within a body");
        assert_eq!(connection.stream.left, 10);
        assert_eq!(connection.arrive(60, 1, 7, unseen), Arrival::Lost(Failure::Gap), "a gap beyond the body");
        assert_eq!(connection.arrive(61, 1, 7, unseen), Arrival::Look, "nothing was sent");
        assert_eq!(connection.arrive(62, 1, 8, unseen), Arrival::Try, "an answer was sent");
    }

    #[test]
    fn an_urgent_byte_is_no_part_of_a_body() {
        let body = Stream { phase: Phase::Body, left: 20, ..Stream::default() };
        let after = |missing| {
            let mut connection = Connection { next: 10, stream: body, ..Connection::default() };
            (connection.arrive(11, 5, 0, |_| missing), connection.stream)
        };
        assert_eq!(after(Missing::Urgent), (Arrival::Process(0), body));
        assert_eq!(after(Missing::Unseen), (Arrival::Process(0), Stream { left: 19, ..body }));
        let (arrival, stream) = after(Missing::Unclear);
        assert_eq!((arrival, stream.phase), (Arrival::Lost(Failure::UrgentData), Phase::GivenUp));
    }

    #[test]
    fn what_the_sender_brought_about_does_not_come_back() {
        for cause in Failure::ALL {
            let mut connection = Connection { next: 10, ..Connection::default() };
            connection.lose_certainty(*cause);
            let arrival = connection.arrive(10, 5, 1, unseen);
            assert_eq!(arrival == Arrival::Try, cause.comes_back(), "{cause:?}: {arrival:?}");
        }
    }
}

//! Runs the machine over a stream that is at hand, cut into reads: what tests, fuzz targets and
//! benchmarks on the host use in place of the kernel. PURE.

use crate::event::Event;
use crate::failure::Failure;
use crate::machine::{Read, Source, turn};
use crate::maps::Version;
use crate::stream::{Phase, Stream, flag};
use crate::window::Window;

/// A stream being read. Windows hold at most `CAPACITY` bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Replay<const CAPACITY: u32> {
    /// Where the stream stands.
    pub stream: Stream,
    /// Requests found so far, by [`Version`].
    pub requests: [u64; Version::ALL.len()],
    /// The same by the number of the [`Method`](crate::method::Method).
    pub methods: [u64; 16],
    /// ClientHellos of TLS found so far.
    pub client_hellos: u64,
    /// The loss that ended the counting.
    pub failure: Option<Failure>,
    /// As much as it takes is done of a read: the kernel's credit is too small for tiny windows.
    pub unbounded: bool,
    /// What the machine sees behind a window's end. It must not matter.
    pub slack: u8,
}

/// A read whose bytes are at hand.
pub(crate) struct Slice<'a, const CAPACITY: u32> {
    read: &'a [u8],
    window: &'a [u8],
    slack: u8,
}

impl<'a, const CAPACITY: u32> Slice<'a, CAPACITY> {
    /// Behind a window's end, `slack` is seen.
    pub(crate) const fn new(read: &'a [u8], slack: u8) -> Self {
        Self { read, window: &[], slack }
    }
}

impl<const CAPACITY: u32> Window for Slice<'_, CAPACITY> {
    fn byte(&self, at: impl Into<u64>) -> u8 {
        self.window.get(at.into() as usize).copied().unwrap_or(self.slack)
    }

    fn word(&self, at: impl Into<u64>) -> u64 {
        let mut word = [0; 8];
        for (place, byte) in (at.into()..).zip(&mut word) {
            *byte = self.byte(place);
        }
        u64::from_le_bytes(word)
    }
}

impl<const CAPACITY: u32> Source for Slice<'_, CAPACITY> {
    const CAPACITY: u32 = CAPACITY;

    fn fill(&mut self, offset: u32, length: u32) -> Option<u32> {
        self.window = self.read.get(offset as usize..(offset + length) as usize)?;
        Some(length)
    }
}

impl<const CAPACITY: u32> Replay<CAPACITY> {
    /// All that came of it: the same however a stream is cut. So not the length of lines so far, which turns note where they end, and not
    /// whether what is no HTTP began as HTTP/2's answers do, which is noted where the first nine bytes come in one read.
    #[must_use]
    pub const fn outcome(&self) -> (Stream, [u64; Version::ALL.len()], Option<Failure>) {
        let reads_token =
            matches!(self.stream.phase, Phase::Method | Phase::ContentLength | Phase::FirstFrame | Phase::Frame);
        let token = if reads_token { self.stream.token } else { 0 };
        let noted = if matches!(self.stream.phase, Phase::NotHttp) { flag::FRAMES } else { 0 };
        (Stream { token, flags: self.stream.flags & !noted, ..self.stream }, self.requests, self.failure)
    }

    /// One read of the stream's next bytes.
    ///
    /// # Panics
    ///
    /// When a turn neither ends the read nor changes anything: the kernel would turn for ever.
    pub fn read(&mut self, bytes: &[u8]) {
        let mut read = Read::new(0, bytes.len() as u32);
        read.grant();
        if self.unbounded {
            read.credit = u32::MAX;
        }
        read.pass_over(&mut self.stream);
        let mut source = Slice::<CAPACITY>::new(bytes, self.slack);
        loop {
            let before = (self.stream, read);
            let event = turn(&mut self.stream, &mut source, &mut read);
            if event == Event::END {
                return;
            }
            self.client_hellos += u64::from(event == Event::CLIENT_HELLO);
            if let Some(version) = event.version() {
                self.requests[version as usize] += 1;
                self.methods[usize::from(event.method())] += 1;
            }
            if let Some(cause) = event.failure() {
                self.failure = Some(Failure::ALL[cause as usize]);
            }
            assert_ne!((self.stream, read), before, "a turn without progress");
        }
    }

    /// All requests found so far.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.requests.iter().sum()
    }
}

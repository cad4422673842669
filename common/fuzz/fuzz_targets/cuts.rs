//! Splits a fuzzer's input into a stream and the places where it is cut.

use common::replay::Replay;

/// The stream, and the sizes of its reads.
pub struct Input<'a> {
    pub stream: &'a [u8],
    sizes: &'a [u8],
    slack: u8,
}

impl<'a> Input<'a> {
    /// The first byte says how many more are sizes, the second what stands behind a window.
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let (&[count, slack], rest) = data.split_first_chunk()?;
        let (sizes, stream) = rest.split_at_checked(usize::from(count % 16))?;
        Some(Self { stream, sizes, slack })
    }

    pub fn whole(&self) -> Replay<1024> {
        let mut replay = Replay { unbounded: true, ..Replay::default() };
        replay.read(self.stream);
        replay
    }

    pub fn cut(&self) -> Replay<24> {
        let mut replay = Replay { slack: self.slack, unbounded: true, ..Replay::default() };
        let mut rest = self.stream;
        for size in self.sizes {
            let (read, after) = rest.split_at(usize::from(*size).min(rest.len()));
            replay.read(read);
            rest = after;
        }
        replay.read(rest);
        replay
    }

    /// However the stream is cut, the outcome is the same.
    pub fn check_cuts(&self) -> Replay<1024> {
        let (whole, cut) = (self.whole(), self.cut());
        assert_eq!((whole.stream, whole.requests, whole.failure), (cut.stream, cut.requests, cut.failure));
        whole
    }
}

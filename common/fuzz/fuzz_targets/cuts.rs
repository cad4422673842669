//! Splits a fuzzer's input into a stream and the places where it is cut.
#![allow(dead_code, reason = "each target uses what it needs")]

#[path = "../../tests/support/settings.rs"]
mod settings;

use common::method::Method;
use common::replay::Replay;
use settings::{begins_as_answers, has_settings};

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
        self.sends().for_each(|read| replay.read(read));
        replay
    }

    /// What stands behind a window.
    pub fn slack(&self) -> u8 {
        self.slack
    }

    /// The pieces of the stream.
    pub fn sends(&self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.stream;
        let sizes = self.sizes.iter().map(|size| usize::from(*size)).chain([usize::MAX]);
        sizes.map(move |size| {
            let (read, after) = rest.split_at(size.min(rest.len()));
            rest = after;
            read
        })
    }

    /// However the stream is cut, the outcome is the same, and no method becomes another one.
    pub fn check_cuts(&self) -> Replay<1024> {
        let (whole, cut) = (self.whole(), self.cut());
        assert_eq!((whole.outcome(), whole.client_hellos), (cut.outcome(), cut.client_hellos));
        let mut known = whole.methods.iter().zip(&cut.methods).take(Method::Unknown as usize);
        assert!(known.all(|(whole, cut)| cut <= whole), "{:?} in one read, {:?} in many", whole.methods, cut.methods);
        let first = self.sends().find(|send| !send.is_empty()).unwrap_or_default();
        assert_eq!(begins_as_answers(&whole), has_settings(self.stream));
        assert_eq!(begins_as_answers(&cut), has_settings(first));
        whole
    }
}

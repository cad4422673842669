//! How a handover is written on a Unix socket, with a bound on time and bytes. EDGE.
//!
//! Who gives sends a length, and with it the probe's descriptors; then as many bytes, which say how many descriptors follow. Who takes
//! answers with [`TAKEN`] once it has made sure that it can go on. Who gives then lets go, says [`GIVEN`], and closes the connection
//! when it is gone.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// It can go on.
pub(super) const TAKEN: u8 = b'T';
/// Nothing is read any more by who gave.
pub(super) const GIVEN: u8 = b'G';
/// More are not taken with the length; the probe has two dozen.
const MAX_DESCRIPTORS: usize = 64;
/// As many as the kernel takes in a message (`SCM_MAX_FD`).
const MOST_IN_A_MESSAGE: usize = 253;
/// More are not taken in all: three of each file that is probed, and there are 4 096 of these at most.
const MAX_FOLLOWING: usize = 16 * 1024;
/// Goes with some of them: descriptors go with bytes alone.
const MORE: u8 = b'D';
/// More is not read. 8 192 processes with their histories have some 20 MB.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// A stream on which nothing takes longer than until then.
pub(super) struct Timed<'a> {
    pub(super) stream: &'a UnixStream,
    pub(super) until: Instant,
}

impl Timed<'_> {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(Self::late(io::ErrorKind::TimedOut.into())) } else { Ok(Some(left)) }
    }

    /// How it fails where the other side keeps silent.
    fn late(error: io::Error) -> io::Error {
        if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
            io::Error::new(io::ErrorKind::TimedOut, "it does not answer in time")
        } else {
            error
        }
    }

    /// Sends the length of what follows, and the descriptors.
    pub(super) fn send(&mut self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        if descriptors.len() > MAX_DESCRIPTORS {
            return Err(io::Error::other("too many descriptors"));
        }
        self.send_with(&(bytes.len() as u64).to_le_bytes(), descriptors)?;
        self.write_all(bytes)
    }

    /// Sends further descriptors, as many of them as were named.
    pub(super) fn send_following(&mut self, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        descriptors.chunks(MOST_IN_A_MESSAGE).try_for_each(|some| self.send_with(&[MORE], some))
    }

    /// A few bytes, which go in one piece or not at all.
    fn send_with(&mut self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_IN_A_MESSAGE))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::other("too many descriptors"));
        }
        self.stream.set_write_timeout(self.left()?)?;
        let sent = sendmsg(self.stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL);
        sent.map_err(|error| Self::late(error.into()))?;
        Ok(())
    }

    /// The other side of [`Timed::send`].
    pub(super) fn receive(&mut self) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
        let mut length = [0; 8];
        let descriptors = self.receive_with(&mut length)?;
        let length = u64::from_le_bytes(length);
        if length > MAX_BYTES {
            return Err(io::Error::other(format!("{length} bytes are too many")));
        }
        let mut bytes = Vec::new();
        Read::take(&mut *self, length).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok((bytes, descriptors))
    }

    /// The other side of [`Timed::send_following`].
    pub(super) fn receive_following(&mut self, number: usize) -> io::Result<Vec<OwnedFd>> {
        if number > MAX_FOLLOWING {
            return Err(io::Error::other(format!("{number} descriptors are too many")));
        }
        let mut descriptors = Vec::new();
        while descriptors.len() < number {
            let some = self.receive_with(&mut [0])?;
            // Fewer come where this process may have no more.
            let is_whole = some.len() == MOST_IN_A_MESSAGE.min(number - descriptors.len());
            descriptors.extend(some);
            if !is_whole {
                return Err(io::Error::other(format!("{} descriptors of {number} came", descriptors.len())));
            }
        }
        Ok(descriptors)
    }

    fn receive_with(&mut self, bytes: &mut [u8]) -> io::Result<Vec<OwnedFd>> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_IN_A_MESSAGE))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let wanted = bytes.len();
        self.stream.set_read_timeout(self.left()?)?;
        let received = recvmsg(self.stream, &mut [IoSliceMut::new(bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)
            .map_err(|error| Self::late(error.into()))?;
        if received.bytes < wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received);
            }
        }
        Ok(descriptors)
    }

    /// Waits for this word.
    pub(super) fn hear(&mut self, word: u8) -> io::Result<()> {
        let mut heard = [0];
        self.read_exact(&mut heard)?;
        if heard == [word] { Ok(()) } else { Err(io::Error::other("another word was expected")) }
    }

    /// Waits until the other side has gone.
    pub(super) fn hear_the_end(&mut self) {
        // Whether it ends or is too slow, this side goes on.
        let _ = self.read(&mut [0]);
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        (&*self.stream).read(buffer).map_err(Self::late)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        (&*self.stream).write(bytes).map_err(Self::late)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// References to each.
pub(super) fn borrowed(descriptors: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    descriptors.iter().map(|descriptor| descriptor.as_fd()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ends, with so many descriptors of a file to send.
    fn ends(number: usize) -> (UnixStream, UnixStream, Vec<OwnedFd>) {
        let (from, to) = UnixStream::pair().unwrap();
        let descriptors = (0..number).map(|_| from.as_fd().try_clone_to_owned().unwrap()).collect();
        (from, to, descriptors)
    }

    fn timed(stream: &UnixStream) -> Timed<'_> {
        Timed { stream, until: Instant::now() + Duration::from_secs(10) }
    }

    #[test]
    fn all_descriptors_come_and_what_follows_them_is_not_lost() {
        for number in [0, 1, MOST_IN_A_MESSAGE, MOST_IN_A_MESSAGE + 1, 3 * MOST_IN_A_MESSAGE - 5] {
            let (from, to, descriptors) = ends(number);
            let mut giver = timed(&from);
            giver.send(b"state", &borrowed(&descriptors[..number.min(MAX_DESCRIPTORS)])).unwrap();
            giver.send_following(&borrowed(&descriptors)).unwrap();
            giver.write_all(&[GIVEN]).unwrap();
            let mut taker = timed(&to);
            let (bytes, first) = taker.receive().unwrap();
            assert_eq!((bytes.as_slice(), first.len()), (&b"state"[..], number.min(MAX_DESCRIPTORS)));
            assert_eq!(taker.receive_following(number).unwrap().len(), number);
            taker.hear(GIVEN).unwrap();
        }
    }

    #[test]
    fn fewer_descriptors_than_were_named_are_refused_and_too_many_not_sent() {
        let (from, to, descriptors) = ends(MAX_DESCRIPTORS + 1);
        timed(&from).send_following(&borrowed(&descriptors[..2])).unwrap();
        assert!(timed(&to).receive_following(3).is_err());
        assert!(timed(&to).receive_following(MAX_FOLLOWING + 1).is_err());
        assert!(timed(&from).send(b"", &borrowed(&descriptors)).is_err());
    }
}

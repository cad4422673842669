//! How a handover is written on a Unix socket, with a bound on time and bytes. EDGE.
//!
//! Who gives sends a length, and with it the descriptors; then as many bytes. Who takes answers with [`TAKEN`] once it has made sure
//! that it can go on. Who gives then lets go, says [`GIVEN`], and closes the connection when it is gone.

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
/// More are not taken; the probe has two dozen.
const MAX_DESCRIPTORS: usize = 64;
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
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::other("too many descriptors"));
        }
        let length = (bytes.len() as u64).to_le_bytes();
        self.stream.set_write_timeout(self.left()?)?;
        // Eight bytes go in one piece, or not at all.
        let sent = sendmsg(self.stream, &[IoSlice::new(&length)], &mut control, SendFlags::NOSIGNAL);
        sent.map_err(|error| Self::late(error.into()))?;
        self.write_all(bytes)
    }

    /// The other side of it.
    pub(super) fn receive(&mut self) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut length = [0; 8];
        self.stream.set_read_timeout(self.left()?)?;
        let received = recvmsg(self.stream, &mut [IoSliceMut::new(&mut length)], &mut control, RecvFlags::CMSG_CLOEXEC)
            .map_err(|error| Self::late(error.into()))?;
        if received.bytes < length.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received);
            }
        }
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

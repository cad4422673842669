//! System calls that no safe library offers in this form.
#![expect(unsafe_code, reason = "the cases need these very system calls")]

use std::io::{self, Read as _};
use std::net::TcpStream;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use io_uring::{IoUring, cqueue, opcode, types};

/// 4 KiB, on some arm64 16.
pub fn page() -> usize {
    rustix::param::page_size()
}

/// Messages of one slice each. They point to the slices.
pub fn messages(slices: &mut [libc::iovec]) -> Vec<libc::mmsghdr> {
    let message = |slice: &mut libc::iovec| {
        // SAFETY: plain data, for which zeros are valid.
        let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
        message.msg_hdr.msg_iov = slice;
        message.msg_hdr.msg_iovlen = 1;
        message
    };
    slices.iter_mut().map(message).collect()
}

/// Receives with `recvmmsg` into two buffers of one message each; returns how many bytes came.
pub fn recvmmsg(server: &TcpStream, length: usize) -> io::Result<usize> {
    let mut buffers = [vec![0_u8; length / 2], vec![0_u8; length - length / 2]];
    let mut slices: Vec<_> = buffers
        .iter_mut()
        .map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() })
        .collect();
    let mut messages = messages(&mut slices);
    // SAFETY: headers, slices and buffers live until the call returns.
    let count = unsafe { libc::recvmmsg(server.as_raw_fd(), messages.as_mut_ptr(), 2, 0, std::ptr::null_mut()) };
    if count < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(messages.iter().take(count as usize).map(|message| message.msg_len as usize).sum())
}

/// Peeks with `recvmsg`, whose flags are another argument than those of `recv`.
pub fn peek_with_recvmsg(server: &UnixStream) -> io::Result<()> {
    let mut buffer = [0_u8; 64];
    let mut slice = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: plain data, for which zeros are valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut slice;
    message.msg_iovlen = 1;
    // SAFETY: header, slice and buffer live until the call returns.
    check(unsafe { libc::recvmsg(server.as_raw_fd(), &raw mut message, libc::MSG_PEEK) }).map(drop)
}

/// Receives into memory of which only the first ten bytes may be written to.
pub fn recv_faulting(server: &TcpStream) -> io::Result<()> {
    // SAFETY: a new mapping; nothing else refers to it.
    let pages = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            2 * page(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if pages == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the second page of the mapping; the kernel checks every write of the receive.
    let received = unsafe {
        libc::mprotect(pages.byte_add(page()), page(), libc::PROT_NONE);
        libc::recv(server.as_raw_fd(), pages.byte_add(page() - 10), 1000, 0)
    };
    // SAFETY: the mapping made above.
    unsafe { libc::munmap(pages, 2 * page()) };
    if received < 0 { Ok(()) } else { Err(io::Error::other("the receive did not fault")) }
}

/// Sends and receives over a `SOCK_SEQPACKET` pair.
pub fn sequenced_packets(bytes: &[u8]) -> io::Result<()> {
    let mut pair = [0; 2];
    let mut buffer = vec![0_u8; bytes.len()];
    // SAFETY: the buffers are as long as said.
    unsafe {
        check(libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0, pair.as_mut_ptr()) as isize)?;
        check(libc::send(pair[0], bytes.as_ptr().cast(), bytes.len(), 0))?;
        check(libc::recv(pair[1], buffer.as_mut_ptr().cast(), buffer.len(), 0))?;
        libc::close(pair[0]);
        libc::close(pair[1]);
    }
    Ok(())
}

/// A connection over Multipath TCP on loopback.
pub fn mptcp_loopback() -> io::Result<(TcpStream, TcpStream)> {
    // SAFETY: the addresses live until each call returns; the descriptors are new.
    unsafe {
        let socket = || match libc::socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP) {
            -1 => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("no MPTCP here ({})", io::Error::last_os_error()),
            )),
            descriptor => Ok(OwnedFd::from_raw_fd(descriptor)),
        };
        let (listener, client) = (socket()?, socket()?);
        let mut address: libc::sockaddr_in = std::mem::zeroed();
        address.sin_family = libc::AF_INET as u16;
        address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
        let mut length = size_of_val(&address) as u32;
        check(libc::bind(listener.as_raw_fd(), (&raw const address).cast(), length) as isize)?;
        check(libc::listen(listener.as_raw_fd(), 1) as isize)?;
        check(libc::getsockname(listener.as_raw_fd(), (&raw mut address).cast(), &raw mut length) as isize)?;
        check(libc::connect(client.as_raw_fd(), (&raw const address).cast(), length) as isize)?;
        let server = libc::accept(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut());
        check(server as isize)?;
        Ok((TcpStream::from(client), TcpStream::from(OwnedFd::from_raw_fd(server))))
    }
}

/// Which half of a connection is encrypted.
#[derive(Clone, Copy)]
pub enum Direction {
    Transmit = 1,
    Receive = 2,
}

/// Lets the kernel do TLS 1.2 on one half of a connection, with a key that everybody knows.
pub fn encrypt(socket: &TcpStream, direction: Direction) -> io::Result<()> {
    const TCP_ULP: libc::c_int = 31;
    const SOL_TLS: libc::c_int = 282;
    const TLS_1_2: [u8; 2] = 0x0303_u16.to_ne_bytes();
    const AES_GCM_128: [u8; 2] = 51_u16.to_ne_bytes();
    // struct tls12_crypto_info_aes_gcm_128: version, cipher, iv, key, salt, sequence.
    let mut info = [7_u8; 40];
    info[..2].copy_from_slice(&TLS_1_2);
    info[2..4].copy_from_slice(&AES_GCM_128);
    info[32..].fill(0);
    let set = |level, option, value: &[u8]| {
        // SAFETY: the value lives until the call returns.
        check(unsafe {
            libc::setsockopt(socket.as_raw_fd(), level, option, value.as_ptr().cast(), value.len() as u32) as isize
        })
    };
    let unsupported = |error| io::Error::new(io::ErrorKind::Unsupported, format!("no kernel TLS here ({error})"));
    set(libc::IPPROTO_TCP, TCP_ULP, b"tls").map_err(unsupported)?;
    // A kernel may have TLS and lack the cipher.
    set(SOL_TLS, direction as libc::c_int, &info).map(drop).map_err(unsupported)
}

/// A file's pages are sent as they are, so that a receiver may map them.
pub fn send_pages(client: &TcpStream, pages: usize) -> io::Result<usize> {
    let file = rustix::fs::memfd_create("pages", rustix::fs::MemfdFlags::empty())?;
    rustix::io::pwrite(&file, &vec![b'p'; pages * page()], 0)?;
    let mut sent = 0;
    while sent < pages * page() {
        sent += rustix::fs::sendfile(client, &file, None, pages * page() - sent)?;
    }
    Ok(sent)
}

/// Takes so many bytes with `TCP_ZEROCOPY_RECEIVE`, and what it leaves with `recv`. Says how many were mapped.
pub fn receive_zero_copy(server: &TcpStream, length: usize) -> io::Result<usize> {
    const TCP_ZEROCOPY_RECEIVE: libc::c_int = 35;
    #[repr(C)]
    #[derive(Default)]
    struct Request {
        address: u64,
        length: u32,
        skip_hint: u32,
    }
    let (mut mapped, mut done) = (0, 0);
    // SAFETY: a new mapping of the socket, which only the kernel writes to.
    let pages =
        unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, server.as_raw_fd(), 0) };
    if pages == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    while done < length {
        let mut request = Request { address: pages as u64, length: (length - done) as u32, skip_hint: 0 };
        let mut size = size_of::<Request>() as u32;
        // SAFETY: request and size live until the call returns; the mapping is as long as said.
        check(unsafe {
            libc::getsockopt(
                server.as_raw_fd(),
                libc::IPPROTO_TCP,
                TCP_ZEROCOPY_RECEIVE,
                (&raw mut request).cast(),
                &raw mut size,
            ) as isize
        })?;
        mapped += request.length as usize;
        done += request.length as usize;
        if request.skip_hint > 0 {
            let mut rest = vec![0; (request.skip_hint as usize).min(length - done)];
            done += (&*server).read(&mut rest)?;
        }
    }
    // SAFETY: the mapping made above.
    unsafe { libc::munmap(pages, length) };
    Ok(mapped)
}

/// Lets the close of a socket reset the connection.
pub fn reset_at_close(socket: &TcpStream) -> io::Result<()> {
    rustix::net::sockopt::set_socket_linger(socket, Some(std::time::Duration::ZERO)).map_err(io::Error::from)
}

/// A read waits until so many bytes are there.
pub fn set_low_water_mark(socket: &TcpStream, bytes: libc::c_int) -> io::Result<()> {
    // SAFETY: the value lives until the call returns.
    check(unsafe {
        let size = size_of_val(&bytes) as u32;
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVLOWAT, (&raw const bytes).cast(), size)
            as isize
    })
    .map(drop)
}

pub fn check(result: isize) -> io::Result<isize> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

pub fn ring() -> io::Result<IoUring> {
    IoUring::new(8).map_err(|error| match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EPERM) => {
            io::Error::new(io::ErrorKind::Unsupported, format!("no io_uring here ({error})"))
        }
        _ => error,
    })
}

/// One receive through io_uring.
pub fn uring_recv(server: &TcpStream, length: usize) -> io::Result<usize> {
    let mut ring = ring()?;
    let mut buffer = vec![0_u8; length];
    let receive = opcode::Recv::new(types::Fd(server.as_raw_fd()), buffer.as_mut_ptr(), length as u32).build();
    // SAFETY: buffer and socket live until the completion was taken.
    unsafe { ring.submission().push(&receive).map_err(io::Error::other)? };
    ring.submit_and_wait(1)?;
    let result = ring.completion().next().map_or(-libc::EIO, |completion| completion.result());
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result as usize) }
}

/// A multishot receive into buffers of ten bytes that the kernel picks (Linux 6.0).
pub fn uring_multishot(server: &TcpStream, length: usize) -> io::Result<usize> {
    const SIZE: usize = 10;
    const GROUP: u16 = 1;
    let mut ring = ring()?;
    let count = length.div_ceil(SIZE) + 1;
    let mut buffers = vec![0_u8; count * SIZE];
    let provide = opcode::ProvideBuffers::new(buffers.as_mut_ptr(), SIZE as i32, count as u16, GROUP, 0).build();
    let receive = opcode::RecvMulti::new(types::Fd(server.as_raw_fd()), GROUP).build();
    // SAFETY: buffers and socket live until the ring is gone.
    unsafe {
        ring.submission().push(&provide).map_err(io::Error::other)?;
        ring.submit_and_wait(1)?;
        ring.completion().next();
        ring.submission().push(&receive).map_err(io::Error::other)?;
    }
    let mut received = 0;
    while received < length {
        ring.submit_and_wait(1)?;
        while let Some(completion) = ring.completion().next() {
            match completion.result() {
                result if result == -libc::EINVAL => {
                    return Err(io::Error::new(io::ErrorKind::Unsupported, "no multishot receive in this kernel"));
                }
                result if result < 0 => return Err(io::Error::from_raw_os_error(-result)),
                result => received += result as usize,
            }
            if !cqueue::more(completion.flags()) && received < length {
                return Err(io::Error::other("the multishot receive ended early"));
            }
        }
    }
    Ok(received)
}

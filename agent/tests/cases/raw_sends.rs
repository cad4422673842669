//! System calls to send with that no safe library offers in this form, and sockets to send on.
#![expect(unsafe_code, reason = "the cases need these very system calls")]

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use io_uring::squeue::Flags;
use io_uring::{IoUring, Probe, cqueue, opcode, types};

use crate::raw::{self, check, page, ring};

/// A way to send through io_uring.
#[derive(Clone, Copy)]
pub enum Uring {
    Plain,
    /// Handed to a worker thread of the kernel's.
    Worker,
    /// A thread of the kernel's looks for what is submitted.
    Polled,
    /// The kernel sends the process's pages as they are (Linux 6.0).
    ZeroCopy,
}

/// Sends bytes completely.
pub fn uring_send(socket: &TcpStream, bytes: &[u8], way: Uring) -> io::Result<()> {
    let mut ring = match way {
        Uring::Polled => IoUring::builder().setup_sqpoll(1000).build(8)?,
        _ => ring()?,
    };
    let mut sent = 0;
    while sent < bytes.len() {
        let (at, length) = (bytes[sent..].as_ptr(), (bytes.len() - sent) as u32);
        let socket = types::Fd(socket.as_raw_fd());
        let entry = match way {
            Uring::ZeroCopy if !has(&ring, opcode::SendZc::CODE)? => {
                return Err(io::Error::new(io::ErrorKind::Unsupported, "this kernel's io_uring sends no pages"));
            }
            Uring::ZeroCopy => opcode::SendZc::new(socket, at, length).build(),
            Uring::Worker => opcode::Send::new(socket, at, length).build().flags(Flags::ASYNC),
            Uring::Plain | Uring::Polled => opcode::Send::new(socket, at, length).build(),
        };
        // SAFETY: bytes and socket live until the completions were taken.
        unsafe { ring.submission().push(&entry).map_err(io::Error::other)? };
        sent += completed(&mut ring)?;
    }
    Ok(())
}

fn has(ring: &IoUring, code: u8) -> io::Result<bool> {
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    Ok(probe.is_supported(code))
}

/// How much was sent, once the kernel is done with the bytes.
fn completed(ring: &mut IoUring) -> io::Result<usize> {
    let mut sent = 0;
    loop {
        ring.submit_and_wait(1)?;
        let completion = ring.completion().next().ok_or_else(|| io::Error::other("no completion"))?;
        // The second one of a send of pages says that they are free again.
        if !cqueue::notif(completion.flags()) {
            sent =
                usize::try_from(completion.result()).map_err(|_| io::Error::from_raw_os_error(-completion.result()))?;
        }
        if !cqueue::more(completion.flags()) {
            return Ok(sent);
        }
    }
}

/// Sends several messages with one call.
pub fn sendmmsg(socket: &TcpStream, messages: &[&[u8]]) -> io::Result<()> {
    let slices =
        messages.iter().map(|bytes| libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() });
    let mut slices: Vec<_> = slices.collect();
    let mut headers = raw::messages(&mut slices);
    // SAFETY: headers, slices and bytes live until the call returns.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), headers.len() as u32, 0) };
    if sent == messages.len() as i32 { Ok(()) } else { Err(io::Error::other(format!("{sent} messages were sent"))) }
}

/// Sends bytes that stand in a file and that nobody has looked at since it was mapped.
pub fn send_unfaulted(socket: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    let file = rustix::fs::memfd_create("unfaulted", rustix::fs::MemfdFlags::empty())?;
    rustix::io::pwrite(&file, bytes, 0)?;
    // SAFETY: a new mapping of a file as long as that; it is only read by the kernel, and unmapped below.
    unsafe {
        let address = libc::mmap(std::ptr::null_mut(), page(), libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0);
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let sent = check(libc::send(socket.as_raw_fd(), address, bytes.len(), 0));
        libc::munmap(address, page());
        if sent? == bytes.len() as isize { Ok(()) } else { Err(io::Error::other("it was sent in parts")) }
    }
}

/// A listener on 127.0.0.1 of this protocol, with its address.
fn listener(protocol: libc::c_int, options: &[(libc::c_int, libc::c_int)]) -> io::Result<(OwnedFd, libc::sockaddr_in)> {
    // SAFETY: the address lives until each call returns; the descriptor is new.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_STREAM, protocol);
        if socket < 0 {
            let error = io::Error::last_os_error();
            return Err(io::Error::new(io::ErrorKind::Unsupported, format!("no such sockets here ({error})")));
        }
        let listener = OwnedFd::from_raw_fd(socket);
        let mut address: libc::sockaddr_in = std::mem::zeroed();
        address.sin_family = libc::AF_INET as u16;
        address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
        let mut length = size_of_val(&address) as u32;
        check(libc::bind(socket, (&raw const address).cast(), length) as isize)?;
        for (option, value) in options {
            let value = std::ptr::from_ref(value).cast();
            check(
                libc::setsockopt(socket, libc::IPPROTO_TCP, *option, value, size_of::<libc::c_int>() as u32) as isize
            )?;
        }
        check(libc::listen(socket, 1) as isize)?;
        check(libc::getsockname(socket, (&raw mut address).cast(), &raw mut length) as isize)?;
        Ok((listener, address))
    }
}

/// What a listener has for who connected.
fn accept(listener: &OwnedFd) -> io::Result<TcpStream> {
    // SAFETY: the descriptor is new.
    unsafe {
        let server = libc::accept(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut());
        check(server as isize)?;
        Ok(TcpStream::from(OwnedFd::from_raw_fd(server)))
    }
}

/// A client without Multipath TCP, of a listener that has it.
pub fn mptcp_for_a_plain_client() -> io::Result<(TcpStream, TcpStream)> {
    let (listener, address) = listener(libc::IPPROTO_MPTCP, &[])?;
    let client = TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, u16::from_be(address.sin_port)))?;
    Ok((client, accept(&listener)?))
}

/// A client that sends its first bytes with its SYN, where the network namespace lets it.
pub fn fast_open(first: &[u8]) -> io::Result<(TcpStream, TcpStream)> {
    let (listener, address) = listener(0, &[(libc::TCP_FASTOPEN, 5)])?;
    // SAFETY: bytes and address live until the call returns; the descriptor is new.
    let client = unsafe {
        let client = OwnedFd::from_raw_fd(check(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) as isize)? as i32);
        let (to, size) = ((&raw const address).cast(), size_of_val(&address) as u32);
        check(libc::sendto(client.as_raw_fd(), first.as_ptr().cast(), first.len(), libc::MSG_FASTOPEN, to, size))?;
        client
    };
    Ok((TcpStream::from(client), accept(&listener)?))
}

/// Whether the client's first bytes came with its SYN.
pub fn came_with_syn(client: &TcpStream) -> io::Result<bool> {
    const SYN_DATA: u8 = 1 << 5;
    // SAFETY: the value lives until the call returns; its first bytes are those of every kernel.
    unsafe {
        let mut info: libc::tcp_info = std::mem::zeroed();
        let mut size = size_of_val(&info) as u32;
        let value = (&raw mut info).cast();
        check(libc::getsockopt(client.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, value, &raw mut size) as isize)?;
        Ok(info.tcpi_options & SYN_DATA != 0)
    }
}

/// The loopback interface of a new network namespace is down.
pub fn raise_loopback() -> io::Result<()> {
    // SAFETY: the request lives until the call returns; the descriptor is new.
    unsafe {
        let socket = OwnedFd::from_raw_fd(check(libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0) as isize)? as i32);
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = *from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) as isize).map(drop)
    }
}

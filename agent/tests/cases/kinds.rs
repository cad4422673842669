//! Kinds of sockets that are no stream of HTTP, whatever they carry and whatever their numbers are.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use common::failure::Failure;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType, bind, getsockname, ipproto,
    recv, sendto, socket, socketpair,
};

use crate::lab::{Case, Expected, here};
use crate::streams::GET;

const SNIFFERS: u64 = 200;
const V4: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const V6: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::LOCALHOST), 0);
/// Behind a header that is no more than a shape.
const DATAGRAM: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

pub fn cases() -> Vec<Case> {
    let none_joined = Expected { fewer_than: vec![(Failure::Joined, SNIFFERS / 2)], ..here(0) };
    let sniffers = |name, family, to| Case::new(name, none_joined.clone(), move |_| sniff(family, to));
    vec![
        sniffers("raw sockets of TCP's number: no connections", AddressFamily::INET, V4),
        sniffers("raw sockets of TCP's number, IPv6: no connections", AddressFamily::INET6, V6),
        Case::new("UDP", here(0), |_| to_itself(AddressFamily::INET, SocketType::DGRAM, None)),
        Case::new("UDP-Lite", here(0), |_| to_itself(AddressFamily::INET, SocketType::DGRAM, Some(ipproto::UDPLITE))),
        Case::new("packet sockets", here(0), |_| packets()),
        Case::new("netlink", here(0), |_| netlink()),
        Case::new("Unix datagrams", here(0), |_| {
            let (one, other) = socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::empty(), None)?;
            rustix::net::send(&one, DATAGRAM, SendFlags::empty())?;
            receive(&other)
        }),
    ]
}

/// Each of many raw sockets receives what one of them sends.
fn sniff(family: AddressFamily, to: SocketAddr) -> io::Result<()> {
    let raw = || socket(family, SocketType::RAW, Some(ipproto::TCP));
    let sniffers = (0..SNIFFERS).map(|_| raw()).collect::<Result<Vec<OwnedFd>, _>>()?;
    sendto(raw()?, GET.as_bytes(), SendFlags::empty(), &to)?;
    sniffers.iter().try_for_each(receive)
}

/// A socket that sends to its own address.
fn to_itself(family: AddressFamily, kind: SocketType, protocol: Option<Protocol>) -> io::Result<()> {
    let socket = socket(family, kind, protocol).map_err(|error| unsupported(&error))?;
    bind(&socket, &V4)?;
    let own = getsockname(&socket)?;
    sendto(&socket, DATAGRAM, SendFlags::empty(), &own)?;
    receive(&socket)
}

/// A packet socket sees a datagram that another one sends.
fn packets() -> io::Result<()> {
    const EVERY_PROTOCOL: u32 = 0x0300; // ETH_P_ALL, in the network's order
    let every = Protocol::from_raw(EVERY_PROTOCOL.try_into().map_err(io::Error::other)?);
    let packets = socket(AddressFamily::PACKET, SocketType::DGRAM, Some(every)).map_err(|error| unsupported(&error))?;
    to_itself(AddressFamily::INET, SocketType::DGRAM, None)?;
    receive(&packets)
}

/// A netlink socket that sends to itself.
fn netlink() -> io::Result<()> {
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, Some(rustix::net::netlink::USERSOCK))
        .map_err(|error| unsupported(&error))?;
    bind(&socket, &SocketAddrNetlink::new(0, 0))?;
    let own: SocketAddrAny = getsockname(&socket)?;
    sendto(&socket, DATAGRAM, SendFlags::empty(), &own)?;
    receive(&socket)
}

fn receive(socket: &OwnedFd) -> io::Result<()> {
    recv(socket, &mut [0; 500], RecvFlags::empty())?;
    Ok(())
}

fn unsupported(error: &impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("no such sockets here ({error})"))
}

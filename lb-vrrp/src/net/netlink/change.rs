use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt::RcvBufForce};

use super::requests::{BUFFER, messages};
use super::{Address, Link};

const GROUPS: [u32; 3] = [libc::RTNLGRP_LINK, libc::RTNLGRP_IPV4_IFADDR, libc::RTNLGRP_IPV6_IFADDR];
/// A thousand addresses added and removed are two thousand messages of a kilobyte, before anybody reads.
const ROOM: usize = 8 << 20;

/// What happened to links and addresses, whoever did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// New, or changed in some way.
    Link(Link),
    LinkGone {
        index: u32,
        name: String,
    },
    /// `added`: new, or changed in some way; else removed.
    Address {
        index: u32,
        address: Address,
        added: bool,
    },
    /// Some were lost: everything has to be looked at anew.
    Overrun,
}

pub(super) struct Changes {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Changes {
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        for group in GROUPS {
            socket.add_membership(group)?;
        }
        socket.set_non_blocking(true)?;
        setsockopt(&socket, RcvBufForce, &ROOM)?;
        Ok(Self { socket, buffer: vec![0; BUFFER] })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub fn read(&mut self, mut each: impl FnMut(Change)) -> io::Result<()> {
        loop {
            match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => {
                    messages(&self.buffer[..length]).filter_map(|message| change(&message.payload)).for_each(&mut each)
                }
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::ENOBUFS) => each(Change::Overrun),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Changes").field(&self.socket.as_raw_fd()).finish()
    }
}

fn change(payload: &NetlinkPayload<Message>) -> Option<Change> {
    let NetlinkPayload::InnerMessage(message) = payload else { return None };
    match message {
        Message::NewLink(_) => Link::of(message).map(Change::Link),
        Message::DelLink(_) => Link::of(message).map(|link| Change::LinkGone { index: link.index, name: link.name }),
        Message::NewAddress(_) => address(message, true),
        Message::DelAddress(_) => address(message, false),
        _ => None,
    }
}

fn address(message: &Message, added: bool) -> Option<Change> {
    let (index, address) = Address::of(message)?;
    Some(Change::Address { index, address, added })
}

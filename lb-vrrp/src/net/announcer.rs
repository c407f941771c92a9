use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::sockopt::SndBufForce;
use nix::sys::socket::{MsgFlags, recv, setsockopt};
use socket2::Socket;

use super::{NetError, wire};
use crate::packet::{Frame, Mac, announced};

/// A thousand frames in a queue that does not move.
const ROOM: usize = 1 << 20;
/// As of adverts.
const PRIORITY: u32 = 7;
/// Whatever is longer says nothing more.
const LONGEST: usize = 128;

/// Sends gratuitous ARP and unsolicited neighbour advertisements on one interface.
#[derive(Debug)]
pub struct Announcer {
    socket: Socket,
}

/// Hears who else announces our addresses on one interface, and nothing but that: what does not concern them stays in
/// the kernel.
#[derive(Debug)]
pub struct Eavesdropper {
    socket: Socket,
    addresses: Vec<IpAddr>,
    own: Mac,
}

impl Announcer {
    pub fn open(index: u32) -> Result<Self, NetError> {
        Self::try_open(index).map_err(|e| NetError::at("opening a socket for announcements", index, e))
    }

    fn try_open(index: u32) -> io::Result<Self> {
        let socket = wire::deaf(index)?;
        setsockopt(&socket, SndBufForce, &ROOM)?;
        socket.set_priority(PRIORITY)?;
        Ok(Self { socket })
    }

    /// How many frames were taken, from the first; fewer than all where the queue is full: the rest is for later.
    pub fn send(&self, frames: &[Frame]) -> io::Result<usize> {
        for (sent, frame) in frames.iter().enumerate() {
            match nix::sys::socket::send(self.socket.as_raw_fd(), frame, MsgFlags::MSG_DONTWAIT) {
                Ok(_) => {}
                Err(Errno::EAGAIN | Errno::ENOBUFS) => return Ok(sent),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(frames.len())
    }
}

impl Eavesdropper {
    /// For addresses of one family, which `own` announces.
    pub fn open(index: u32, addresses: &[IpAddr], own: Mac) -> Result<Self, NetError> {
        let socket = match range(addresses) {
            Some((first, last)) => wire::hears_arp(index, first, last),
            None => wire::hears_neighbours(index),
        };
        let socket = socket.map_err(|e| NetError::at("opening a socket for others' announcements", index, e))?;
        let mut addresses = addresses.to_vec();
        addresses.sort_unstable();
        Ok(Self { socket, addresses, own })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The next address of ours that another host announces, and where it says that this is.
    pub fn receive(&self) -> io::Result<Option<(IpAddr, Mac)>> {
        let mut frame = [0; LONGEST];
        loop {
            match recv(self.socket.as_raw_fd(), &mut frame, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => {
                    if let Some(conflict) = announced(&frame[..length]).filter(|said| self.is_conflict(*said)) {
                        return Ok(Some(conflict));
                    }
                }
                Err(Errno::EAGAIN) => return Ok(None),
                // Told once after the interface went down (packet(7)).
                Err(Errno::ENETDOWN) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn is_conflict(&self, (address, mac): (IpAddr, Mac)) -> bool {
        mac != self.own && self.addresses.binary_search(&address).is_ok()
    }
}

/// The lowest and the highest IPv4 address; `None`: there are others.
fn range(addresses: &[IpAddr]) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let v4 = || addresses.iter().filter_map(|a| if let IpAddr::V4(v4) = a { Some(*v4) } else { None });
    Some((v4().min()?, v4().max()?))
}

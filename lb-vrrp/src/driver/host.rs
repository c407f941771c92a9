//! The kernel of this host: one socket for each interface, family and way of sending, shared by its virtual routers.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use ipnet::IpNet;
use nix::errno::Errno;

use super::clock;
use super::desired::Place;
use super::kernel::{Door, Kernel};
use super::waiter::{Wait, Waiter};
use crate::error::Error;
use crate::net::{Address, Announcer, Change, Eavesdropper, Link, NetError, Netlink, Socket, Spec};
use crate::packet::{Family, Frame, Mac, PacketError, Received};
use crate::routers::RouterId;

/// What can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    Adverts(Door),
    Announcements(RouterId),
    Changes,
    Commands,
}

/// In the upper half of a token.
const ADVERTS: u64 = 0;
const ANNOUNCEMENTS: u64 = 1 << 32;
const CHANGES: u64 = 2 << 32;
const COMMANDS: u64 = 3 << 32;

pub struct Host {
    waiter: Waiter,
    netlink: Netlink,
    doors: Vec<Option<Opened>>,
    ears: Vec<(RouterId, Eavesdropper)>,
}

struct Opened {
    spec: Spec,
    socket: Socket,
    announcer: Announcer,
    users: usize,
}

impl Host {
    pub fn open() -> Result<Self, Error> {
        let waiter = Waiter::new().map_err(Error::Thread)?;
        let netlink = Netlink::open().map_err(Error::Kernel)?;
        waiter.watch(netlink.notification_fd(), CHANGES).map_err(Error::Thread)?;
        Ok(Self { waiter, netlink, doors: Vec::new(), ears: Vec::new() })
    }

    pub fn listen_to(&self, commands: &impl AsFd) -> io::Result<()> {
        self.waiter.watch(commands, COMMANDS)
    }

    /// Replaces `ready` by what can be read.
    pub fn wait(&mut self, wait: Wait, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        ready.extend(self.waiter.wait(wait)?.map(|token| {
            let number = token as u32;
            match token & !u64::from(u32::MAX) {
                ADVERTS => Ready::Adverts(number),
                ANNOUNCEMENTS => Ready::Announcements(number),
                CHANGES => Ready::Changes,
                _ => Ready::Commands,
            }
        }));
        Ok(())
    }

    /// The next packet.
    pub fn receive<'b>(&self, door: Door, buffer: &'b mut [u8]) -> Option<Result<Received<'b>, PacketError>> {
        // An error that the network sent back is told once, and concerns no packet.
        self.door(door)?.socket.receive(buffer).ok().flatten()
    }

    /// The next address of a virtual router that another host announces, if any.
    pub fn overheard(&self, id: RouterId) -> Option<(IpAddr, Mac)> {
        let (_, ear) = self.ears.iter().find(|(owner, _)| *owner == id)?;
        ear.receive().ok().flatten()
    }

    /// Everything that has happened so far.
    pub fn changes(&mut self, changes: &mut Vec<Change>) {
        if self.netlink.notifications(|change| changes.push(change)).is_err() {
            changes.push(Change::Overrun);
        }
    }

    fn door(&self, door: Door) -> Option<&Opened> {
        self.doors.get(usize::try_from(door).ok()?)?.as_ref()
    }

    fn open_new(&mut self, spec: Spec) -> Result<Door, NetError> {
        let socket = Socket::open(&spec)?;
        let announcer = Announcer::open(spec.index)?;
        let free = self.doors.iter().position(Option::is_none).unwrap_or(self.doors.len());
        let door = free as Door;
        self.watch(socket.fd(), ADVERTS | u64::from(door), &spec.interface)?;
        let opened = Some(Opened { spec, socket, announcer, users: 1 });
        match self.doors.get_mut(free) {
            Some(place) => *place = opened,
            None => self.doors.push(opened),
        }
        Ok(door)
    }

    fn watch(&self, fd: BorrowedFd<'_>, token: u64, interface: &str) -> Result<(), NetError> {
        let watched = self.waiter.watch(fd, token);
        watched.map_err(|source| NetError { tried: "waiting".to_owned(), interface: interface.to_owned(), source })
    }
}

impl Kernel for Host {
    fn link(&mut self, name: &str) -> Result<Option<Link>, Errno> {
        self.netlink.link(name).map_err(errno)
    }

    fn addresses(&mut self, index: u32) -> Result<Vec<Address>, Errno> {
        self.netlink.addresses(index).map_err(errno)
    }

    fn add(&mut self, index: u32, addresses: &[IpNet]) -> Result<(), Errno> {
        self.netlink.add_addresses(index, addresses).map_err(errno)
    }

    fn remove(&mut self, index: u32, addresses: &[IpNet]) -> Result<(), Errno> {
        self.netlink.remove_addresses(index, addresses).map_err(errno)
    }

    fn open(&mut self, link: &Link, place: &Place) -> Result<Door, Errno> {
        // Also for unicast: a peer that is not configured for it is to be seen and counted.
        let (family, multicast) = (place.family, true);
        let spec = Spec { interface: link.name.clone(), index: link.index, family, multicast, only_from: None };
        let known = self.doors.iter_mut().zip(0..).find_map(|(opened, door)| {
            let opened = opened.as_mut().filter(|opened| opened.spec == spec)?;
            opened.users += 1;
            Some(door)
        });
        known.map_or_else(|| self.open_new(spec).map_err(errno), Ok)
    }

    fn close(&mut self, door: Door) {
        if let Some(place) = usize::try_from(door).ok().and_then(|door| self.doors.get_mut(door))
            && let Some(opened) = place
        {
            opened.users -= 1;
            if opened.users == 0 {
                discard(place.take());
            }
        }
    }

    fn eavesdrop(&mut self, id: RouterId, link: &Link, addresses: &[IpAddr]) -> Result<(), Errno> {
        self.ignore(id);
        let Some(mac) = link.mac else { return Ok(()) };
        let ear = Eavesdropper::open(link.index, addresses, mac).map_err(errno)?;
        self.watch(ear.fd(), ANNOUNCEMENTS | u64::from(id), &link.name).map_err(errno)?;
        self.ears.push((id, ear));
        Ok(())
    }

    fn ignore(&mut self, id: RouterId) {
        if let Some(at) = self.ears.iter().position(|(owner, _)| *owner == id) {
            discard(self.ears.swap_remove(at));
        }
    }

    fn send(&mut self, door: Door, payload: &[u8], source: IpAddr, to: IpAddr) -> Result<(), Errno> {
        let opened = self.door(door).ok_or(Errno::EBADF)?;
        opened.socket.send(payload, source, to).map_err(|error| of_io(&error))
    }

    fn announce(&mut self, door: Door, frames: &[Frame]) -> Result<usize, Errno> {
        let opened = self.door(door).ok_or(Errno::EBADF)?;
        opened.announcer.send(frames).map_err(|error| of_io(&error))
    }

    /// Asked at the time, since it may be switched at any.
    fn forwards(&mut self, link: &Link, family: Family) -> bool {
        let read = || std::fs::read(format!("/proc/sys/net/ipv6/conf/{}/forwarding", link.name));
        family == Family::V6 && read().is_ok_and(|text| text.starts_with(b"1"))
    }

    fn utc(&self) -> Duration {
        clock::utc()
    }
}

/// To close a packet socket takes until no CPU can be looking at it any more (net/packet/af_packet.c, packet_release),
/// which on a busy host can be seconds.
fn discard(sockets: impl Send + 'static) {
    // Where there can be no thread, they are closed here.
    let _ = std::thread::Builder::new().name("vrrp-close".to_owned()).spawn(move || drop(sockets));
}

fn errno(error: NetError) -> Errno {
    of_io(&error.source)
}

fn of_io(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or_default())
}

//! The kernel of this host, as the hands use it: sockets are shared by virtual routers where they may be.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use ipnet::IpNet;
use nix::errno::Errno;

use super::desired::Place;
use super::kernel::Kernel;
use super::letters::Door;
use super::waiter::{Wait, Waiter};
use crate::error::Error;
use crate::net::{
    Address, Announcer, Barrier, Change, Eavesdropper, Ledger, Link, NetError, Netlink, Socket, Spec, Sysctls,
    VirtualMac, leftovers,
};
use crate::packet::{Family, Frame};
use crate::routers::RouterId;

/// What can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    Announcements(RouterId),
    Changes,
    Orders,
}

const CHANGES: u64 = 1 << 32;
const ORDERS: u64 = 2 << 32;

pub struct Host {
    waiter: Waiter,
    netlink: Netlink,
    doors: Vec<Opened>,
    last_door: u32,
    grounds: Vec<Ground>,
    ears: Vec<(RouterId, Eavesdropper)>,
    virtual_macs: Vec<(RouterId, VirtualMac)>,
    /// There while some addresses accept nothing.
    barrier: Option<Barrier>,
    left: Vec<IpNet>,
    ledger: Ledger,
}

struct Opened {
    spec: Spec,
    door: Door<Arc<Socket>>,
    users: usize,
}

/// An interface with addresses of ours.
struct Ground {
    index: u32,
    announcer: Announcer,
    sysctls: Sysctls,
    users: usize,
}

impl Host {
    /// Removes what dead processes have left.
    pub fn open(ledger: Ledger) -> Result<Self, Error> {
        let waiter = Waiter::new().map_err(Error::Thread)?;
        let netlink = Netlink::open().map_err(Error::Kernel)?;
        waiter.watch(netlink.notification_fd(), CHANGES).map_err(Error::Thread)?;
        let (doors, grounds, ears, virtual_macs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (barrier, left) = (None, Vec::new());
        let mut host =
            Self { waiter, netlink, doors, last_door: 0, grounds, ears, virtual_macs, barrier, left, ledger };
        host.sweep().map_err(|error| Error::Kernel(io::Error::other(error)))?;
        Ok(host)
    }

    fn sweep(&mut self) -> Result<(), NetError> {
        for link in self.netlink.links()? {
            let addresses = self.netlink.addresses(link.index)?;
            let ours: Vec<IpNet> = addresses.iter().filter(|address| address.ours).map(|address| address.ip).collect();
            if !ours.is_empty() {
                self.netlink.remove_addresses(link.index, &ours)?;
                self.left.extend(ours);
            }
        }
        for link in leftovers(&mut self.netlink)? {
            self.netlink.delete_link(link.index)?;
        }
        Ok(())
    }

    pub fn listen_to(&self, orders: &impl AsFd) -> io::Result<()> {
        self.waiter.watch(orders, ORDERS)
    }

    /// Replaces `ready` by what can be read.
    pub fn wait(&mut self, wait: Wait, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        ready.extend(self.waiter.wait(wait)?.map(|token| match token {
            CHANGES => Ready::Changes,
            ORDERS => Ready::Orders,
            id => Ready::Announcements(id as RouterId),
        }));
        Ok(())
    }

    /// Whether another host announces an address of a virtual router; takes one announcement away.
    pub fn overhears(&self, id: RouterId) -> bool {
        let ear = self.ears.iter().find(|(owner, _)| *owner == id);
        ear.is_some_and(|(_, ear)| matches!(ear.receive(), Ok(Some(_))))
    }

    /// Everything that has happened so far.
    pub fn changes(&mut self, changes: &mut Vec<Change>) {
        if self.netlink.notifications(|change| changes.push(change)).is_err() {
            changes.push(Change::Overrun);
        }
    }

    fn door(&mut self, spec: Spec) -> Result<Door<Arc<Socket>>, NetError> {
        // Those that the head does not know any more either.
        self.doors.retain(|opened| opened.users > 0 || Arc::strong_count(&opened.door.socket) > 1);
        if let Some(opened) = self.doors.iter_mut().find(|opened| opened.spec == spec) {
            opened.users += 1;
            return Ok(opened.door.clone());
        }
        let socket = Arc::new(Socket::open(&spec)?);
        self.last_door += 1;
        let door = Door { number: self.last_door, socket };
        self.doors.push(Opened { spec, door: door.clone(), users: 1 });
        Ok(door)
    }

    fn virtual_mac(&self, id: RouterId) -> Result<&VirtualMac, Errno> {
        self.virtual_macs.iter().find(|(owner, _)| *owner == id).map(|(_, mac)| mac).ok_or(Errno::ENODEV)
    }
}

impl Kernel for Host {
    type Socket = Arc<Socket>;

    fn link(&mut self, name: &str) -> Result<Option<Link>, Errno> {
        self.netlink.link(name).map_err(errno)
    }

    fn link_with(&mut self, address: IpAddr) -> Result<Option<Link>, Errno> {
        for link in self.netlink.links().map_err(errno)? {
            let addresses = self.netlink.addresses(link.index).map_err(errno)?;
            if addresses.iter().any(|known| known.ip.addr() == address) {
                return Ok(Some(link));
            }
        }
        Ok(None)
    }

    fn addresses(&mut self, index: u32) -> Result<Vec<Address>, Errno> {
        self.netlink.addresses(index).map_err(errno)
    }

    fn add(&mut self, index: u32, addresses: &[IpNet]) -> Result<(), Errno> {
        let virtual_mac = self.virtual_macs.iter().find(|(_, mac)| mac.index() == index);
        match virtual_mac {
            Some((_, mac)) => mac.add_addresses(&mut self.netlink, addresses).map_err(errno),
            None => self.netlink.add_addresses(index, addresses).map_err(errno),
        }
    }

    fn remove(&mut self, index: u32, addresses: &[IpNet]) -> Result<(), Errno> {
        self.netlink.remove_addresses(index, addresses).map_err(errno)
    }

    fn was_left(&self, address: &IpNet) -> bool {
        self.left.contains(address)
    }

    fn enter(&mut self, link: &Link, family: Family) -> Result<(), Errno> {
        let at = match self.grounds.iter().position(|ground| ground.index == link.index) {
            Some(at) => at,
            None => {
                let announcer = Announcer::open(link.index).map_err(errno)?;
                let sysctls = Sysctls::noted_in(&self.ledger);
                self.grounds.push(Ground { index: link.index, announcer, sysctls, users: 0 });
                self.grounds.len() - 1
            }
        };
        let ground = &mut self.grounds[at];
        ground.users += 1;
        match family {
            Family::V4 => ground.sysctls.promote_secondaries(&link.name).map_err(errno),
            Family::V6 => Ok(()),
        }
    }

    fn leave(&mut self, link: &Link) {
        let Some(at) = self.grounds.iter().position(|ground| ground.index == link.index) else { return };
        self.grounds[at].users -= 1;
        if self.grounds[at].users == 0 {
            // What was set on an interface that is gone is gone with it.
            let _ = self.grounds.swap_remove(at).sysctls.undo();
        }
    }

    fn open(&mut self, link: &Link, place: &Place) -> Result<Door<Arc<Socket>>, Errno> {
        // Also for unicast: a peer that is not configured for it is to be seen and counted.
        let multicast = true;
        let spec = Spec { disguised: place.virtual_mac, ..Spec::of(link, place.family, multicast) };
        self.door(spec).map_err(errno)
    }

    fn close(&mut self, door: &Door<Arc<Socket>>) {
        let known = self.doors.iter_mut().find(|opened| opened.door.number == door.number);
        known.into_iter().for_each(|opened| opened.users = opened.users.saturating_sub(1));
    }

    fn eavesdrop(&mut self, id: RouterId, link: &Link, addresses: &[IpAddr]) -> Result<(), Errno> {
        self.ignore(id);
        let Some(mac) = link.mac else { return Ok(()) };
        let ear = Eavesdropper::open(link.index, addresses, mac).map_err(errno)?;
        self.waiter.watch(ear.fd(), id.into()).map_err(|error| of_io(&error))?;
        self.ears.push((id, ear));
        Ok(())
    }

    fn ignore(&mut self, id: RouterId) {
        if let Some(at) = self.ears.iter().position(|(owner, _)| *owner == id) {
            discard(self.ears.swap_remove(at));
        }
    }

    fn announce(&mut self, link: &Link, frames: &[Frame]) -> Result<usize, Errno> {
        let ground = self.grounds.iter().find(|ground| ground.index == link.index).ok_or(Errno::ENODEV)?;
        ground.announcer.send(frames).map_err(|error| of_io(&error))
    }

    /// Asked at the time, since it may be switched at any.
    fn forwards(&mut self, link: &Link, family: Family) -> bool {
        let read = || std::fs::read(format!("/proc/sys/net/ipv6/conf/{}/forwarding", link.name));
        family == Family::V6 && read().is_ok_and(|text| text.starts_with(b"1"))
    }

    /// A host that lb may not set it on may have it at 0.
    fn keeps_secondaries(&mut self, link: &Link) -> bool {
        let read = |name| std::fs::read(format!("/proc/sys/net/ipv4/conf/{name}/promote_secondaries"));
        ["all", link.name.as_str()].into_iter().any(|name| read(name).is_ok_and(|text| text.starts_with(b"1")))
    }

    fn make_virtual(&mut self, id: RouterId, parent: &Link, place: &Place) -> Result<Link, Errno> {
        let made =
            VirtualMac::create(&mut self.netlink, &self.ledger, parent, place.family, place.vrid).map_err(errno)?;
        let link = self.netlink.link(made.name()).map_err(errno)?.ok_or(Errno::ENODEV);
        self.virtual_macs.push((id, made));
        let link = link?;
        self.enter(&link, Family::V6)?;
        Ok(link)
    }

    fn raise_virtual(&mut self, id: RouterId, place: &Place) -> Result<Door<Arc<Socket>>, Errno> {
        let at = self.virtual_macs.iter().position(|(owner, _)| *owner == id).ok_or(Errno::ENODEV)?;
        let Self { virtual_macs, netlink, .. } = self;
        let mac = &virtual_macs[at].1;
        mac.set_up(netlink, true).map_err(errno)?;
        let spec = mac.spec(place.family, place.multicast);
        self.door(spec).map_err(errno)
    }

    fn lower_virtual(&mut self, id: RouterId) -> Result<(), Errno> {
        let index = self.virtual_mac(id)?.index();
        let known = self.doors.iter_mut().filter(|opened| opened.spec.index == index);
        known.for_each(|opened| opened.users = 0);
        self.netlink.set_up(index, false).map_err(errno)
    }

    fn remove_virtual(&mut self, id: RouterId) -> Result<(), Errno> {
        let at = self.virtual_macs.iter().position(|(owner, _)| *owner == id).ok_or(Errno::ENODEV)?;
        let (_, mac) = self.virtual_macs.swap_remove(at);
        let index = mac.index();
        self.doors.iter_mut().filter(|opened| opened.spec.index == index).for_each(|opened| opened.users = 0);
        if let Some(at) = self.grounds.iter().position(|ground| ground.index == index) {
            discard(self.grounds.swap_remove(at).announcer);
        }
        mac.remove(&mut self.netlink).map_err(errno)
    }

    fn refuse(&mut self, addresses: &[IpAddr]) -> Result<(), Errno> {
        if addresses.is_empty() {
            self.barrier = None;
            return Ok(());
        }
        let barrier = match self.barrier.take() {
            Some(barrier) => barrier,
            None => Barrier::open().map_err(errno)?,
        };
        self.barrier.insert(barrier).set(addresses).map_err(errno)
    }
}

/// To close a packet socket takes until no CPU can be looking at it any more (net/packet/af_packet.c, packet_release),
/// which on a busy host can be seconds. Nobody has to wait for it.
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

impl AsFd for Door<Arc<Socket>> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.fd()
    }
}

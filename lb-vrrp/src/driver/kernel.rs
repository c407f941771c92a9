//! What is asked of the kernel; the tests have one of their own.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use nix::errno::Errno;

use super::desired::Place;
use super::letters::{Door, Order};
use crate::net::{Address, Link};
use crate::packet::{Family, Frame, Mac};
use crate::routers::RouterId;

/// What the head asks: nothing that could take a while.
pub trait Network {
    type Socket;
    fn send(&mut self, socket: &Self::Socket, payload: &[u8], source: IpAddr, to: IpAddr) -> Result<(), Errno>;
    /// To the group, from a MAC address that the interface of the socket does not have.
    fn send_disguised(&mut self, socket: &Self::Socket, payload: &[u8], source: IpAddr, from: Mac)
    -> Result<(), Errno>;
    /// Tells from now on when something can be read there.
    fn watch(&mut self, door: &Door<Self::Socket>) -> Result<(), Errno>;
    fn unwatch(&mut self, door: &Door<Self::Socket>);
    fn order(&mut self, order: Order);
    /// Since 1970.
    fn utc(&self) -> Duration;
}

/// What the hands ask. Much of it waits for a lock of the kernel (rtnl), which others may hold for seconds.
pub trait Kernel {
    type Socket: Clone;
    /// `None`: there is no such interface.
    fn link(&mut self, name: &str) -> Result<Option<Link>, Errno>;
    /// The interface that has an address.
    fn link_with(&mut self, address: IpAddr) -> Result<Option<Link>, Errno>;
    fn addresses(&mut self, index: u32) -> Result<Vec<Address>, Errno>;
    /// Those that are there already stay as they are.
    fn add(&mut self, index: u32, addresses: &[IpNet]) -> Result<(), Errno>;
    /// Those that are not there are no error.
    fn remove(&mut self, index: u32, addresses: &[IpNet]) -> Result<(), Errno>;
    /// Whether a dead process had left the address; it is gone now.
    fn was_left(&self, address: &IpNet) -> bool;
    /// Gets ready to have addresses on an interface and to announce them, until [`Kernel::leave`].
    fn enter(&mut self, link: &Link, family: Family) -> Result<(), Errno>;
    /// One user of it less; what was set there is undone with the last one.
    fn leave(&mut self, link: &Link);
    /// A socket for the adverts of a virtual router, or that of another one which does as well.
    fn open(&mut self, link: &Link, place: &Place) -> Result<Door<Self::Socket>, Errno>;
    /// One user of it less.
    fn close(&mut self, door: &Door<Self::Socket>);
    /// Listens to who else announces addresses of a virtual router, from now on.
    fn eavesdrop(&mut self, id: RouterId, link: &Link, addresses: &[IpAddr]) -> Result<(), Errno>;
    /// Does not listen any more.
    fn ignore(&mut self, id: RouterId);
    /// How many were taken, from the first.
    fn announce(&mut self, link: &Link, frames: &[Frame]) -> Result<usize, Errno>;
    /// Whether packets of the family are forwarded from the interface.
    fn forwards(&mut self, link: &Link, family: Family) -> bool;
    /// Whether the other addresses of a network stay when the first of them goes.
    fn keeps_secondaries(&mut self, link: &Link) -> bool;
    /// An interface for the addresses with the MAC address of the virtual router. It is down.
    fn make_virtual(&mut self, id: RouterId, parent: &Link, place: &Place) -> Result<Link, Errno>;
    /// Up, and a socket to send adverts from it; or down, and the socket has one user less.
    fn raise_virtual(&mut self, id: RouterId, place: &Place) -> Result<Door<Self::Socket>, Errno>;
    fn lower_virtual(&mut self, id: RouterId) -> Result<(), Errno>;
    /// With whatever was set for it.
    fn remove_virtual(&mut self, id: RouterId) -> Result<(), Errno>;
    /// Drops what is sent to these addresses, and to no others any more.
    fn refuse(&mut self, addresses: &[IpAddr]) -> Result<(), Errno>;
}

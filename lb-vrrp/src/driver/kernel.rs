//! What a node asks of the kernel; the tests have one of their own.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use nix::errno::Errno;

use super::desired::Place;
use crate::net::{Address, Link};
use crate::packet::{Family, Frame};
use crate::routers::RouterId;

/// A socket for adverts: what [`Kernel::open`] gave it.
pub type Door = u32;

pub trait Kernel {
    /// `None`: there is no such interface.
    fn link(&mut self, name: &str) -> Result<Option<Link>, Errno>;
    fn addresses(&mut self, index: u32) -> Result<Vec<Address>, Errno>;
    /// Those that are there already stay as they are.
    fn add(&mut self, index: u32, addresses: &[IpNet]) -> Result<(), Errno>;
    /// Those that are not there are no error.
    fn remove(&mut self, index: u32, addresses: &[IpNet]) -> Result<(), Errno>;
    /// Opens the way for the adverts of a virtual router, or shares that of another one.
    fn open(&mut self, link: &Link, place: &Place) -> Result<Door, Errno>;
    /// One user of it less.
    fn close(&mut self, door: Door);
    /// Listens to who else announces addresses of a virtual router, from now on.
    fn eavesdrop(&mut self, id: RouterId, link: &Link, addresses: &[IpAddr]) -> Result<(), Errno>;
    /// Does not listen any more.
    fn ignore(&mut self, id: RouterId);
    fn send(&mut self, door: Door, payload: &[u8], source: IpAddr, to: IpAddr) -> Result<(), Errno>;
    /// How many were taken, from the first.
    fn announce(&mut self, door: Door, frames: &[Frame]) -> Result<usize, Errno>;
    /// Whether packets of the family are forwarded from the interface.
    fn forwards(&mut self, link: &Link, family: Family) -> bool;
    /// Since 1970.
    fn utc(&self) -> Duration;
}

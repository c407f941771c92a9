//! Links and addresses, by rtnetlink(7).
//!
//! | file | what it does |
//! |---|---|
//! | `requests.rs` | messages to the kernel, and its answers |
//! | `link.rs`, `address.rs` | what the messages say |
//! | `change.rs` | what the kernel tells unasked |

mod address;
mod change;
mod link;
mod requests;

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage as Message;

pub use address::{Address, OURS};
pub use change::Change;
pub use link::{Kind, Link};

use self::change::Changes;
use self::requests::Requests;
use super::NetError;
use super::error::is_gone;
use crate::packet::Mac;

/// One socket for requests, one for notifications. The kernel carries out a request while it is being sent, so
/// nothing here waits for anything but the kernel's own lock.
#[derive(Debug)]
pub struct Netlink {
    requests: Requests,
    changes: Changes,
    /// Addresses that stood on an interface before we wanted to add them: they are left there.
    foreign: HashSet<(u32, IpAddr)>,
}

impl Netlink {
    pub fn open() -> io::Result<Self> {
        Ok(Self { requests: Requests::open()?, changes: Changes::open()?, foreign: HashSet::new() })
    }

    /// `None`: there is no such interface.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, NetError> {
        match self.requests.get(Message::GetLink(link::named(name))) {
            Ok(answer) => Ok(Link::of(&answer)),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(NetError::new("looking", name, error)),
        }
    }

    pub fn links(&mut self) -> Result<Vec<Link>, NetError> {
        let answers = self.requests.dump(Message::GetLink(link::every()));
        let answers = answers.map_err(|e| NetError::new("looking", "all interfaces", e))?;
        Ok(answers.iter().filter_map(Link::of).collect())
    }

    /// Of one interface, in the kernel's order: the first IPv4 address that is not secondary is its primary one.
    pub fn addresses(&mut self, index: u32) -> Result<Vec<Address>, NetError> {
        let answers = self.requests.dump(Message::GetAddress(address::every(index)));
        let answers = match answers {
            Err(error) if is_gone(&error) => return Ok(Vec::new()),
            answers => answers.map_err(|e| NetError::at("listing addresses", index, e))?,
        };
        let addresses = answers.iter().filter_map(Address::of);
        Ok(addresses.filter(|(at, _)| *at == index).map(|(_, address)| address).collect())
    }

    /// Marked as [`OURS`], and without duplicate address detection. Those that stand there already stay as they are,
    /// and if somebody else put them there they also stay when they are to be removed. Tries all, and returns the
    /// first error.
    pub fn add_addresses(&mut self, index: u32, addresses: &[IpNet]) -> Result<(), NetError> {
        self.add(index, addresses, None)
    }

    /// `metric`: of the route to the network of each address.
    pub(in crate::net) fn add(&mut self, index: u32, addresses: &[IpNet], metric: Option<u32>) -> Result<(), NetError> {
        let mut failed = None;
        let mut are_there = false;
        let messages = addresses.iter().map(|a| Message::NewAddress(address::ours(index, *a, metric)));
        let outcome =
            self.requests.change(messages, NLM_F_CREATE | NLM_F_EXCL, |nth, error| match error.raw_os_error() {
                Some(libc::EEXIST) => are_there = true,
                _ => {
                    failed.get_or_insert_with(|| NetError::at(format!("adding {}", addresses[nth]), index, error));
                }
            });
        outcome.map_err(|e| NetError::at("adding addresses", index, e))?;
        for address in addresses {
            self.foreign.remove(&(index, address.addr()));
        }
        if are_there {
            self.note_foreign(index, addresses)?;
        }
        failed.map_or(Ok(()), Err)
    }

    fn note_foreign(&mut self, index: u32, wanted: &[IpNet]) -> Result<(), NetError> {
        let wanted: HashSet<IpAddr> = wanted.iter().map(IpNet::addr).collect();
        let foreign = self.addresses(index)?.into_iter().filter(|a| !a.ours).map(|a| a.ip.addr());
        self.foreign.extend(foreign.filter(|ip| wanted.contains(ip)).map(|ip| (index, ip)));
        Ok(())
    }

    /// Those that are not there, or were there before [`Netlink::add_addresses`], are passed over. Tries all, and
    /// returns the first error.
    pub fn remove_addresses(&mut self, index: u32, addresses: &[IpNet]) -> Result<(), NetError> {
        let ours: Vec<IpNet> =
            addresses.iter().filter(|a| !self.foreign.contains(&(index, a.addr()))).copied().collect();
        let mut failed = None;
        let messages = ours.iter().map(|a| Message::DelAddress(address::plain(index, *a)));
        let outcome = self.requests.change(messages, 0, |nth, error| {
            if !is_gone(&error) && error.raw_os_error() != Some(libc::EADDRNOTAVAIL) {
                failed.get_or_insert_with(|| NetError::at(format!("removing {}", ours[nth]), index, error));
            }
        });
        outcome.map_err(|e| NetError::at("removing addresses", index, e))?;
        failed.map_or(Ok(()), Err)
    }

    /// A second MAC address on `parent`, in private mode: it does not talk with other macvlans of the same parent. It
    /// is down.
    pub fn create_macvlan(&mut self, name: &str, parent: u32, mac: Mac) -> Result<Link, NetError> {
        let messages = [Message::NewLink(link::macvlan(name, parent, mac))];
        self.change_one(messages, NLM_F_CREATE | NLM_F_EXCL)
            .map_err(|e| NetError::new("creating a macvlan", name, e))?;
        let created = self.link(name)?;
        created.ok_or_else(|| NetError::new("looking for a new macvlan", name, libc_error(libc::ENODEV)))
    }

    /// Fine where it is gone already.
    pub fn delete_link(&mut self, index: u32) -> Result<(), NetError> {
        match self.change_one([Message::DelLink(link::numbered(index))], 0) {
            Err(error) if !is_gone(&error) => Err(NetError::at("deleting", index, error)),
            _ => Ok(()),
        }
    }

    pub fn set_up(&mut self, index: u32, up: bool) -> Result<(), NetError> {
        let tried = if up { "setting it up" } else { "setting it down" };
        let messages = [Message::SetLink(link::switched(index, up))];
        self.change_one(messages, 0).map_err(|e| NetError::at(tried, index, e))
    }

    fn change_one(&mut self, message: [Message; 1], flags: u16) -> io::Result<()> {
        let mut refused = Ok(());
        self.requests.change(message.into_iter(), flags, |_, error| refused = Err(error))?;
        refused
    }

    /// Hands over everything that has happened so far.
    pub fn notifications(&mut self, each: impl FnMut(Change)) -> io::Result<()> {
        self.changes.read(each)
    }

    /// Readable when there are notifications.
    pub fn notification_fd(&self) -> BorrowedFd<'_> {
        self.changes.fd()
    }
}

fn libc_error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

//! This host's network as the choice of interfaces and addresses sees it, asked of the kernel.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::IpAddr;

use crate::attach::{Facts, Network, Peer};
use crate::desired;
use crate::ethtool::{Ethtool, Features};
use crate::netlink::{Kind, Link, Netlink, Route};

/// Links and addresses as they were when it was made; routes are asked for, and remembered.
pub struct Host {
    netlink: RefCell<Netlink>,
    links: BTreeMap<u32, Link>,
    holders: HashMap<IpAddr, u32>,
    routes: RefCell<HashMap<IpAddr, Option<Route>>>,
}

impl Host {
    pub fn look() -> io::Result<Self> {
        let mut netlink = Netlink::open()?;
        let links = netlink.links()?.into_iter().map(|link| (link.index, link)).collect();
        let holders = netlink.addresses()?.into_iter().collect();
        Ok(Self { netlink: RefCell::new(netlink), links, holders, routes: RefCell::default() })
    }

    /// By index.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    pub fn named(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|link| link.name == name)
    }

    pub fn route_to(&self, destination: IpAddr) -> Option<Route> {
        *self.routes.borrow_mut().entry(destination).or_insert_with(|| {
            // Without an answer there is no route that could be used.
            self.netlink.borrow_mut().route(destination).unwrap_or_default()
        })
    }

    /// The kernel is to know the way to each of these.
    pub fn resolve(&self, destinations: impl Iterator<Item = IpAddr>) {
        let hops: BTreeSet<(u32, IpAddr)> = destinations
            .filter_map(|d| self.route_to(d).filter(|r| !r.local).map(|r| (r.interface, r.next_hop(d))))
            .collect();
        for (interface, address) in hops {
            if let Err(error) = self.netlink.borrow_mut().use_neighbour(interface, address) {
                tracing::debug!(interface, %address, %error, "cannot have a neighbour resolved");
            }
        }
    }

    pub fn facts(&self, link: &Link) -> Facts {
        let features = Ethtool::open().and_then(|ethtool| ethtool.features(&link.name)).unwrap_or_default();
        Facts { link: link.clone(), features, peer: self.peer(link) }
    }

    fn peer(&self, link: &Link) -> Peer {
        if link.kind != Kind::Veth {
            return Peer::None;
        }
        let here = link.lower.filter(|_| !link.lower_is_elsewhere).and_then(|index| self.links.get(&index));
        let features = |peer: &Link| -> io::Result<Features> { Ethtool::open()?.features(&peer.name) };
        here.and_then(|peer| features(peer).ok()).map_or(Peer::Elsewhere, Peer::Here)
    }
}

impl desired::Host for Host {
    fn source(&self, destination: IpAddr) -> Option<IpAddr> {
        self.route_to(destination)?.source
    }
}

impl Network for &Host {
    fn holder(&mut self, address: IpAddr) -> Option<u32> {
        self.holders.get(&address).copied()
    }

    fn route(&mut self, destination: IpAddr) -> Option<Route> {
        self.route_to(destination)
    }

    fn link(&self, index: u32) -> Option<&Link> {
        self.links.get(&index)
    }
}

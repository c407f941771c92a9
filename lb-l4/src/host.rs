//! This host's network as the choice of interfaces and addresses sees it, asked of the kernel.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::net::IpAddr;

use crate::attach::{Facts, Network, Peer};
use crate::desired;
use crate::ethtool::{Ethtool, Features};
use crate::neighbours::Neighbour;
use crate::netlink::{Kind, Link, Netlink, Route};

/// Routers that are kept resolved.
const GATEWAYS: usize = 256;

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
        let hops: BTreeSet<Neighbour> = destinations
            .filter_map(|d| self.route_to(d).filter(|r| !r.local).map(|r| (r.interface, r.next_hop(d))))
            .collect();
        self.use_neighbours(hops);
    }

    /// The same of the routers by which this host reaches others over these interfaces, or what stands on them.
    pub fn resolve_gateways(&self, interfaces: &BTreeSet<u32>) -> io::Result<()> {
        let over: BTreeSet<u32> =
            self.links().filter(|link| is_over(link, interfaces)).map(|link| link.index).collect();
        let masters = interfaces.iter().filter_map(|index| self.links.get(index)?.master);
        let wanted: BTreeSet<u32> = over.into_iter().chain(masters).collect();
        let gateways = Netlink::gateways()?.into_iter().filter(|(interface, _)| wanted.contains(interface));
        self.use_neighbours(gateways.take(GATEWAYS));
        Ok(())
    }

    fn use_neighbours(&self, neighbours: impl IntoIterator<Item = Neighbour>) {
        for (interface, address) in neighbours {
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

fn is_over(link: &Link, interfaces: &BTreeSet<u32>) -> bool {
    interfaces.contains(&link.index) || link.lower.is_some_and(|lower| interfaces.contains(&lower))
}

impl desired::Host for Host {
    fn source(&self, destination: IpAddr) -> Option<IpAddr> {
        self.route_to(destination)?.source
    }

    fn source_beside(&self, destination: IpAddr, vips: &HashSet<IpAddr>) -> Option<IpAddr> {
        let route = self.route_to(destination)?;
        beside(route.source?, route.interface, vips, &self.holders)
    }
}

/// Of the addresses that the interface holds the nearest to the kernel's choice, which for IPv6 may well be a VIP: it
/// prefers what is most like the destination, and what was added last (RFC 6724 section 5).
fn beside(chosen: IpAddr, interface: u32, vips: &HashSet<IpAddr>, holders: &HashMap<IpAddr, u32>) -> Option<IpAddr> {
    if !vips.contains(&chosen) {
        return Some(chosen);
    }
    let reachable = |address: &IpAddr| match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(v6) => !v6.is_unicast_link_local(),
    };
    let others = holders.iter().filter(|(address, holder)| **holder == interface && !vips.contains(address));
    let others = others.map(|(address, _)| *address).filter(|a| a.is_ipv4() == chosen.is_ipv4() && reachable(a));
    // A backend that does not mind gets its packets from the VIP, rather than none.
    Some(others.min_by_key(|address| (distance(*address, chosen), *address)).unwrap_or(chosen))
}

/// Smaller where more leading bits are the same.
fn distance(a: IpAddr, b: IpAddr) -> u128 {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => u128::from(u32::from(a) ^ u32::from(b)),
        (IpAddr::V6(a), IpAddr::V6(b)) => u128::from(a) ^ u128::from(b),
        _ => u128::MAX,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_vip_is_the_source_of_a_tunnel_only_where_there_is_nothing_else() {
        let vips = ["2001:db8:2::100", "203.0.113.100"].map(ip).into();
        let held = [("2001:db8:2::100", 1), ("fe80::1", 1), ("2001:db8:9::2", 1), ("2001:db8:2::2", 1), ("fd00::1", 2)];
        let mut holders: HashMap<IpAddr, u32> = held.map(|(address, index)| (ip(address), index)).into();
        let source = |chosen: &str, holders: &HashMap<IpAddr, u32>| beside(ip(chosen), 1, &vips, holders).unwrap();
        assert_eq!(source("fd00::1", &holders), ip("fd00::1"), "the kernel's choice");
        assert_eq!(source("2001:db8:2::100", &holders), ip("2001:db8:2::2"), "of the same network");
        holders.remove(&ip("2001:db8:2::2"));
        assert_eq!(source("2001:db8:2::100", &holders), ip("2001:db8:9::2"), "another of the interface");
        holders.remove(&ip("2001:db8:9::2"));
        assert_eq!(source("2001:db8:2::100", &holders), ip("2001:db8:2::100"));
        assert_eq!(source("203.0.113.100", &holders), ip("203.0.113.100"), "of the other family");
    }
}

//! Which interfaces layer 4 takes its packets from, by which hook, and why: pure, from what is known of them.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_core::config::Attach;

use crate::ethtool::Features;
use crate::loader::{Hook, Variant};
use crate::netlink::{Kind, Link, Route};

/// What decides about one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub link: Link,
    pub features: Features,
    pub peer: Peer,
}

/// The other end of a veth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// It is no veth.
    None,
    /// In another network namespace, where we cannot look.
    Elsewhere,
    Here(Features),
}

/// May packets of this interface be taken by XDP?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fitness {
    Fit,
    /// As far as can be known from here.
    Doubtful(String),
    Unfit(String),
}

/// One interface, its hook, and why that one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub interface: u32,
    pub name: String,
    pub hook: Hook,
    pub veth: bool,
    pub why: String,
    /// Said at the start, but not in the way of it.
    pub warning: Option<String>,
}

impl Choice {
    /// The program for it.
    pub fn variant(&self) -> Variant {
        Variant { hook: self.hook, redirect_only: self.veth && self.hook == Hook::Xdp }
    }
}

/// The interface that cannot do what was demanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    pub name: String,
    pub why: String,
}

/// One hook for all: what XDP receives it cannot send by an interface that it does not hold.
pub fn choose(attach: Attach, interfaces: &[Facts]) -> Result<Vec<Choice>, Unfit> {
    match attach {
        Attach::Tc => Ok(all_by_tc(interfaces, "l4.attach is tc")),
        Attach::Xdp => interfaces.iter().map(demanded).collect(),
        Attach::Auto => Ok(automatic(interfaces)),
    }
}

fn automatic(interfaces: &[Facts]) -> Vec<Choice> {
    let obstacle = interfaces.iter().find_map(|facts| match fitness(facts) {
        Fitness::Fit => None,
        Fitness::Doubtful(why) | Fitness::Unfit(why) => Some(format!("XDP is not safe on {}: {why}", facts.link.name)),
    });
    match obstacle.or_else(|| aggregates(interfaces)) {
        Some(why) => all_by_tc(interfaces, &why),
        None => {
            interfaces.iter().map(|f| choice(f, Hook::Xdp, "every interface has native XDP".to_owned(), None)).collect()
        }
    }
}

/// Measured: bulk TCP is several times faster by tc where a packet stands for forty.
fn aggregates(interfaces: &[Facts]) -> Option<String> {
    let facts = interfaces.iter().find(|facts| facts.features.aggregates)?;
    let name = &facts.link.name;
    Some(format!("{name} is given TCP segments many at a time, which XDP would end; l4.attach: xdp takes it still"))
}

fn all_by_tc(interfaces: &[Facts], why: &str) -> Vec<Choice> {
    interfaces.iter().map(|facts| choice(facts, Hook::Tc, why.to_owned(), None)).collect()
}

fn demanded(facts: &Facts) -> Result<Choice, Unfit> {
    let why = "l4.attach is xdp".to_owned();
    match fitness(facts) {
        Fitness::Fit => Ok(choice(facts, Hook::Xdp, why, None)),
        Fitness::Doubtful(doubt) => Ok(choice(facts, Hook::Xdp, why, Some(doubt))),
        Fitness::Unfit(why) => Err(Unfit { name: facts.link.name.clone(), why }),
    }
}

fn choice(facts: &Facts, hook: Hook, why: String, warning: Option<String>) -> Choice {
    Choice {
        interface: facts.link.index,
        name: facts.link.name.clone(),
        hook,
        veth: facts.link.kind == Kind::Veth,
        why,
        warning,
    }
}

/// Whether the driver can do it only an attempt shows; this is about what would fail in silence.
pub fn fitness(facts: &Facts) -> Fitness {
    let name = &facts.link.name;
    let unfit = |why: &str| Fitness::Unfit(why.to_owned());
    match facts.link.kind {
        _ if facts.link.loopback => unfit("nothing is forwarded over the loopback interface"),
        _ if !facts.link.ethernet => unfit("it is no Ethernet interface"),
        Kind::Device => Fitness::Fit,
        Kind::Veth => veth(name, facts.peer),
        Kind::Vlan { .. } => {
            unfit("a VLAN interface has no XDP of its own; its parent has: name that in l4.interfaces")
        }
        Kind::Bridge => unfit("a bridge has no native XDP; its ports have: name those in l4.interfaces, or use tc"),
        Kind::Bond | Kind::Team => unfit("XDP on a bond or team depends on its mode and on every member; use tc"),
        Kind::Tun => unfit("a tun or tap device hands over packets whose checksum is not finished; use tc"),
        Kind::Dummy | Kind::Macvlan | Kind::Virtual => unfit("it has no native XDP; use tc"),
    }
}

/// Measured: a packet whose sender left the checksum to hardware is forwarded with a wrong one, and the
/// kernel drops what XDP sends to an end that does not receive by NAPI. Nothing says so anywhere.
fn veth(name: &str, peer: Peer) -> Fitness {
    let fix = "on the peer: `ethtool -K PEER tx off gro on`";
    match peer {
        Peer::Here(Features { tx_checksum: false, gro: true, .. }) => Fitness::Fit,
        Peer::Here(features) => {
            let mut wrong = vec![];
            if features.tx_checksum {
                wrong.push("sends with unfinished checksums");
            }
            if !features.gro {
                wrong.push("does not receive by NAPI");
            }
            Fitness::Unfit(format!("the peer of {name} {}, so that packets would vanish; {fix}", wrong.join(" and ")))
        }
        Peer::Elsewhere | Peer::None => Fitness::Doubtful(format!(
            "the peer of {name} is in another network namespace; if it leaves checksums to hardware or does not receive by NAPI, packets vanish; {fix}"
        )),
    }
}

/// What the derivation of interfaces asks of the host.
pub trait Network {
    /// The interface that holds the address.
    fn holder(&mut self, address: IpAddr) -> Option<u32>;
    fn route(&mut self, destination: IpAddr) -> Option<Route>;
    fn link(&self, index: u32) -> Option<&Link>;
}

/// The interfaces that packets of these frontends and backends pass.
pub fn derive(network: &mut impl Network, frontends: &[IpAddr], backends: &[IpAddr]) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for address in frontends {
        match network.holder(*address).filter(|index| carries(network, *index)) {
            Some(index) => found.insert(below(network, index)),
            // Held by the loopback or a dummy, or not (yet) at all: packets for it come from elsewhere.
            None => {
                let towards = network.route(*address).filter(|r| !r.local).map(|r| r.interface);
                let default = || uplink(network, *address);
                towards.or_else(default).is_some_and(|index| found.insert(below(network, index)))
            }
        };
    }
    for backend in backends {
        let towards = network.route(*backend).filter(|r| !r.local).map(|r| r.interface);
        found.extend(towards.map(|index| below(network, index)));
    }
    found.retain(|index| carries(network, *index));
    found
}

/// A macvlan of a virtual router comes and goes with its role; its frames pass the interface below.
fn below(network: &impl Network, index: u32) -> u32 {
    let macvlan = network.link(index).filter(|link| link.kind == Kind::Macvlan);
    macvlan.and_then(|link| link.lower).unwrap_or(index)
}

fn carries(network: &impl Network, index: u32) -> bool {
    network.link(index).is_some_and(|link| !link.loopback && link.kind != Kind::Dummy)
}

/// Where the default route leads: to an address that is nobody's (RFC 5737, RFC 3849).
fn uplink(network: &mut impl Network, like: IpAddr) -> Option<u32> {
    let nobody = match like {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::new(192, 0, 2, 1)),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    };
    network.route(nobody).filter(|r| !r.local).map(|r| r.interface)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn link(index: u32, name: &str, kind: Kind) -> Link {
        Link {
            index,
            name: name.to_owned(),
            kind,
            up: true,
            carrier: true,
            loopback: name == "lo",
            ethernet: name != "lo",
            mac: [2; 6],
            mtu: 1500,
            master: None,
            lower: None,
            lower_is_elsewhere: false,
        }
    }

    fn facts(kind: Kind, peer: Peer) -> Facts {
        Facts { link: link(7, "eth7", kind), features: Features::default(), peer }
    }

    const GOOD: Features = Features { tx_checksum: false, gro: true, rx_vlan: false, aggregates: false };

    #[test]
    fn auto_takes_xdp_only_where_every_interface_is_safe() {
        let device = facts(Kind::Device, Peer::None);
        let good = facts(Kind::Veth, Peer::Here(GOOD));
        let bad = facts(Kind::Veth, Peer::Here(Features { tx_checksum: true, ..GOOD }));
        let hooks = |all: &[Facts]| choose(Attach::Auto, all).unwrap().iter().map(|c| c.hook).collect::<Vec<_>>();
        assert_eq!(hooks(&[device.clone(), good.clone()]), [Hook::Xdp, Hook::Xdp]);
        assert_eq!(hooks(&[device.clone(), bad]), [Hook::Tc, Hook::Tc]);
        assert_eq!(hooks(&[device, facts(Kind::Veth, Peer::Elsewhere)]), [Hook::Tc, Hook::Tc]);
    }

    #[test]
    fn auto_keeps_packets_that_stand_for_many() {
        let plain = facts(Kind::Device, Peer::None);
        let mut paravirtual = plain.clone();
        paravirtual.features.aggregates = true;
        let choices = choose(Attach::Auto, &[plain, paravirtual.clone()]).unwrap();
        assert!(choices.iter().all(|c| c.hook == Hook::Tc && c.why.contains("many at a time")), "{choices:?}");
        assert_eq!(choose(Attach::Xdp, &[paravirtual]).unwrap()[0].hook, Hook::Xdp);
    }

    #[test]
    fn what_was_demanded_is_refused_where_packets_would_vanish() {
        let refused = |facts: Facts| choose(Attach::Xdp, &[facts]).unwrap_err().why;
        let peer = Features { tx_checksum: true, gro: false, ..GOOD };
        let why = refused(facts(Kind::Veth, Peer::Here(peer)));
        assert!(
            why.contains("unfinished checksums and does not receive by NAPI") && why.contains("ethtool -K"),
            "{why}"
        );
        assert!(refused(facts(Kind::Bridge, Peer::None)).contains("ports"));
        assert!(refused(facts(Kind::Vlan { id: 5 }, Peer::None)).contains("parent"));
    }

    #[test]
    fn what_cannot_be_known_is_only_warned_of_when_demanded() {
        let choices = choose(Attach::Xdp, &[facts(Kind::Veth, Peer::Elsewhere)]).unwrap();
        assert_eq!(choices[0].variant(), Variant { hook: Hook::Xdp, redirect_only: true });
        assert!(choices[0].warning.as_ref().unwrap().contains("another network namespace"));
    }

    struct Fake {
        links: HashMap<u32, Link>,
        holders: HashMap<IpAddr, u32>,
        routes: HashMap<IpAddr, u32>,
    }

    impl Network for Fake {
        fn holder(&mut self, address: IpAddr) -> Option<u32> {
            self.holders.get(&address).copied()
        }

        fn route(&mut self, destination: IpAddr) -> Option<Route> {
            let interface = *self.routes.get(&destination)?;
            Some(Route { interface, gateway: None, source: None, local: interface == 1 })
        }

        fn link(&self, index: u32) -> Option<&Link> {
            self.links.get(&index)
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn interfaces_follow_from_the_addresses_in_use() {
        let mut host = Fake {
            links: [
                (1, "lo", Kind::Device),
                (2, "eth0", Kind::Device),
                (3, "eth1", Kind::Device),
                (4, "dummy0", Kind::Dummy),
            ]
            .into_iter()
            .map(|(i, name, kind)| (i, link(i, name, kind)))
            .collect(),
            holders: [(ip("10.0.0.1"), 2), (ip("10.0.0.2"), 4)].into(),
            routes: [(ip("10.0.0.2"), 1), (ip("10.1.0.1"), 3), (ip("192.0.2.1"), 2)].into(),
        };
        assert_eq!(derive(&mut host, &[ip("10.0.0.1")], &[ip("10.1.0.1")]), [2, 3].into());
        assert_eq!(derive(&mut host, &[ip("10.0.0.2")], &[]), [2].into(), "a VIP on a dummy comes in by the uplink");
        assert_eq!(derive(&mut host, &[], &[ip("10.9.9.9")]), [].into());
        let macvlan = Link { lower: Some(3), ..link(5, "lb51.eth1", Kind::Macvlan) };
        host.links.insert(5, macvlan);
        host.holders.insert(ip("10.1.0.100"), 5);
        assert_eq!(derive(&mut host, &[ip("10.1.0.100")], &[]), [3].into(), "a virtual MAC is up for a while only");
    }
}

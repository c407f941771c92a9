//! What the kernel says about its links, addresses, routes and neighbours; asked and answered in turn.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::{InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// rtnetlink(7): groups of enum rtnetlink_groups.
const GROUPS: [u32; 7] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_NEIGH,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV6_ROUTE,
    libc::RTNLGRP_IPV4_RULE,
];

/// Of a family that are looked at for their gateways.
const ROUTES: usize = 4096;

/// A socket for questions.
pub struct Netlink {
    socket: Socket,
    sequence: u32,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub kind: Kind,
    pub up: bool,
    /// And so is what it stands on.
    pub carrier: bool,
    pub loopback: bool,
    pub ethernet: bool,
    pub mac: [u8; 6],
    pub mtu: u32,
    /// The bridge, bond or VRF that it belongs to.
    pub master: Option<u32>,
    /// Of a VLAN or macvlan: its parent; of a veth: its peer.
    pub lower: Option<u32>,
    /// `lower` is in another network namespace.
    pub lower_is_elsewhere: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A device with a driver of its own.
    Device,
    Veth,
    Vlan {
        id: u16,
    },
    /// Another MAC address of its parent.
    Macvlan,
    Bridge,
    Bond,
    Team,
    Tun,
    Dummy,
    /// Some other virtual one.
    Virtual,
}

/// How this host would send to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    pub interface: u32,
    pub gateway: Option<IpAddr>,
    pub source: Option<IpAddr>,
    /// The address is this host's own.
    pub local: bool,
}

/// What happened, as far as next hops are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// `mac` is `None` when it is not known (any more).
    Neighbour {
        interface: u32,
        address: IpAddr,
        mac: Option<Vec<u8>>,
    },
    Link(Link),
    /// The interface of that index is no more, or no more here.
    Gone(u32),
    Route,
    Address,
    /// Some were lost.
    Overrun,
}

impl Netlink {
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    pub fn links(&mut self) -> io::Result<Vec<Link>> {
        let answers = self.ask(Message::GetLink(LinkMessage::default()), NLM_F_DUMP)?;
        Ok(answers
            .iter()
            .filter_map(|m| if let Message::NewLink(link) = m { Some(self::link(link)) } else { None })
            .collect())
    }

    /// Every address of this host with its interface.
    pub fn addresses(&mut self) -> io::Result<Vec<(IpAddr, u32)>> {
        let answers = self.ask(Message::GetAddress(Default::default()), NLM_F_DUMP)?;
        Ok(answers.iter().filter_map(address).collect())
    }

    /// `None`: there is none.
    pub fn route(&mut self, destination: IpAddr) -> io::Result<Option<Route>> {
        let mut question = RouteMessage::default();
        question.header.address_family = family(destination);
        question.header.destination_prefix_length = if destination.is_ipv4() { 32 } else { 128 };
        question.attributes.push(RouteAttribute::Destination(destination.into()));
        match self.ask(Message::GetRoute(question), 0) {
            Ok(answers) => Ok(answers.iter().find_map(route)),
            Err(error) if is_no_route(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// As if a packet were to be sent there: the kernel resolves the address, or verifies what it knows
    /// (NTF_USE of neighbour entries, since Linux 2.6). What somebody keeps there stays as it is: NTF_USE takes
    /// NUD_PERMANENT, NTF_EXT_LEARNED and NTF_MANAGED away (`__neigh_update` in net/core/neighbour.c).
    pub fn use_neighbour(&mut self, interface: u32, address: IpAddr) -> io::Result<()> {
        if self.is_kept(interface, address)? {
            return Ok(());
        }
        let mut entry = neighbour_at(interface, address);
        entry.header.flags = NeighbourFlags::Use;
        self.ask(Message::NewNeighbour(entry), NLM_F_ACK | NLM_F_CREATE).map(drop)
    }

    fn is_kept(&mut self, interface: u32, address: IpAddr) -> io::Result<bool> {
        let kept = |answer: &Message| matches!(answer, Message::NewNeighbour(entry) if is_kept(entry));
        match self.ask(Message::GetNeighbour(neighbour_at(interface, address)), 0) {
            Ok(answers) => Ok(answers.iter().any(kept)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Routers that routes of this host name, each with the interface that it is on. Of a table that is longer than
    /// `ROUTES` only the first are looked at; a default route is among those.
    pub fn gateways() -> io::Result<BTreeSet<(u32, IpAddr)>> {
        let mut gateways = BTreeSet::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut question = RouteMessage::default();
            question.header.address_family = family;
            // Its own socket: what is left unread goes with it.
            let mut netlink = Self::open()?;
            netlink.send(Message::GetRoute(question), NLM_F_DUMP)?;
            let mut routes = 0;
            while routes < ROUTES {
                let (answers, end) = netlink.receive()?;
                routes += answers.len();
                gateways.extend(answers.iter().flat_map(gateways_of));
                if end {
                    break;
                }
            }
        }
        Ok(gateways)
    }

    fn ask(&mut self, question: Message, flags: u16) -> io::Result<Vec<Message>> {
        self.send(question, flags)?;
        self.answers(flags & NLM_F_DUMP != 0)
    }

    fn send(&mut self, question: Message, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(question);
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.header.length as usize];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map(drop)
    }

    fn answers(&self, dump: bool) -> io::Result<Vec<Message>> {
        let mut answers = Vec::new();
        loop {
            let (more, end) = self.receive()?;
            answers.extend(more);
            if end || (!dump && !answers.is_empty()) {
                return Ok(answers);
            }
        }
    }

    /// What one datagram holds, and whether that is the end.
    fn receive(&self) -> io::Result<(Vec<Message>, bool)> {
        let (bytes, _) = self.socket.recv_from_full()?;
        let mut answers = Vec::new();
        for message in messages(&bytes).filter(|message| message.header.sequence_number == self.sequence) {
            match message.payload {
                NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok((answers, true)),
                _ => {}
            }
        }
        Ok((answers, false))
    }
}

/// A socket on which the kernel tells of changes.
pub struct Monitor(Socket);

impl Monitor {
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        for group in GROUPS {
            socket.add_membership(group)?;
        }
        socket.set_non_blocking(true)?;
        Ok(Self(socket))
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Everything that has come so far.
    pub fn events(&self) -> io::Result<Vec<Event>> {
        let mut events = Vec::new();
        loop {
            match self.0.recv_from_full() {
                Ok((bytes, _)) => events.extend(messages(&bytes).filter_map(|message| match message.payload {
                    NetlinkPayload::InnerMessage(message) => event(&message),
                    _ => None,
                })),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(events),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => events.push(Event::Overrun),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Monitor").field(&self.0.as_raw_fd()).finish()
    }
}

impl Route {
    /// The address that has to be resolved in order to send to `destination`.
    pub fn next_hop(&self, destination: IpAddr) -> IpAddr {
        self.gateway.unwrap_or(destination)
    }
}

/// What a datagram holds; a message that cannot be understood ends it.
fn messages(bytes: &[u8]) -> impl Iterator<Item = NetlinkMessage<Message>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        // What we do not understand (a newer attribute) is passed over, by the length in its header.
        loop {
            let length = u32::from_ne_bytes(rest.get(..4)?.try_into().ok()?) as usize;
            let message = rest.get(..length).filter(|m| m.len() >= 16)?;
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            if let Ok(message) = NetlinkMessage::<Message>::deserialize(message) {
                return Some(message);
            }
        }
    })
}

fn event(message: &Message) -> Option<Event> {
    match message {
        Message::NewNeighbour(entry) => neighbour(entry, false),
        Message::DelNeighbour(entry) => neighbour(entry, true),
        Message::NewLink(link) => Some(Event::Link(self::link(link))),
        // A bridge says so, too, of a port that leaves it.
        Message::DelLink(link) => {
            let gone = link.header.interface_family == AddressFamily::Unspec;
            gone.then_some(Event::Gone(link.header.index))
        }
        Message::NewRoute(_) | Message::DelRoute(_) | Message::NewRule(_) | Message::DelRule(_) => Some(Event::Route),
        Message::NewAddress(_) | Message::DelAddress(_) => Some(Event::Address),
        _ => None,
    }
}

/// By an operator, or by a program that knows the address from elsewhere.
fn is_kept(entry: &NeighbourMessage) -> bool {
    let is_managed = |attribute: &NeighbourAttribute| matches!(attribute, NeighbourAttribute::ExtFlags(flags) if flags.contains(NeighbourExtFlags::Managed));
    entry.header.state == NeighbourState::Permanent
        || entry.header.flags.contains(NeighbourFlags::ExtLearned)
        || entry.attributes.iter().any(is_managed)
}

fn neighbour_at(interface: u32, address: IpAddr) -> NeighbourMessage {
    let mut entry = NeighbourMessage::default();
    entry.header.family = family(address);
    entry.header.ifindex = interface;
    entry.attributes.push(NeighbourAttribute::Destination(match address {
        IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
        IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
    }));
    entry
}

fn neighbour(entry: &NeighbourMessage, gone: bool) -> Option<Event> {
    let mut address = None;
    let mut mac = None;
    for attribute in &entry.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => address = Some(IpAddr::from(*v4)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => address = Some(IpAddr::from(*v6)),
            NeighbourAttribute::LinkLayerAddress(bytes) if !gone => mac = Some(bytes.clone()),
            _ => {}
        }
    }
    Some(Event::Neighbour { interface: entry.header.ifindex, address: address?, mac })
}

fn link(message: &LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        kind: Kind::Device,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        loopback: flags.contains(LinkFlags::Loopback),
        ethernet: u16::from(message.header.link_layer_type) == libc::ARPHRD_ETHER,
        mac: [0; 6],
        mtu: 0,
        master: None,
        lower: None,
        lower_is_elsewhere: false,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(mac) => link.mac = mac.as_slice().try_into().unwrap_or_default(),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Controller(master) => link.master = Some(*master),
            LinkAttribute::Link(lower) => link.lower = Some(*lower),
            LinkAttribute::LinkNetNsId(_) => link.lower_is_elsewhere = true,
            LinkAttribute::LinkInfo(infos) => link.kind = kind(infos),
            _ => {}
        }
    }
    link
}

fn kind(infos: &[LinkInfo]) -> Kind {
    let kind = infos.iter().find_map(|info| if let LinkInfo::Kind(kind) = info { Some(kind) } else { None });
    match kind {
        None => Kind::Device,
        Some(InfoKind::Veth) => Kind::Veth,
        Some(InfoKind::Vlan) => Kind::Vlan { id: vlan_id(infos) },
        Some(InfoKind::MacVlan) => Kind::Macvlan,
        Some(InfoKind::Bridge) => Kind::Bridge,
        Some(InfoKind::Bond) => Kind::Bond,
        Some(InfoKind::Team) => Kind::Team,
        Some(InfoKind::Tun) => Kind::Tun,
        Some(InfoKind::Dummy) => Kind::Dummy,
        Some(_) => Kind::Virtual,
    }
}

fn vlan_id(infos: &[LinkInfo]) -> u16 {
    let data =
        infos.iter().find_map(|info| if let LinkInfo::Data(InfoData::Vlan(data)) = info { Some(data) } else { None });
    let id = |data: &Vec<InfoVlan>| data.iter().find_map(|v| if let InfoVlan::Id(id) = v { Some(*id) } else { None });
    data.and_then(id).unwrap_or(0)
}

fn address(message: &Message) -> Option<(IpAddr, u32)> {
    let Message::NewAddress(message) = message else { return None };
    let mut address = None;
    for attribute in &message.attributes {
        match attribute {
            // On a point-to-point interface IFA_ADDRESS is the peer's.
            AddressAttribute::Local(ip) => return Some((*ip, message.header.index)),
            AddressAttribute::Address(ip) => address = Some(*ip),
            _ => {}
        }
    }
    Some((address?, message.header.index))
}

fn route(message: &Message) -> Option<Route> {
    let Message::NewRoute(message) = message else { return None };
    let mut route = Route { interface: 0, gateway: None, source: None, local: message.header.kind == RouteType::Local };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => route.interface = *index,
            RouteAttribute::PrefSource(address) => route.source = ip(address),
            other => route.gateway = route.gateway.or_else(|| gateway(other)),
        }
    }
    let usable = matches!(message.header.kind, RouteType::Unicast | RouteType::Local);
    (route.interface != 0 && usable).then_some(route)
}

/// Of a route over several, all.
fn gateways_of(message: &Message) -> Vec<(u32, IpAddr)> {
    let Message::NewRoute(message) = message else { return vec![] };
    let multipath = message.attributes.iter().filter_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => Some(hops.iter().map(|hop| (hop.interface_index, &*hop.attributes))),
        _ => None,
    });
    let single =
        message.attributes.iter().find_map(|a| if let RouteAttribute::Oif(oif) = a { Some(*oif) } else { None });
    let ways = single.map(|interface| (interface, &*message.attributes)).into_iter().chain(multipath.flatten());
    ways.filter_map(|(interface, attributes)| Some((interface, attributes.iter().find_map(gateway)?))).collect()
}

fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        RouteAttribute::Via(netlink_packet_route::route::RouteVia::Inet6(v6)) => Some((*v6).into()),
        _ => None,
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn is_no_route(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL | libc::EADDRNOTAVAIL)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_somebody_keeps_are_known() {
        let entry = |change: fn(&mut NeighbourMessage)| {
            let mut entry = neighbour_at(1, IpAddr::from([10, 0, 0, 1]));
            entry.header.state = NeighbourState::Reachable;
            change(&mut entry);
            is_kept(&entry)
        };
        assert!(!entry(|_| ()));
        assert!(!entry(|entry| entry.header.flags = NeighbourFlags::Router));
        assert!(entry(|entry| entry.header.state = NeighbourState::Permanent));
        assert!(entry(|entry| entry.header.flags = NeighbourFlags::ExtLearned));
        assert!(entry(|entry| entry.attributes.push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed))));
    }
}

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol, CacheInfo,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};

/// What marks the addresses that lb added (IFA_PROTO, since Linux 5.18; the kernel's own values end at 3).
pub const OURS: u8 = 0x6c;
/// Lifetimes in seconds.
const FOREVER: u32 = u32::MAX;

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// With the host's part.
    pub ip: IpNet,
    /// Duplicate address detection has not ended: cannot be sent from yet.
    pub tentative: bool,
    /// Duplicate address detection found another host with it: cannot be sent from.
    pub dad_failed: bool,
    /// Not chosen for new connections.
    pub deprecated: bool,
    /// IPv4: another address of its network came first.
    pub secondary: bool,
    /// Marked as [`OURS`].
    pub ours: bool,
}

impl Address {
    /// Adverts can be sent from it.
    pub fn is_usable(&self) -> bool {
        !self.tentative && !self.dad_failed
    }

    pub fn is_link_local(&self) -> bool {
        match self.ip.addr() {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        }
    }

    /// With the index of its interface.
    pub(super) fn of(message: &Message) -> Option<(u32, Self)> {
        let (Message::NewAddress(message) | Message::DelAddress(message)) = message else { return None };
        let flags = flags(message);
        let has = |flag| flags.contains(flag);
        let address = Self {
            ip: IpNet::new(ip(message)?, message.header.prefix_len).ok()?,
            tentative: has(AddressFlags::Tentative) && !has(AddressFlags::Optimistic),
            dad_failed: has(AddressFlags::Dadfailed),
            deprecated: has(AddressFlags::Deprecated),
            // The same bit means a temporary address in IPv6.
            secondary: has(AddressFlags::Secondary) && message.header.family == AddressFamily::Inet,
            ours: message.attributes.contains(&AddressAttribute::Protocol(AddressProtocol::Other(OURS))),
        };
        Some((message.header.index, address))
    }
}

fn ip(message: &AddressMessage) -> Option<IpAddr> {
    let mut ip = None;
    for attribute in &message.attributes {
        match attribute {
            // On a point-to-point interface IFA_ADDRESS is the peer's.
            AddressAttribute::Local(local) => return Some(*local),
            AddressAttribute::Address(address) => ip = Some(*address),
            _ => {}
        }
    }
    ip
}

fn flags(message: &AddressMessage) -> AddressFlags {
    let whole = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Flags(flags) => Some(*flags),
        _ => None,
    });
    whole.unwrap_or_else(|| AddressFlags::from_bits_retain(message.header.flags.bits().into()))
}

/// Asks for all of an interface.
pub(super) fn every(index: u32) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message
}

pub(super) fn plain(index: u32, address: IpNet) -> AddressMessage {
    let mut message = every(index);
    message.header.family = if address.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = address.prefix_len();
    message.attributes = vec![AddressAttribute::Local(address.addr()), AddressAttribute::Address(address.addr())];
    message
}

pub(super) fn ours(index: u32, address: IpNet, metric: Option<u32>) -> AddressMessage {
    let mut message = plain(index, address);
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(OURS)));
    message.attributes.extend(metric.map(AddressAttribute::RoutePriority));
    if address.addr().is_ipv6() {
        // The address is on another node until a moment ago, so detection would only find that one.
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::CacheInfo(deprecated()));
    }
    message
}

/// So that the host does not choose it for connections of its own (RFC 6724 section 5, rule 3).
fn deprecated() -> CacheInfo {
    let mut lifetimes = CacheInfo::default();
    lifetimes.ifa_preferred = 0;
    lifetimes.ifa_valid = FOREVER;
    lifetimes
}

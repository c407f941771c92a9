use netlink_packet_route::link::{
    InfoData, InfoKind, InfoMacVlan, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};

use crate::packet::Mac;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    /// Switched on, and with a carrier.
    pub up: bool,
    /// `None`: none of Ethernet's length.
    pub mac: Option<Mac>,
    pub kind: Kind,
    /// Of a VLAN or macvlan: the interface below. Of a veth: its peer.
    pub parent: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A device with a driver of its own.
    Device,
    Loopback,
    Macvlan,
    /// Some other virtual one.
    Virtual,
}

impl Link {
    pub(super) fn of(message: &Message) -> Option<Self> {
        let (Message::NewLink(message) | Message::DelLink(message)) = message else { return None };
        // A bridge tells of its ports in a family of its own; those that leave it are not gone.
        if message.header.interface_family != AddressFamily::Unspec {
            return None;
        }
        let flags = message.header.flags;
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            up: flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
            mac: None,
            kind: if flags.contains(LinkFlags::Loopback) { Kind::Loopback } else { Kind::Device },
            parent: None,
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Address(mac) => link.mac = mac.as_slice().try_into().ok(),
                LinkAttribute::Link(parent) => link.parent = Some(*parent),
                LinkAttribute::LinkInfo(infos) => link.kind = kind(infos).unwrap_or(link.kind),
                _ => {}
            }
        }
        Some(link)
    }
}

fn kind(infos: &[LinkInfo]) -> Option<Kind> {
    infos.iter().find_map(|info| match info {
        LinkInfo::Kind(InfoKind::MacVlan) => Some(Kind::Macvlan),
        LinkInfo::Kind(_) => Some(Kind::Virtual),
        _ => None,
    })
}

pub(super) fn named(name: &str) -> LinkMessage {
    let mut message = every();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message
}

pub(super) fn every() -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    message
}

pub(super) fn numbered(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

pub(super) fn switched(index: u32, up: bool) -> LinkMessage {
    let mut message = numbered(index);
    message.header.change_mask = LinkFlags::Up;
    message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    message
}

pub(super) fn macvlan(name: &str, parent: u32, mac: Mac) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Address(mac.to_vec()),
        LinkAttribute::Link(parent),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::MacVlan),
            LinkInfo::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Private)])),
        ]),
    ];
    message
}

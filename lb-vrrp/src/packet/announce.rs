//! Telling the network where an address is now: whole Ethernet frames.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smallvec::SmallVec;

use super::checksum::Checksum;

pub type Mac = [u8; 6];
/// An Ethernet frame without its check sequence.
pub type Frame = SmallVec<[u8; 96]>;

const BROADCAST: Mac = [0xff; 6];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
/// Hardware type Ethernet, protocol type IPv4, and the lengths of both addresses (RFC 826).
const ARP_FORM: [u8; 6] = [0, 1, 8, 0, 6, 4];
const ARP_REQUEST: [u8; 2] = [0, 1];
const ICMPV6: u8 = 58;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Frames below 60 bytes are padded.
const SHORTEST: usize = 60;

/// The virtual router's own address (RFC 9568 section 7.3).
pub fn virtual_mac(address_of_same_family: IpAddr, vrid: u8) -> Mac {
    let family = if address_of_same_family.is_ipv4() { 1 } else { 2 };
    [0, 0, 0x5e, 0, family, vrid]
}

/// Says that `address` is at `mac` now: gratuitous ARP, or an unsolicited neighbour advertisement. `router` says
/// whether this host forwards packets (the R flag, RFC 4861 section 4.4); ARP has no such thing.
pub fn announcement(address: IpAddr, mac: Mac, router: bool) -> Frame {
    match address {
        IpAddr::V4(v4) => gratuitous_arp(v4, mac),
        IpAddr::V6(v6) => neighbour_advertisement(v6, mac, router),
    }
}

/// In the form of a request, with the address as sender and as target (RFC 5227 section 3, and erratum 7947 to
/// RFC 9568): more hosts learn from it than from the form of a reply.
fn gratuitous_arp(address: Ipv4Addr, mac: Mac) -> Frame {
    let mut frame = ethernet(BROADCAST, mac, ETHERTYPE_ARP);
    frame.extend_from_slice(&ARP_FORM);
    frame.extend_from_slice(&ARP_REQUEST);
    frame.extend_from_slice(&mac);
    frame.extend_from_slice(&address.octets());
    frame.extend_from_slice(&[0; 6]);
    frame.extend_from_slice(&address.octets());
    frame.resize(SHORTEST, 0);
    frame
}

/// RFC 9568 section 6.4.2 (395): to all nodes, Override set, Solicited clear, with our link-layer address.
fn neighbour_advertisement(address: Ipv6Addr, mac: Mac, router: bool) -> Frame {
    let mut message: SmallVec<[u8; 32]> = SmallVec::new();
    message.extend_from_slice(&[NEIGHBOUR_ADVERTISEMENT, 0, 0, 0]);
    message.extend_from_slice(&[if router { 0xa0 } else { 0x20 }, 0, 0, 0]);
    message.extend_from_slice(&address.octets());
    // Option 2, target link-layer address, in units of eight bytes (RFC 4861 section 4.6.1).
    message.extend_from_slice(&[2, 1]);
    message.extend_from_slice(&mac);
    let sum = Checksum::default().pseudo_header(address.into(), ALL_NODES.into(), ICMPV6, message.len());
    let sum = sum.add(&message).finish();
    message[2..4].copy_from_slice(&sum.to_be_bytes());

    let mut frame = ethernet(ALL_NODES_MAC, mac, ETHERTYPE_IPV6);
    frame.extend_from_slice(&[0x60, 0, 0, 0, 0, message.len() as u8, ICMPV6, 255]);
    frame.extend_from_slice(&address.octets());
    frame.extend_from_slice(&ALL_NODES.octets());
    frame.extend_from_slice(&message);
    frame
}

fn ethernet(to: Mac, from: Mac, ethertype: [u8; 2]) -> Frame {
    let mut frame = Frame::new();
    frame.extend_from_slice(&to);
    frame.extend_from_slice(&from);
    frame.extend_from_slice(&ethertype);
    frame
}

/// What a frame from the network says about an address: any ARP packet of its sender, any neighbour advertisement
/// of its target. A second host that announces one of our addresses shows up here.
pub fn announced(frame: &[u8]) -> Option<(IpAddr, Mac)> {
    let (header, rest) = frame.split_first_chunk::<14>()?;
    match [header[12], header[13]] {
        ETHERTYPE_ARP => announced_by_arp(rest),
        ETHERTYPE_IPV6 => announced_by_neighbour(rest),
        _ => None,
    }
}

fn announced_by_arp(packet: &[u8]) -> Option<(IpAddr, Mac)> {
    let packet = packet.first_chunk::<28>()?;
    if packet[..6] != ARP_FORM {
        return None;
    }
    let mac = packet[8..].first_chunk::<6>()?;
    let address = Ipv4Addr::from(*packet[14..].first_chunk::<4>()?);
    // A sender of 0.0.0.0 only asks (RFC 5227 section 2.1.1).
    (!address.is_unspecified()).then_some((address.into(), *mac))
}

fn announced_by_neighbour(packet: &[u8]) -> Option<(IpAddr, Mac)> {
    let (header, message) = packet.split_first_chunk::<40>()?;
    let (fixed, option) = message.split_first_chunk::<24>()?;
    if header[6] != ICMPV6 || fixed[0] != NEIGHBOUR_ADVERTISEMENT {
        return None;
    }
    let target = Ipv6Addr::from(*fixed[8..].first_chunk::<16>()?);
    let [2, 1, mac @ ..] = option.first_chunk::<8>()? else { return None };
    Some((target.into(), *mac))
}

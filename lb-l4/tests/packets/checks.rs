//! Frames looked at by the etherparse crate: what the model and the program have in common cannot
//! hide here.

use std::net::{IpAddr, SocketAddr};

use etherparse::checksum::Sum16BitWords;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};

/// Source and destination, with their ports where it is TCP or UDP.
pub fn ends(frame: &[u8]) -> (SocketAddr, SocketAddr) {
    let packet = SlicedPacket::from_ethernet(frame).expect("a sound frame");
    let (src, dst) = addresses(packet.net.as_ref().expect("an IP packet"));
    let (sport, dport) = match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => (tcp.source_port(), tcp.destination_port()),
        Some(TransportSlice::Udp(udp)) => (udp.source_port(), udp.destination_port()),
        _ => (0, 0),
    };
    (SocketAddr::new(src, sport), SocketAddr::new(dst, dport))
}

pub fn ttl(frame: &[u8]) -> u8 {
    match SlicedPacket::from_ethernet(frame).expect("a sound frame").net.expect("an IP packet") {
        NetSlice::Ipv4(ip) => ip.header().ttl(),
        NetSlice::Ipv6(ip) => ip.header().hop_limit(),
        NetSlice::Arp(_) => panic!("ARP"),
    }
}

/// Identifiers of the tags.
pub fn tags(frame: &[u8]) -> Vec<u16> {
    let packet = SlicedPacket::from_ethernet(frame).expect("a sound frame");
    packet.vlan_ids().iter().map(|id| id.value()).collect()
}

/// Every checksum, in tunnels too, computed in full.
pub fn verify(frame: &[u8]) -> Result<(), String> {
    let packet = SlicedPacket::from_ethernet(frame).map_err(|error| error.to_string())?;
    verify_packet(&packet)
}

fn verify_packet(packet: &SlicedPacket<'_>) -> Result<(), String> {
    let net = packet.net.as_ref().ok_or("no IP packet")?;
    if let NetSlice::Ipv4(ip) = net {
        let computed = ip.header().to_header().calc_header_checksum();
        expect("IPv4 header", ip.header().header_checksum() == computed)?;
    }
    let payload = net.ip_payload_ref().ok_or("no payload")?;
    if payload.fragmented {
        return Ok(());
    }
    if matches!(payload.ip_number.0, 4 | 41) {
        return verify_packet(&SlicedPacket::from_ip(payload.payload).map_err(|error| error.to_string())?);
    }
    let protocol = payload.ip_number.0;
    let bytes = payload.payload;
    match &packet.transport {
        Some(TransportSlice::Udp(udp)) if udp.checksum() == 0 => Ok(()),
        Some(TransportSlice::Tcp(_) | TransportSlice::Udp(_) | TransportSlice::Icmpv6(_)) => {
            expect("transport", pseudo_header(net, protocol, bytes.len()).add_slice(bytes).ones_complement() == 0)
        }
        Some(TransportSlice::Icmpv4(_)) => expect("ICMP", Sum16BitWords::new().add_slice(bytes).ones_complement() == 0),
        None => Ok(()),
    }
}

fn expect(what: &str, holds: bool) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("the {what} checksum is wrong")) }
}

fn pseudo_header(net: &NetSlice<'_>, protocol: u8, length: usize) -> Sum16BitWords {
    let sum = match addresses(net) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => Sum16BitWords::new().add_4bytes(src.octets()).add_4bytes(dst.octets()),
        (IpAddr::V6(src), IpAddr::V6(dst)) => Sum16BitWords::new().add_16bytes(src.octets()).add_16bytes(dst.octets()),
        _ => Sum16BitWords::new(),
    };
    sum.add_2bytes([0, protocol]).add_4bytes((length as u32).to_be_bytes())
}

fn addresses(net: &NetSlice<'_>) -> (IpAddr, IpAddr) {
    match net {
        NetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        NetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        NetSlice::Arp(_) => panic!("ARP"),
    }
}

/// The same of the packet that an ICMP error quotes, read by hand: it may be cut short.
pub fn quoted_ends(frame: &[u8]) -> (SocketAddr, SocketAddr) {
    let packet = SlicedPacket::from_ethernet(frame).expect("a sound frame");
    let message = packet.net.as_ref().and_then(NetSlice::ip_payload_ref).expect("a payload").payload;
    let quoted = &message[8..];
    let addr = |at: usize, length: usize| match length {
        4 => IpAddr::from(<[u8; 4]>::try_from(&quoted[at..at + 4]).expect("four bytes")),
        _ => IpAddr::from(<[u8; 16]>::try_from(&quoted[at..at + 16]).expect("sixteen bytes")),
    };
    let (src, dst, ports) = match quoted[0] >> 4 {
        4 => (addr(12, 4), addr(16, 4), usize::from(quoted[0] & 0xF) * 4),
        _ => (addr(8, 16), addr(24, 16), 40),
    };
    let port = |at: usize| u16::from_be_bytes([quoted[at], quoted[at + 1]]);
    (SocketAddr::new(src, port(ports)), SocketAddr::new(dst, port(ports + 2)))
}

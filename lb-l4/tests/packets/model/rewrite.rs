//! The frame that leaves.

use lb_l4::abi::{Addr, Dest, Hop, flow_flag, mode};

use super::checksum::{checksum, patch};
use super::parse::{Fragment, be16, flags};
use super::{Entry, Family, Packet, TCP, UDP};

const MSS: u8 = 2;
/// That are looked at.
const OPTIONS: usize = 10;

/// Bytes that tunnel mode puts in front.
pub(super) fn overhead(dest: &Dest) -> usize {
    match (dest.mode, is_v4(&dest.addr)) {
        (mode::TUNNEL, true) => 20,
        (mode::TUNNEL, false) => 40,
        _ => 0,
    }
}

pub(super) fn forwarded(packet: &Packet<'_>, entry: &Entry, dest: &Dest, hop: &Hop, ingress: u32) -> Vec<u8> {
    let mut frame = packet.frame.to_vec();
    decrement_ttl(&mut frame, packet);
    match dest.mode {
        mode::NAT => translate(&mut frame, packet, entry),
        mode::TUNNEL => clamp_mss(&mut frame, packet, usize::from(hop.mtu) - overhead(dest)),
        _ => {}
    }
    let is_tunneled = dest.mode == mode::TUNNEL && entry.flags & flow_flag::REPLY == 0;
    let outer = if is_tunneled { outer_header(packet, dest) } else { Vec::new() };
    let ethertype = match (is_tunneled, is_v4(&dest.addr)) {
        (true, true) => [0x08, 0x00],
        (true, false) => [0x86, 0xDD],
        _ => [frame[packet.l3 - 2], frame[packet.l3 - 1]],
    };
    [ethernet(packet, hop, ingress, ethertype), outer, frame[packet.l3..].to_vec()].concat()
}

pub(super) fn ethernet(packet: &Packet<'_>, hop: &Hop, ingress: u32, ethertype: [u8; 2]) -> Vec<u8> {
    let tags = if u16::from(hop.vlan) != 0 {
        [[0x81, 0x00], u16::from(hop.vlan).to_be_bytes()].concat()
    } else if hop.ifindex == ingress {
        packet.frame[12..packet.l3 - 2].to_vec()
    } else {
        Vec::new()
    };
    [hop.dmac.as_slice(), &hop.smac, &tags, &ethertype].concat()
}

pub(super) fn decrement_ttl(frame: &mut [u8], packet: &Packet<'_>) {
    match packet.family {
        Family::V4 => patch(frame, packet.l3 + 8, &[packet.ttl - 1], &[packet.l3 + 10]),
        Family::V6 => frame[packet.l3 + 7] -= 1,
    }
}

/// Gives the packet the addresses and, but for later fragments, the ports of its flow.
pub(super) fn translate(frame: &mut [u8], packet: &Packet<'_>, entry: &Entry) {
    let transport = transport_sum(packet);
    set_addresses(frame, packet, &entry.new_src, &entry.new_dst, transport);
    if matches!(packet.fragment, Fragment::Later(_)) {
        return;
    }
    let sums: Vec<usize> = transport.into_iter().collect();
    patch(frame, packet.l4, &u16::from(entry.new_sport).to_be_bytes(), &sums);
    patch(frame, packet.l4 + 2, &u16::from(entry.new_dport).to_be_bytes(), &sums);
    if let (UDP, Some(at)) = (packet.proto, transport)
        && frame[at..at + 2] == [0, 0]
    {
        frame[at..at + 2].fill(0xFF); // RFC 768: zero means that there is none
    }
}

/// Where the checksum of TCP or UDP stands, if there is one.
fn transport_sum(packet: &Packet<'_>) -> Option<usize> {
    let at = match (packet.fragment, packet.proto) {
        (Fragment::Later(_), _) => return None,
        (_, TCP) => packet.l4 + 16,
        _ => packet.l4 + 6,
    };
    let is_unused = packet.proto == UDP && be16(packet.frame, at) == Some(0);
    (!is_unused).then_some(at)
}

pub(super) fn set_addresses(frame: &mut [u8], packet: &Packet<'_>, src: &Addr, dst: &Addr, sum: Option<usize>) {
    let mut sums: Vec<usize> = sum.into_iter().collect();
    match packet.family {
        Family::V4 => {
            sums.push(packet.l3 + 10);
            patch(frame, packet.l3 + 12, &src.0[12..], &sums);
            patch(frame, packet.l3 + 16, &dst.0[12..], &sums);
        }
        Family::V6 => {
            patch(frame, packet.l3 + 8, &src.0, &sums);
            patch(frame, packet.l3 + 24, &dst.0, &sums);
        }
    }
}

/// RFC 2003, RFC 2473; traffic class as RFC 6040, section 4.1 (normal mode).
fn outer_header(packet: &Packet<'_>, dest: &Dest) -> Vec<u8> {
    let inner = &packet.frame[packet.l3..];
    match packet.family {
        Family::V4 => {
            let length = (packet.length() as u16 + 20).to_be_bytes();
            let mut header = [0x45, inner[1], length[0], length[1], 0, 0, 0x40, 0, 64, 4, 0, 0].to_vec();
            header.extend([&dest.tunnel_src.0[12..], &dest.addr.0[12..]].concat());
            let sum = checksum(&[], &header);
            header[10..12].copy_from_slice(&sum);
            header
        }
        Family::V6 => {
            let length = (packet.length() as u16).to_be_bytes();
            [&inner[..4], &length, &[41, 64], &dest.tunnel_src.0, &dest.addr.0].concat()
        }
    }
}

/// Lowers the segment size that a client's SYN offers to what fits within `mtu`.
fn clamp_mss(frame: &mut [u8], packet: &Packet<'_>, mtu: usize) {
    let is_first = packet.proto == TCP && !matches!(packet.fragment, Fragment::Later(_));
    if !is_first || packet.tcp_flags() & flags::SYN == 0 {
        return;
    }
    let headers = if packet.family == Family::V4 { 40 } else { 60 };
    let limit = (mtu - headers) as u16;
    if let Some(at) = mss_option(packet)
        && be16(frame, at).is_some_and(|mss| mss > limit)
    {
        patch(frame, at, &limit.to_be_bytes(), &[packet.l4 + 16]);
    }
}

/// RFC 9293, section 3.2: end of list, no-operation, else kind and length.
fn mss_option(packet: &Packet<'_>) -> Option<usize> {
    let payload = packet.payload();
    let end = usize::from(payload[12] >> 4) * 4;
    let mut at = 20;
    for _ in 0..OPTIONS {
        if at >= end {
            return None;
        }
        match (payload[at], payload[..end].get(at + 1)) {
            (0, _) => return None,
            (1, _) => at += 1,
            (MSS, Some(4)) if at + 4 <= end => return Some(packet.l4 + at + 2),
            (_, Some(&length)) if length >= 2 => at += usize::from(length),
            _ => return None,
        }
    }
    None
}

pub(super) fn is_v4(addr: &Addr) -> bool {
    std::net::IpAddr::from(*addr).is_ipv4()
}

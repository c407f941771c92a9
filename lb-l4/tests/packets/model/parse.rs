//! From a frame to a packet: RFC 791, RFC 8200, IEEE 802.1Q.

use std::net::IpAddr;

use lb_l4::abi::{Addr, FlowKey, Port};

pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMP6: u8 = 58;

/// Of TCP (RFC 9293, section 3.1).
pub mod flags {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
}

const EXTENSIONS: usize = 6;
/// Offset in the frame that a transport header may have.
const FURTHEST: usize = 0x3A0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fragment {
    Whole,
    First(u32),
    Later(u32),
}

/// An IP packet in a frame. Offsets are from the start of the frame.
#[derive(Debug, Clone)]
pub struct Packet<'a> {
    pub frame: &'a [u8],
    pub family: Family,
    pub l3: usize,
    pub l4: usize,
    /// Of the IP packet; the frame may be padded.
    pub end: usize,
    pub src: Addr,
    pub dst: Addr,
    pub proto: u8,
    pub ttl: u8,
    pub fragment: Fragment,
    /// A router may not fragment it.
    pub whole_or_nothing: bool,
}

/// `None` for what is no IP packet, or is malformed as one: the kernel's business.
pub fn parse(frame: &[u8]) -> Option<Packet<'_>> {
    let mut at = 12;
    for _ in 0..2 {
        if !matches!(be16(frame, at)?, 0x8100 | 0x88A8) {
            break;
        }
        at += 4;
    }
    match be16(frame, at)? {
        0x0800 => ipv4(frame, at + 2),
        0x86DD => ipv6(frame, at + 2),
        _ => None,
    }
}

fn ipv4(frame: &[u8], l3: usize) -> Option<Packet<'_>> {
    let header = frame.get(l3..l3 + 20)?;
    let length = usize::from(header[0] & 0xF) * 4;
    let total = usize::from(be16(header, 2)?);
    if header[0] >> 4 != 4 || length < 20 || total < length || l3 + total > frame.len() {
        return None;
    }
    let flags = be16(header, 6)?;
    let id = u32::from(u16::from_ne_bytes([header[4], header[5]])); // as it stands there
    Some(Packet {
        frame,
        family: Family::V4,
        l3,
        l4: l3 + length,
        end: l3 + total,
        src: mapped(&header[12..16]),
        dst: mapped(&header[16..20]),
        proto: header[9],
        ttl: header[8],
        fragment: fragment(id, flags & 0x1FFF, flags & 0x2000 != 0),
        whole_or_nothing: flags & 0x4000 != 0,
    })
}

fn ipv6(frame: &[u8], l3: usize) -> Option<Packet<'_>> {
    let header = frame.get(l3..l3 + 40)?;
    let end = l3 + 40 + usize::from(be16(header, 4)?);
    if header[0] >> 4 != 6 || end > frame.len() {
        return None;
    }
    let (src, dst) = addresses6(header)?;
    let (proto, l4, fragment) = walk(frame, l3 + 40, end, header[6])?;
    Some(Packet {
        frame,
        family: Family::V6,
        l3,
        l4,
        end,
        src,
        dst,
        proto,
        ttl: header[7],
        fragment,
        whole_or_nothing: true,
    })
}

/// `None`: one of them would pass for IPv4 (RFC 4291, section 2.5.5.2: such are for programs, not for wires).
pub(super) fn addresses6(header: &[u8]) -> Option<(Addr, Addr)> {
    let [src, dst] = [8, 24].map(|at| <[u8; 16]>::try_from(&header[at..at + 16]).ok().map(Addr));
    let is_mapped = |addr: &Addr| addr.0.starts_with(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]);
    Some((src.filter(|src| !is_mapped(src))?, dst.filter(|dst| !is_mapped(dst))?))
}

/// Over extension headers to the transport header, or to the data of a later fragment.
pub(super) fn walk(frame: &[u8], mut at: usize, end: usize, mut next: u8) -> Option<(u8, usize, Fragment)> {
    let mut part = Fragment::Whole;
    for seen in 0.. {
        if matches!(part, Fragment::Later(_)) || !matches!(next, 0 | 43 | 44 | 60) {
            break;
        }
        let header = frame.get(at..(at + 8).min(end))?;
        let length = match next {
            _ if header.len() < 8 || seen == EXTENSIONS => return None,
            44 => {
                let id = u32::from_ne_bytes(header[4..8].try_into().ok()?);
                match fragment(id, be16(header, 2)? >> 3, be16(header, 2)? & 1 != 0) {
                    Fragment::Whole => {}
                    cut => part = cut,
                }
                8
            }
            _ => (usize::from(header[1]) + 1) * 8,
        };
        (next, at) = (header[0], at + length);
        if at > end || at >= FURTHEST {
            return None;
        }
    }
    Some((next, at, part))
}

fn fragment(id: u32, offset: u16, more: bool) -> Fragment {
    match (offset, more) {
        (0, false) => Fragment::Whole, // RFC 6946: an atomic fragment is no fragment
        (0, true) => Fragment::First(id),
        _ => Fragment::Later(id),
    }
}

impl<'a> Packet<'a> {
    /// What follows the IP headers.
    pub fn payload(&self) -> &'a [u8] {
        &self.frame[self.l4..self.end]
    }

    /// The ports are there, and the lengths within the transport header can be true.
    pub fn has_transport(&self) -> bool {
        let payload = self.payload();
        match self.proto {
            TCP => payload.get(12).is_some_and(|byte| {
                let length = usize::from(byte >> 4) * 4;
                length >= 20 && length <= payload.len()
            }),
            UDP => payload.len() >= 8 && be16(payload, 4).is_some_and(|length| self.udp_length_fits(length.into())),
            _ => false,
        }
    }

    /// The length of a first fragment's datagram counts what is in the others.
    fn udp_length_fits(&self, length: usize) -> bool {
        length >= 8 && (length <= self.payload().len() || matches!(self.fragment, Fragment::First(_)))
    }

    /// Nobody has that address, or nobody but the neighbours knows who: RFC 1122, section 3.2.1.3; RFC 4291,
    /// sections 2.5.2, 2.5.3, 2.5.6 and 2.7.
    pub fn is_from_nobody(&self) -> bool {
        match IpAddr::from(self.src) {
            IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.is_loopback() || v4.is_multicast() || v4.is_broadcast(),
            IpAddr::V6(v6) => {
                v6.is_unspecified() || v6.is_loopback() || v6.is_unicast_link_local() || v6.is_multicast()
            }
        }
    }

    pub fn flow_key(&self) -> Option<FlowKey> {
        let payload = self.payload();
        Some(self.key_with(be16(payload, 0)?.into(), be16(payload, 2)?.into()))
    }

    pub fn key_with(&self, sport: Port, dport: Port) -> FlowKey {
        FlowKey { src: self.src, dst: self.dst, sport, dport, proto: self.proto, zero: [0; 3] }
    }

    pub fn tcp_flags(&self) -> u8 {
        if self.proto == TCP { self.payload()[13] } else { 0 }
    }

    pub fn transport_header(&self) -> usize {
        if self.proto == TCP { usize::from(self.payload()[12] >> 4) * 4 } else { 8 }
    }

    /// Length of the IP packet.
    pub fn length(&self) -> usize {
        self.end - self.l3
    }

    /// A client opens a connection.
    pub fn opens(&self) -> bool {
        self.tcp_flags() & (flags::SYN | flags::ACK | flags::RST) == flags::SYN
    }
}

pub fn mapped(v4: &[u8]) -> Addr {
    let mut addr = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0, 0, 0];
    addr[12..].copy_from_slice(v4);
    Addr(addr)
}

pub fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

//! Builds frames, with checksums computed in full.

use std::net::IpAddr;

use crate::model::{ICMP, ICMP6, TCP, UDP};

/// Of nobody that we know.
pub const STRANGER: [u8; 6] = [2, 0, 0, 0, 9, 9];
pub const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 1, 254];
/// Of the interface towards the clients; and where a packet comes in by another one, of that.
pub const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 1, 1];

#[derive(Debug, Clone)]
pub struct Build {
    pub to: [u8; 6],
    pub tags: Vec<(u16, u16)>,
    pub src: IpAddr,
    pub dst: IpAddr,
    pub ttl: u8,
    /// TOS, or traffic class.
    pub tos: u8,
    pub label: u32,
    pub id: u32,
    pub dont_fragment: bool,
    /// In units of eight bytes, and whether more follow.
    pub fragment: Option<(u16, bool)>,
    /// Of IPv4.
    pub options: Vec<u8>,
    /// Of IPv6: kind, and what follows the two bytes of kind and length.
    pub extensions: Vec<(u8, Vec<u8>)>,
    pub padding: usize,
    pub body: Body,
}

#[derive(Debug, Clone)]
pub enum Body {
    Tcp {
        sport: u16,
        dport: u16,
        flags: u8,
        options: Vec<u8>,
        data: Vec<u8>,
    },
    Udp {
        sport: u16,
        dport: u16,
        checksum: bool,
        data: Vec<u8>,
    },
    /// Type, code, and all from the fifth byte on.
    Icmp(u8, u8, Vec<u8>),
    /// Of a later fragment, or of another protocol.
    Raw(u8, Vec<u8>),
}

impl Build {
    pub fn new(src: IpAddr, dst: IpAddr, body: Body) -> Self {
        Self {
            to: OUR_MAC,
            tags: Vec::new(),
            src,
            dst,
            ttl: 63,
            tos: 0,
            label: 0,
            id: 0x1234,
            dont_fragment: true,
            fragment: None,
            options: Vec::new(),
            extensions: Vec::new(),
            padding: 0,
            body,
        }
    }

    pub fn tcp(src: (IpAddr, u16), dst: (IpAddr, u16), flags: u8) -> Self {
        let body = Body::Tcp { sport: src.1, dport: dst.1, flags, options: Vec::new(), data: Vec::new() };
        Self::new(src.0, dst.0, body)
    }

    pub fn udp(src: (IpAddr, u16), dst: (IpAddr, u16)) -> Self {
        let body = Body::Udp { sport: src.1, dport: dst.1, checksum: true, data: b"query".to_vec() };
        Self::new(src.0, dst.0, body)
    }

    pub fn icmp(src: IpAddr, dst: IpAddr, kind: u8, code: u8, rest: Vec<u8>) -> Self {
        Self::new(src, dst, Body::Icmp(kind, code, rest))
    }

    pub fn data(mut self, length: usize) -> Self {
        if let Body::Tcp { data, .. } | Body::Udp { data, .. } = &mut self.body {
            *data = (0..length).map(|i| i as u8).collect();
        }
        self
    }

    pub fn tcp_options(mut self, bytes: &[u8]) -> Self {
        if let Body::Tcp { options, .. } = &mut self.body {
            *options = bytes.to_vec();
        }
        self
    }

    pub fn without_checksum(mut self) -> Self {
        if let Body::Udp { checksum, .. } = &mut self.body {
            *checksum = false;
        }
        self
    }

    pub fn set_sport(&mut self, port: u16) {
        if let Body::Tcp { sport, .. } | Body::Udp { sport, .. } = &mut self.body {
            *sport = port;
        }
    }

    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub fn frame(&self) -> Vec<u8> {
        let mut frame = [self.to, ROUTER_MAC].concat();
        for (ethertype, tag) in &self.tags {
            frame.extend(ethertype.to_be_bytes());
            frame.extend(tag.to_be_bytes());
        }
        frame.extend(if self.src.is_ipv4() { [0x08, 0x00] } else { [0x86, 0xDD] });
        frame.extend(self.packet());
        frame.extend(vec![0; self.padding]);
        frame
    }

    /// Without Ethernet, as errors quote it.
    pub fn packet(&self) -> Vec<u8> {
        let body = self.transport();
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => self.ipv4(src.octets(), dst.octets(), &body),
            (IpAddr::V6(src), IpAddr::V6(dst)) => self.ipv6(src.octets(), dst.octets(), &body),
            _ => panic!("addresses of two families"),
        }
    }

    fn ipv4(&self, src: [u8; 4], dst: [u8; 4], body: &[u8]) -> Vec<u8> {
        let length = 20 + self.options.len();
        let (offset, more) = self.fragment.unwrap_or_default();
        let place = offset | u16::from(more) << 13 | u16::from(self.dont_fragment) << 14;
        let mut header = vec![0x40 | (length / 4) as u8, self.tos];
        header.extend(((length + body.len()) as u16).to_be_bytes());
        header.extend((self.id as u16).to_be_bytes());
        header.extend(place.to_be_bytes());
        header.extend([self.ttl, self.proto(), 0, 0]);
        header.extend([src, dst].concat());
        header.extend(&self.options);
        let sum = internet_checksum(&header);
        header[10..12].copy_from_slice(&sum);
        [header, body.to_vec()].concat()
    }

    fn ipv6(&self, src: [u8; 16], dst: [u8; 16], body: &[u8]) -> Vec<u8> {
        let mut kinds: Vec<u8> = self.extensions.iter().map(|(kind, _)| *kind).collect();
        kinds.extend(self.fragment.map(|_| 44));
        kinds.push(self.proto());
        let mut rest = Vec::new();
        for ((_, bytes), next) in self.extensions.iter().zip(&kinds[1..]) {
            assert_eq!(bytes.len() % 8, 6, "an extension header is a multiple of eight bytes");
            rest.extend([*next, (bytes.len() / 8) as u8]);
            rest.extend(bytes);
        }
        if let Some((offset, more)) = self.fragment {
            rest.extend([self.proto(), 0]);
            rest.extend((offset << 3 | u16::from(more)).to_be_bytes());
            rest.extend(self.id.to_be_bytes());
        }
        rest.extend(body);
        let first = 6 << 28 | u32::from(self.tos) << 20 | self.label;
        let mut packet = first.to_be_bytes().to_vec();
        packet.extend((rest.len() as u16).to_be_bytes());
        packet.extend([kinds[0], self.ttl]);
        packet.extend(src);
        packet.extend(dst);
        packet.extend(rest);
        packet
    }

    fn proto(&self) -> u8 {
        match self.body {
            Body::Tcp { .. } => TCP,
            Body::Udp { .. } => UDP,
            Body::Icmp(..) if self.src.is_ipv4() => ICMP,
            Body::Icmp(..) => ICMP6,
            Body::Raw(proto, _) => proto,
        }
    }

    fn transport(&self) -> Vec<u8> {
        let (mut bytes, place) = match &self.body {
            Body::Tcp { sport, dport, flags, options, data } => {
                let mut options = options.clone();
                options.resize(options.len().next_multiple_of(4), 0);
                let mut bytes = [sport.to_be_bytes(), dport.to_be_bytes()].concat();
                bytes.extend([
                    0,
                    0,
                    0x10,
                    0,
                    0,
                    0,
                    0x20,
                    0,
                    (5 + options.len() as u8 / 4) << 4,
                    *flags,
                    0x7F,
                    0,
                    0,
                    0,
                    0,
                    0,
                ]);
                bytes.extend(options);
                bytes.extend(data);
                (bytes, 16)
            }
            Body::Udp { sport, dport, checksum, data } => {
                let length = (8 + data.len()) as u16;
                let mut bytes = [sport.to_be_bytes(), dport.to_be_bytes(), length.to_be_bytes(), [0, 0]].concat();
                bytes.extend(data);
                if !checksum {
                    return bytes;
                }
                (bytes, 6)
            }
            Body::Icmp(kind, code, rest) => ([&[*kind, *code, 0, 0], rest.as_slice()].concat(), 2),
            Body::Raw(_, bytes) => return bytes.clone(),
        };
        let mut sum = internet_checksum(&[self.pseudo_header(bytes.len()), bytes.clone()].concat());
        if place == 6 && sum == [0, 0] {
            sum = [0xFF, 0xFF];
        }
        bytes[place..place + 2].copy_from_slice(&sum);
        bytes
    }

    fn pseudo_header(&self, length: usize) -> Vec<u8> {
        match (self.src, self.dst) {
            (IpAddr::V4(_), _) if matches!(self.body, Body::Icmp(..)) => Vec::new(),
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                [src.octets(), dst.octets(), [0, self.proto(), (length >> 8) as u8, length as u8]].concat()
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let tail = [(length as u32).to_be_bytes(), [0, 0, 0, self.proto()]].concat();
                [src.octets().as_slice(), &dst.octets(), &tail].concat()
            }
            _ => panic!("addresses of two families"),
        }
    }
}

fn internet_checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0)));
    let mut sum: u64 = words.sum();
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

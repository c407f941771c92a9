//! The packets of a case.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Deserialize;

use crate::checksum;

// Addresses, as harness/topology.py gives them.
const MAC_OF_CLIENTS: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Everything comes in there.
pub const MAC_OF_INGRESS: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub const PORT: u16 = 80;
pub const BACKEND_PORT: u16 = 8080;
/// The first client of IPv4; the others are in the same /10.
pub const CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 0);
pub const CLIENTS_PREFIX: u32 = 10;
/// In each pool; a power of two, and ORed to the address of the first.
pub const BACKENDS: u32 = 16;

/// Without padding: the generator writes as much.
const HEAD4: usize = 54;
const HEAD6: usize = 74;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    V4,
    V6,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp = 6,
    Udp = 17,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet {
    Syn,
    SynAck,
    Ack,
    Datagram,
}

/// One kind of packet, for a number of flows.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub family: Family,
    pub packet: Packet,
    /// Where clients send to, or (a reply) the first backend's address.
    pub server: IpAddr,
    pub port: u16,
    /// From the backends to the clients.
    pub reply: bool,
    /// A power of two; 0: a new one with every packet.
    pub flows: u32,
    /// Not one flow after the other.
    pub scattered: bool,
    /// Number of the first flow.
    pub first: u32,
}

impl Plan {
    /// `struct plan` of bpf/packets.c.
    pub fn encode(&self) -> [u32; 30] {
        let frame = self.frame();
        let (ip_sum, transport_sum) = sums(&frame);
        let mut words = [0; 30];
        words[..9].copy_from_slice(&[
            self.first,
            self.flows.wrapping_sub(1),
            if self.scattered { 0x9E37_79B1 } else { 1 },
            if self.reply { BACKENDS - 1 } else { 0 },
            ip_sum,
            transport_sum,
            u32::from(self.reply),
            self.protocol() as u32,
            frame.len() as u32,
        ]);
        for (word, bytes) in words[10..].iter_mut().zip(frame.chunks(4)) {
            let mut whole = [0; 4];
            whole[..bytes.len()].copy_from_slice(bytes);
            *word = u32::from_ne_bytes(whole);
        }
        words
    }

    /// With zeros where clients and backends differ, and checksums of 0.
    pub fn frame(&self) -> Vec<u8> {
        let clients = clients(self.family);
        let (source, destination, source_port, port) = match self.reply {
            false => (clients, self.server, 0, self.port),
            true => (self.server, clients, self.port, 0),
        };
        let mut frame = [MAC_OF_INGRESS, MAC_OF_CLIENTS].concat();
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, self.protocol() as u8, 0, 0]);
                frame.extend([source.octets(), destination.octets()].concat());
            }
            _ => {
                frame.extend([0x86, 0xDD, 0x60, 0, 0, 0, 0, 20, self.protocol() as u8, 64]);
                frame.extend([v6(source).octets(), v6(destination).octets()].concat());
            }
        }
        frame.extend([source_port.to_be_bytes(), port.to_be_bytes()].concat());
        frame.extend(self.transport());
        frame
    }

    /// 20 bytes of TCP, or UDP with 12 bytes of payload; what comes after the ports.
    fn transport(&self) -> [u8; 16] {
        match self.packet {
            Packet::Syn => [0, 0, 3, 232, 0, 0, 0, 0, 0x50, 0x02, 0xFF, 0xFF, 0, 0, 0, 0],
            Packet::SynAck => [0, 0, 7, 208, 0, 0, 3, 233, 0x50, 0x12, 0xFF, 0xFF, 0, 0, 0, 0],
            Packet::Ack if self.reply => [0, 0, 7, 209, 0, 0, 3, 233, 0x50, 0x10, 0xFF, 0xFF, 0, 0, 0, 0],
            Packet::Ack => [0, 0, 3, 233, 0, 0, 7, 209, 0x50, 0x10, 0xFF, 0xFF, 0, 0, 0, 0],
            Packet::Datagram => [0, 20, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
        }
    }

    pub fn protocol(&self) -> Protocol {
        match self.packet {
            Packet::Datagram => Protocol::Udp,
            _ => Protocol::Tcp,
        }
    }
}

/// The parts of both checksums that are the same for all clients.
fn sums(frame: &[u8]) -> (u32, u32) {
    let (addresses, protocol, segment) = match frame.len() {
        HEAD4 => (&frame[26..34], frame[23], &frame[34..]),
        HEAD6 => (&frame[22..54], frame[20], &frame[54..]),
        other => unreachable!("no head has {other} bytes"),
    };
    let transport = checksum::pseudo_header(addresses, protocol, segment.len()) + checksum::sum(segment);
    (checksum::sum(&frame[14..34]), checksum::fold(transport))
}

/// The first client: the others add the number of their flow, but for what is in the port.
fn clients(family: Family) -> IpAddr {
    match family {
        Family::V4 => CLIENTS.into(),
        Family::V6 => Ipv6Addr::new(0xFD00, 0x64, 0, 0, 0, 0, 0, 0).into(),
    }
}

pub fn vip(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 0, 0, 1).into(),
        Family::V6 => Ipv6Addr::new(0xFD00, 0, 0, 0, 0, 0, 0, 1).into(),
    }
}

/// Behind the egress, or (`one_armed`) where the clients are.
pub fn first_backend(family: Family, one_armed: bool) -> IpAddr {
    let network = if one_armed { 3 } else { 2 };
    match family {
        Family::V4 => Ipv4Addr::new(10, network, 0, 16).into(),
        Family::V6 => Ipv6Addr::new(0xFD00, network.into(), 0, 0, 0, 0, 0, 16).into(),
    }
}

pub fn backend(family: Family, one_armed: bool, number: u32) -> IpAddr {
    match first_backend(family, one_armed) {
        IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits() | number).into(),
        IpAddr::V6(first) => Ipv6Addr::from_bits(first.to_bits() | u128::from(number)).into(),
    }
}

/// The balancer's own address on the backends' network.
pub fn tunnel_source(backend: IpAddr) -> IpAddr {
    match backend {
        IpAddr::V4(backend) => Ipv4Addr::from_bits(backend.to_bits() & !0xFF | 2).into(),
        IpAddr::V6(backend) => Ipv6Addr::from_bits(backend.to_bits() & !0xFF | 2).into(),
    }
}

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

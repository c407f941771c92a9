//! The ways to configure one virtual router, and a good advert of a peer for each.

use std::net::IpAddr;

use super::{Advert, Lan, Mac, OWN, PEER, Sum};
use crate::hosts::Space;

pub const VRID: u8 = 51;
/// A source of adverts below, and above, lb's own.
pub const LOWER: &str = "10.0.0.1";
pub const HIGHER: &str = "10.0.0.9";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    V3,
    V3OverIpv6,
    V3Unicast,
    V2,
    V2Password,
}

const PASSWORD: &[u8; 8] = b"sesame\0\0";

impl Setup {
    pub const ALL: [Setup; 5] = [Setup::V3, Setup::V3OverIpv6, Setup::V3Unicast, Setup::V2, Setup::V2Password];

    pub fn is_v6(self) -> bool {
        self == Setup::V3OverIpv6
    }

    pub fn is_v2(self) -> bool {
        matches!(self, Setup::V2 | Setup::V2Password)
    }

    pub fn vip(self) -> &'static str {
        if self.is_v6() { "2001:db8::100" } else { "10.0.0.100" }
    }

    /// With more keys of the virtual router, which come in place of the usual ones.
    pub fn config(self, more: &str) -> String {
        let length = if self.is_v6() { 64 } else { 24 };
        let addresses = format!("[\"{}/{length}\"]", self.vip());
        let usual: &[(&str, &str)] = match self {
            Setup::V3 | Setup::V3OverIpv6 => &[("interval", "100ms"), ("peers", "multicast")],
            Setup::V3Unicast => &[("interval", "100ms"), ("peers", "unicast")],
            Setup::V2 => &[("version", "2"), ("peers", "multicast")],
            Setup::V2Password => &[("version", "2"), ("peers", "multicast"), ("auth", "{ password: sesame }")],
        };
        let usual = [&[("interface", "eth0"), ("addresses", &addresses)], usual].concat();
        let keys = usual.iter().filter(|(key, _)| !more.contains(&format!("{key}:")));
        let keys: String = keys.map(|(key, value)| format!("{key}: {value}, ")).collect();
        format!(
            "nodes:\n  lb: {{ address: {} }}\n  peer: {{ address: {} }}\n\
             vrrp:\n  v: {{ {keys}vrid: {VRID}, {more} }}\n\
             frontends:\n  web: {{ mode: http, listen: @web, pool: web }}\n\
             pools:\n  web: {{ backends: [127.0.0.1:9] }}\n",
            OWN[0], PEER[0]
        )
    }

    /// As a peer without a fault sends it.
    pub fn good(self, lan: &Lan, priority: u8) -> Advert {
        let group: Mac = if self.is_v6() { [0x33, 0x33, 0, 0, 0, 0x12] } else { [1, 0, 0x5e, 0, 0, 0x12] };
        let (destination, to) = match self {
            Setup::V3Unicast => ("10.0.0.2", mac_of(&lan.lb)),
            Setup::V3OverIpv6 => ("ff02::12", group),
            _ => ("224.0.0.18", group),
        };
        Advert {
            source: ip(if self.is_v6() { "fe80::99" } else { PEER[0] }),
            destination: ip(destination),
            to,
            ttl: 255,
            version: if self.is_v2() { 2 } else { 3 },
            kind: 1,
            vrid: VRID,
            priority,
            count: None,
            timing: self.timing(),
            addresses: vec![ip(self.vip())],
            tail: self.authentication(),
            sum: if self.is_v2() { Sum::Plain } else { Sum::WithPseudoHeader },
            cut: 0,
        }
    }

    pub fn timing(self) -> [u8; 2] {
        match self {
            Setup::V2 => [0, 1],
            Setup::V2Password => [1, 1],
            _ => [0, 10],
        }
    }

    /// Behind the addresses.
    pub fn authentication(self) -> Vec<u8> {
        match self {
            Setup::V2 => vec![0; 8],
            Setup::V2Password => PASSWORD.to_vec(),
            _ => vec![],
        }
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Of its `eth0`.
pub fn mac_of(host: &Space) -> Mac {
    let text = host.run("ip -o link show dev eth0");
    let text = text.split("link/ether ").nth(1).unwrap().split(' ').next().unwrap();
    let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

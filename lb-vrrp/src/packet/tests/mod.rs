//! By hand-made bytes, one test for each rule; and by properties.

mod announce;
mod drops;
mod hmac;
mod properties;
mod wire;

use std::net::IpAddr;
use std::time::Duration;

use super::*;

pub const UTC: Duration = Duration::from_secs(1_800_000_000);

pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address in a test")
}

/// Virtual router 51 by multicast, v3 over IPv4, every 100 ms.
pub fn wire() -> Wire {
    Wire {
        version: Version::V3,
        family: Family::V4,
        vrid: 51,
        interval: Duration::from_millis(100),
        peers: Peers::Multicast,
        auth: Auth::None,
        pseudo_header: true,
    }
}

pub fn wire_v6() -> Wire {
    Wire { family: Family::V6, ..wire() }
}

pub fn wire_v2() -> Wire {
    Wire { version: Version::V2, interval: Duration::from_secs(1), ..wire() }
}

pub fn advert(wire: &Wire) -> Advert {
    let addresses = match wire.family {
        Family::V4 => [ip("192.0.2.10"), ip("192.0.2.11")],
        Family::V6 => [ip("fe80::10"), ip("2001:db8::10")],
    };
    Advert {
        version: wire.version,
        vrid: wire.vrid,
        priority: 100,
        interval: wire.interval,
        addresses: Addresses::from_slice(&addresses),
    }
}

pub fn source(family: Family) -> IpAddr {
    ip(if family == Family::V4 { "10.0.0.2" } else { "fe80::2" })
}

/// The bytes of `advert(wire)`.
pub fn encoded(wire: &Wire) -> Vec<u8> {
    let mut out = Vec::new();
    Codec::new(wire.clone()).encode(&advert(wire), source(wire.family), wire.family.group(), UTC, &mut out);
    out
}

pub fn received(family: Family, payload: &[u8]) -> Received<'_> {
    Received { source: source(family), destination: family.group(), ttl: TTL, payload }
}

pub fn decode(wire: &Wire, payload: &[u8]) -> Result<Advert, PacketError> {
    Codec::new(wire.clone()).decode(&received(wire.family, payload), UTC)
}

/// Changes bytes, and makes the checksum right again (v3 over IPv4 without pseudo-header, and v2).
pub fn forged(mut payload: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    change(&mut payload);
    payload[6..8].fill(0);
    let sum = checksum::Checksum::default().add(&payload).finish();
    payload[6..8].copy_from_slice(&sum.to_be_bytes());
    payload
}

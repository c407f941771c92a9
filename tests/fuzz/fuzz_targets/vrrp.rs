//! What comes to a VRRP socket: no panic, and what is accepted is what would be sent.
//!
//! The first byte of an input chooses how the virtual router speaks, the rest is the packet behind the IP header, with
//! its checksum made right. The whole is also read as an IPv4 packet, and as an Ethernet frame with ARP or a neighbour
//! advertisement.
#![no_main]

use std::net::IpAddr;
use std::time::Duration;

use lb_vrrp::packet::{
    Advert, Auth, Codec, Family, HmacSettings, Key, Peers, Received, TTL, Version, Wire, announced, announcement,
    split_ipv4,
};
use libfuzzer_sys::fuzz_target;

const UTC: Duration = Duration::from_secs(1_800_000_000);

fuzz_target!(|input: &[u8]| {
    let Some((choice, payload)) = input.split_first() else { return };
    let wire = wire(*choice);
    let _ = split_ipv4(payload).map(|received| decode(&wire, &received));
    if let Some((address, mac)) = announced(payload) {
        assert_eq!(announced(&announcement(address, mac, false)), Some((address, mac)));
    }
    let mut payload = payload.to_vec();
    correct(&mut payload);
    let received = Received { source: source(&wire), destination: destination(&wire), ttl: TTL, payload: &payload };
    if let Some(advert) = decode(&wire, &received) {
        comes_back(&wire, &advert);
    }
});

fn wire(choice: u8) -> Wire {
    let (version, family) = match choice & 3 {
        0 => (Version::V2, Family::V4),
        1 => (Version::V3, Family::V6),
        _ => (Version::V3, Family::V4),
    };
    let auth = match (choice & 4, version) {
        (0, _) => Auth::None,
        (_, Version::V2) => Auth::Password(*b"password"),
        (_, Version::V3) => Auth::Hmac(hmac()),
    };
    let interval = Duration::from_secs(1);
    let wire = Wire { version, family, vrid: 51, interval, peers: Peers::Multicast, auth, pseudo_header: false };
    let peers = if choice & 8 == 0 { Peers::Multicast } else { Peers::Unicast(vec![source(&wire)]) };
    Wire { peers, ..wire }
}

/// Lenient, or nothing behind it would ever be reached.
fn hmac() -> HmacSettings {
    let keys = Key::new(&[1; 32]).map(|key| (1, key)).into_iter().collect();
    HmacSettings { keys, active: 1, window: Duration::from_secs(5), required: false }
}

fn source(wire: &Wire) -> IpAddr {
    if wire.family == Family::V4 { [10, 0, 0, 2].into() } else { [0xfe80, 0, 0, 0, 0, 0, 0, 2].into() }
}

fn destination(wire: &Wire) -> IpAddr {
    if wire.peers == Peers::Multicast { wire.family.group() } else { source(wire) }
}

/// The checksum without a pseudo-header, over all of it.
fn correct(payload: &mut [u8]) {
    let Some(field) = payload.get_mut(6..8) else { return };
    field.fill(0);
    let words = payload.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
    let sum = words.fold(0, |sum, word| (sum + word) % 0xffff);
    payload[6..8].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

fn decode(wire: &Wire, received: &Received<'_>) -> Option<Advert> {
    match Codec::new(wire.clone()).decode(received, UTC) {
        Ok(advert) => Some(advert),
        Err(error) => {
            assert!(!error.label().is_empty() && !error.to_string().is_empty());
            None
        }
    }
}

fn comes_back(wire: &Wire, advert: &Advert) {
    assert!(!advert.addresses.is_empty() && !advert.interval.is_zero());
    let mut payload = Vec::new();
    Codec::new(wire.clone()).encode(advert, source(wire), destination(wire), UTC, &mut payload);
    let received = Received { source: source(wire), destination: destination(wire), ttl: TTL, payload: &payload };
    assert_eq!(decode(wire, &received).as_ref(), Some(advert));
}

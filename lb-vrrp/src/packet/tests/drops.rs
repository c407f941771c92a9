//! RFC 9568 section 7.1, RFC 3768 section 7.1: what is dropped, and under which label.

use super::*;

fn label(result: Result<Advert, PacketError>) -> &'static str {
    match result {
        Ok(_) => "accepted",
        Err(error) => {
            assert!(PacketError::LABELS.contains(&error.label()));
            assert!(!error.to_string().is_empty());
            error.label()
        }
    }
}

fn dropped(wire: &Wire, change: impl FnOnce(&mut Vec<u8>)) -> Result<Advert, PacketError> {
    decode(wire, &forged(encoded(wire), change))
}

#[test]
fn a_packet_whose_ttl_is_not_255() {
    for wire in [wire(), wire_v2(), wire_v6()] {
        let payload = encoded(&wire);
        for ttl in [0, 1, 64, 254] {
            let received = Received { ttl, ..received(wire.family, &payload) };
            let result = Codec::new(wire.clone()).decode(&received, UTC);
            assert_eq!(result, Err(PacketError::Ttl { got: ttl }));
        }
    }
}

#[test]
fn another_version() {
    let error = PacketError::Version { expected: Version::V3, got: 2 };
    assert_eq!(dropped(&wire(), |payload| payload[0] = 0x21), Err(error));
    assert_eq!(label(dropped(&wire_v2(), |payload| payload[0] = 0x31)), "version");
    assert_eq!(label(decode(&wire(), &encoded(&wire_v2()))), "version");
}

#[test]
fn another_type() {
    assert_eq!(dropped(&wire(), |payload| payload[0] = 0x32), Err(PacketError::Type { got: 2 }));
    assert_eq!(label(dropped(&wire(), |payload| payload[0] = 0x30)), "type");
}

#[test]
fn another_virtual_router() {
    let error = PacketError::Vrid { expected: 51, got: 52 };
    assert_eq!(dropped(&wire(), |payload| payload[1] = 52), Err(error));
}

#[test]
fn fewer_bytes_than_a_header() {
    for got in 0..8 {
        assert_eq!(decode(&wire(), &encoded(&wire())[..got]), Err(PacketError::Short { expected: 8, got }));
    }
}

#[test]
fn count_and_length_that_disagree() {
    let error = PacketError::Length { count: 3, expected: 20, got: 16 };
    assert_eq!(dropped(&wire(), |payload| payload[3] = 3), Err(error), "more addresses than bytes");
    assert_eq!(label(dropped(&wire(), |payload| payload[3] = 1)), "length", "fewer addresses than bytes");
    assert_eq!(label(dropped(&wire(), |payload| payload.truncate(15))), "length");
    assert_eq!(label(dropped(&wire(), |payload| payload.resize(27, 0))), "length", "more than padding");
    assert_eq!(label(dropped(&wire(), |payload| payload.extend([0, 0, 1]))), "length", "no padding");
    assert_eq!(label(dropped(&wire_v6(), |payload| payload.push(0))), "length", "IPv6 is never padded");
    assert_eq!(label(dropped(&wire_v2(), |payload| payload.truncate(16))), "length", "v2 without its last 8 bytes");
}

/// Erratum 8299 to RFC 9568; keepalived 2.4 accepts it.
#[test]
fn no_addresses() {
    for wire in [wire(), wire_v2(), wire_v6()] {
        let result = dropped(&wire, |payload| {
            payload[3] = 0;
            payload.truncate(8);
        });
        assert_eq!(result, Err(PacketError::NoAddresses));
    }
}

/// Erratum 8301 to RFC 9568; keepalived flaps.
#[test]
fn an_interval_of_zero() {
    assert_eq!(dropped(&wire(), |payload| payload[5] = 0), Err(PacketError::ZeroInterval));
    assert_eq!(label(dropped(&wire(), |payload| payload[4..6].copy_from_slice(&[0xf0, 0]))), "interval");
    assert_eq!(label(dropped(&wire_v2(), |payload| payload[5] = 0)), "interval");
}

#[test]
fn a_wrong_checksum() {
    for wire in [wire(), wire_v2(), wire_v6()] {
        let mut payload = encoded(&wire);
        payload[2] ^= 1;
        assert_eq!(label(decode(&wire, &payload)), "checksum");
    }
}

#[test]
fn a_v2_packet_with_a_pseudo_header_in_its_checksum() {
    let mut payload = encoded(&wire_v2());
    payload[6..8].fill(0);
    let sum = checksum::Checksum::default().pseudo_header(ip("10.0.0.2"), GROUP_V4.into(), PROTOCOL, payload.len());
    let sum = sum.add(&payload).finish();
    payload[6..8].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(label(decode(&wire_v2(), &payload)), "checksum");
}

#[test]
fn an_ipv6_packet_without_a_pseudo_header_in_its_checksum() {
    assert_eq!(label(decode(&wire_v6(), &forged(encoded(&wire_v6()), |_| {}))), "checksum");
}

/// RFC 3768 section 7.1; in v3 it is only logged.
#[test]
fn another_interval_in_v2() {
    let error = PacketError::Interval { expected: Duration::from_secs(1), got: Duration::from_secs(2) };
    assert_eq!(dropped(&wire_v2(), |payload| payload[5] = 2), Err(error));
    assert_eq!(label(dropped(&wire(), |payload| payload[5] = 20)), "accepted");
}

#[test]
fn v2_with_another_password_or_none_or_one_too_many() {
    let with = |password: &[u8; 8]| Wire { auth: Auth::Password(*password), ..wire_v2() };
    let (secret, other) = (with(b"secret\0\0"), with(b"secret\0x"));
    assert_eq!(decode(&secret, &encoded(&other)), Err(PacketError::Password));
    let error = PacketError::AuthType { expected: 1, got: 0 };
    assert_eq!(decode(&secret, &encoded(&wire_v2())), Err(error));
    assert_eq!(label(decode(&wire_v2(), &encoded(&secret))), "auth");
}

#[test]
fn v2_with_an_authentication_header() {
    assert_eq!(dropped(&wire_v2(), |payload| payload[4] = 2), Err(PacketError::AuthType { expected: 0, got: 2 }));
}

#[test]
fn unicast_where_multicast_is_expected() {
    let payload = forged(encoded(&wire()), |_| {});
    let received = Received { destination: ip("10.0.0.3"), ..received(Family::V4, &payload) };
    assert_eq!(label(Codec::new(wire()).decode(&received, UTC)), "destination");
}

#[test]
fn multicast_where_unicast_is_expected() {
    let unicast = Wire { peers: Peers::Unicast(vec![ip("10.0.0.2")]), ..wire() };
    assert_eq!(label(decode(&unicast, &encoded(&wire()))), "destination");
}

#[test]
fn a_unicast_packet_from_a_stranger() {
    let unicast = Wire { peers: Peers::Unicast(vec![ip("10.0.0.9")]), ..wire() };
    let payload = forged(encoded(&wire()), |_| {});
    let received = Received { destination: ip("10.0.0.3"), ..received(Family::V4, &payload) };
    assert_eq!(Codec::new(unicast).decode(&received, UTC), Err(PacketError::Peer { got: ip("10.0.0.2") }));
}

#[test]
fn another_address_family() {
    let payload = encoded(&wire_v6());
    let received = received(Family::V6, &payload);
    assert_eq!(label(Codec::new(wire()).decode(&received, UTC)), "family");
}

/// A packet for a virtual router that nobody here has is told apart before it is decoded.
#[test]
fn the_virtual_router_is_read_without_decoding() {
    assert_eq!(vrid(&encoded(&wire())), Some(51));
    assert_eq!(vrid(&[0x31]), None);
}

//! What goes over the wire, byte by byte.

use super::*;

#[test]
fn v3_over_ipv4_with_the_pseudo_header_that_keepalived_and_frr_expect() {
    let mut expected = vec![0x31, 51, 100, 2, 0, 10, 0, 0, 192, 0, 2, 10, 192, 0, 2, 11];
    // 10.0.0.2, 224.0.0.18, protocol 112, 16 bytes; then the message.
    let words = [0x0a00, 0x0002, 0xe000, 0x0012, 112, 16, 0x3133, 0x6402, 10, 0xc000, 0x020a, 0xc000, 0x020b_u32];
    let sum: u32 = words.iter().sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    expected[6..8].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(encoded(&wire()), expected);
}

#[test]
fn v3_over_ipv4_without_the_pseudo_header_as_rfc_9568_has_it() {
    let bare = encoded(&Wire { pseudo_header: false, ..wire() });
    let words = [0x3133, 0x6402, 10, 0xc000, 0x020a, 0xc000, 0x020b_u32];
    let sum: u32 = words.iter().sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    assert_eq!(bare[6..8], sum.to_be_bytes());
}

#[test]
fn both_checksums_are_accepted_whichever_is_sent() {
    for sends in [true, false] {
        for accepts in [true, false] {
            let payload = encoded(&Wire { pseudo_header: sends, ..wire() });
            let receiver = Wire { pseudo_header: accepts, ..wire() };
            assert_eq!(decode(&receiver, &payload), Ok(advert(&receiver)));
        }
    }
}

#[test]
fn v2_carries_seconds_and_a_password_inside_the_checksum() {
    let wire = Wire { auth: Auth::Password(*b"secret\0\0"), ..wire_v2() };
    let payload = encoded(&wire);
    assert_eq!(payload[..6], [0x21, 51, 100, 2, 1, 1]);
    assert_eq!(payload[16..], *b"secret\0\0");
    assert_eq!(checksum::Checksum::default().add(&payload).finish(), 0, "RFC 3768 section 5.3.8, no pseudo-header");
    assert_eq!(decode(&wire, &payload), Ok(advert(&wire)));
}

#[test]
fn v2_without_authentication_has_eight_zeros_in_its_place() {
    let payload = encoded(&wire_v2());
    assert_eq!((payload[4], &payload[16..]), (0, &[0; 8][..]));
    assert_eq!(decode(&wire_v2(), &payload), Ok(advert(&wire_v2())));
}

#[test]
fn v3_over_ipv6_always_has_the_pseudo_header() {
    let payload = encoded(&Wire { pseudo_header: false, ..wire_v6() });
    assert_eq!(payload.len(), 8 + 2 * 16);
    let sum = checksum::Checksum::default().pseudo_header(ip("fe80::2"), GROUP_V6.into(), PROTOCOL, payload.len());
    assert_eq!(sum.add(&payload).finish(), 0);
    assert_eq!(decode(&wire_v6(), &payload), Ok(advert(&wire_v6())));
}

#[test]
fn the_checksum_fits_the_peer_that_it_is_sent_to() {
    let wire = Wire { peers: Peers::Unicast(vec![ip("10.0.0.2"), ip("10.0.0.3")]), ..wire() };
    let mut codec = Codec::new(wire.clone());
    let mut payload = Vec::new();
    for to in ["10.0.0.3", "10.0.0.4"] {
        codec.encode(&advert(&wire), ip("10.0.0.2"), ip(to), UTC, &mut payload);
        let received = Received { destination: ip(to), ..received(Family::V4, &payload) };
        assert_eq!(codec.decode(&received, UTC), Ok(advert(&wire)));
    }
}

#[test]
fn an_interval_is_sent_in_hundredths_and_never_as_zero() {
    let interval_of = |interval| {
        let wire = Wire { interval, ..wire() };
        let payload = encoded(&wire);
        decode(&wire, &payload).map(|advert| advert.interval)
    };
    assert_eq!(interval_of(Duration::from_millis(10)), Ok(Duration::from_millis(10)));
    assert_eq!(interval_of(Duration::from_millis(40_950)), Ok(Duration::from_millis(40_950)));
    assert_eq!(interval_of(Duration::from_millis(3)), Ok(Duration::from_millis(10)));
    assert_eq!(interval_of(Duration::from_secs(100)), Ok(Duration::from_millis(40_950)));
}

#[test]
fn reserved_bits_are_ignored() {
    let payload = forged(encoded(&wire()), |payload| payload[4] |= 0xf0);
    assert_eq!(decode(&wire(), &payload), Ok(advert(&wire())));
}

/// Some senders count the padding of the shortest Ethernet frame into the length of the packet.
#[test]
fn zeros_up_to_the_shortest_ethernet_frame_are_padding() {
    let mut payload = encoded(&wire());
    payload.resize(46 - 20, 0);
    assert_eq!(decode(&wire(), &payload), Ok(advert(&wire())));
}

#[test]
fn padding_behind_an_ipv4_packet_is_cut_off_by_its_length() {
    let payload = encoded(&wire());
    let mut datagram = vec![0x45, 0xc0, 0, 36, 0, 0, 0, 0, 255, PROTOCOL, 0, 0, 10, 0, 0, 2, 224, 0, 0, 18];
    datagram.extend(&payload);
    datagram.extend([0xaa; 10]);
    let received = split_ipv4(&datagram).expect("a good header");
    assert_eq!(received, Received { payload: &payload, ..super::received(Family::V4, &[]) });
}

#[test]
fn ipv4_options_are_skipped() {
    let mut datagram = vec![0x46, 0, 0, 28, 0, 0, 0, 0, 255, PROTOCOL, 0, 0, 10, 0, 0, 2, 224, 0, 0, 18];
    datagram.extend([0x94, 4, 0, 0, 1, 2, 3, 4]);
    assert_eq!(split_ipv4(&datagram).map(|received| received.payload), Ok(&[1, 2, 3, 4][..]));
}

#[test]
fn a_bad_ipv4_header_is_dropped() {
    let good = [0x45, 0, 0, 20, 0, 0, 0, 0, 255, PROTOCOL, 0, 0, 10, 0, 0, 2, 224, 0, 0, 18];
    let with = |at: usize, byte: u8| {
        let mut bad = good;
        bad[at] = byte;
        split_ipv4(&bad).err().map(|error| error.label())
    };
    assert!(split_ipv4(&good).is_ok());
    assert_eq!(split_ipv4(&good[..19]).map_err(|error| error.label()), Err("ip_header"));
    assert_eq!(with(0, 0x65), Some("ip_header"), "version 6");
    assert_eq!(with(0, 0x44), Some("ip_header"), "a header of 16 bytes");
    assert_eq!(with(3, 21), Some("ip_header"), "longer than what was received");
    assert_eq!(with(3, 19), Some("ip_header"), "shorter than its header");
    assert_eq!(with(9, 51), Some("protocol"), "AH");
}

#[test]
fn more_addresses_than_an_advert_can_carry_move_along_unnamed() {
    let many: Vec<IpAddr> = (0..1000_u16).map(|i| IpAddr::from([10, 9, (i >> 8) as u8, i as u8])).collect();
    let wire = wire();
    let advert = Advert { addresses: advertised(&many, Family::V4), ..advert(&wire) };
    let mut payload = Vec::new();
    Codec::new(wire.clone()).encode(&advert, source(Family::V4), GROUP_V4.into(), UTC, &mut payload);
    assert_eq!(payload.len(), 8 + 255 * 4);
    assert_eq!(decode(&wire, &payload), Ok(advert));
}

/// RFC 9568 section 5.2.9, erratum 8300.
#[test]
fn the_first_ipv6_address_is_the_link_local_one() {
    let mixed = [ip("2001:db8::1"), ip("192.0.2.1"), ip("fe80::1"), ip("2001:db8::2")];
    let listed = advertised(&mixed, Family::V6);
    assert_eq!(listed.as_slice(), [ip("fe80::1"), ip("2001:db8::1"), ip("2001:db8::2")]);
    assert_eq!(advertised(&mixed, Family::V4).as_slice(), [ip("192.0.2.1")]);
}

#[test]
fn address_lists_are_compared_in_any_order() {
    let advert = advert(&wire());
    assert!(advert.lists(&[ip("192.0.2.11"), ip("192.0.2.10")]));
    assert!(!advert.lists(&[ip("192.0.2.10")]));
    assert!(!advert.lists(&[ip("192.0.2.10"), ip("192.0.2.12")]));
}

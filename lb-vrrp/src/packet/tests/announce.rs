//! Gratuitous ARP and neighbour advertisements.

use super::*;

const MAC: Mac = [2, 0, 0, 0, 0, 7];

/// Errata 7947 and 7949 to RFC 9568: the address stands in both places; request form.
#[test]
fn gratuitous_arp_is_a_request_with_the_address_as_sender_and_target() {
    let frame = announcement(ip("192.0.2.10"), MAC, true);
    assert_eq!(frame.len(), 60);
    assert_eq!(frame[..14], [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 7, 8, 6]);
    assert_eq!(frame[14..22], [0, 1, 8, 0, 6, 4, 0, 1]);
    assert_eq!(frame[22..42], [2, 0, 0, 0, 0, 7, 192, 0, 2, 10, 0, 0, 0, 0, 0, 0, 192, 0, 2, 10]);
}

#[test]
fn a_neighbour_advertisement_overrides_and_is_not_solicited() {
    let frame = announcement(ip("2001:db8::10"), MAC, true);
    assert_eq!(frame.len(), 86);
    assert_eq!(frame[..14], [0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 7, 0x86, 0xdd]);
    assert_eq!(frame[14..22], [0x60, 0, 0, 0, 0, 32, 58, 255], "hop limit 255, RFC 4861 section 7.1.2");
    let message = &frame[54..];
    assert_eq!((message[0], message[4]), (136, 0xa0), "router and override");
    assert_eq!(message[8..24], "2001:db8::10".parse::<Ipv6Addr>().map(|ip| ip.octets()).unwrap());
    assert_eq!(message[24..], [2, 1, 2, 0, 0, 0, 0, 7]);
    let sum = checksum::Checksum::default().pseudo_header(ip("2001:db8::10"), ip("ff02::1"), 58, 32);
    assert_eq!(sum.add(message).finish(), 0);
    assert_eq!(announcement(ip("2001:db8::10"), MAC, false)[58], 0x20, "no router");
}

#[test]
fn the_virtual_mac_names_family_and_virtual_router() {
    assert_eq!(virtual_mac(ip("192.0.2.10"), 51), [0, 0, 0x5e, 0, 1, 51]);
    assert_eq!(virtual_mac(ip("fe80::1"), 51), [0, 0, 0x5e, 0, 2, 51]);
}

#[test]
fn what_others_announce_is_understood() {
    for address in [ip("192.0.2.10"), ip("2001:db8::10")] {
        assert_eq!(announced(&announcement(address, MAC, false)), Some((address, MAC)));
    }
}

#[test]
fn who_only_asks_announces_nothing() {
    let mut probe = announcement(ip("192.0.2.10"), MAC, false);
    probe[28..32].fill(0);
    assert_eq!(announced(&probe), None, "a probe, RFC 5227 section 2.1.1");
    for length in 0..42 {
        assert_eq!(announced(&announcement(ip("192.0.2.10"), MAC, false)[..length]), None);
    }
    for length in 0..86 {
        assert_eq!(announced(&announcement(ip("2001:db8::10"), MAC, false)[..length]), None);
    }
}

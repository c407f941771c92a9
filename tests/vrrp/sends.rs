//! What lb itself puts on the wire, byte by byte.

use std::net::IpAddr;

use nix::sys::signal::Signal;

use crate::harness::{Agent, Frame, Lan, Mac, OWN, PEER, Setup, VRID, checksum, octets};
use crate::lan;
use crate::shared::poll;

const GROUP: [&str; 2] = ["224.0.0.18", "ff02::12"];
const GROUP_MAC: [Mac; 2] = [[1, 0, 0x5e, 0, 0, 0x12], [0x33, 0x33, 0, 0, 0, 0x12]];

fn mac(lan: &Lan) -> Mac {
    crate::harness::mac_of(&lan.lb)
}

/// The first advert of an active router.
fn advert_of(lan: &Lan, setup: Setup, more: &str) -> (Agent, Frame) {
    let agent = Agent::start(lan, setup, more);
    let advert = agent.await_frame("advert", Frame::is_advert);
    (agent, advert)
}

/// The header that every advert has, and its message.
fn check_header(lan: &Lan, advert: &Frame, wanted_source: &str, wanted: &str) -> Vec<u8> {
    let Frame::Advert { from, to, tos, ttl, source, destination, message } = advert else { panic!("{advert:?}") };
    assert_eq!((*tos, *ttl), (0xc0, 255));
    assert_eq!(*from, mac(lan));
    assert_eq!(*destination, wanted.parse::<IpAddr>().unwrap());
    if destination.is_multicast() {
        assert_eq!(*to, GROUP_MAC[usize::from(destination.is_ipv6())]);
    }
    if wanted_source == "link-local" {
        assert!(matches!(source, IpAddr::V6(v6) if v6.is_unicast_link_local()), "{source}");
    } else {
        assert_eq!(*source, wanted_source.parse::<IpAddr>().unwrap());
    }
    message.clone()
}

/// The sum over these parts and the message as it stands must come to zero.
fn check_sum(parts: &[&[u8]], message: &[u8]) {
    assert_eq!(checksum(&[parts, &[message]].concat()), 0, "checksum of {message:x?}");
}

fn pseudo_header(advert: &Frame) -> Vec<u8> {
    let Frame::Advert { source, destination, message, .. } = advert else { panic!("{advert:?}") };
    let length = message.len() as u8;
    let end: &[u8] = if source.is_ipv4() { &[0, 112, 0, length] } else { &[0, 0, 0, length, 0, 0, 0, 112] };
    [octets(*source), octets(*destination), end.to_vec()].concat()
}

#[test]
fn an_advert_of_version_3() {
    let lan = lan!();
    let (_agent, advert) = advert_of(&lan, Setup::V3, "");
    let message = check_header(&lan, &advert, OWN[0], GROUP[0]);
    assert_eq!(message[..6], [0x31, VRID, 100, 1, 0, 10]);
    assert_eq!(message[8..], [10, 0, 0, 100]);
    check_sum(&[&pseudo_header(&advert)], &message);
}

#[test]
fn an_advert_of_version_3_with_a_checksum_by_the_rfc() {
    let lan = lan!();
    let (_agent, advert) = advert_of(&lan, Setup::V3, "checksum: rfc9568");
    let message = check_header(&lan, &advert, OWN[0], GROUP[0]);
    check_sum(&[], &message);
}

#[test]
fn an_advert_over_ipv6() {
    let lan = lan!();
    let (_agent, advert) = advert_of(&lan, Setup::V3OverIpv6, "");
    let message = check_header(&lan, &advert, "link-local", GROUP[1]);
    assert_eq!(message[..6], [0x31, VRID, 100, 1, 0, 10]);
    assert_eq!(message[8..], octets("2001:db8::100".parse().unwrap()));
    check_sum(&[&pseudo_header(&advert)], &message);
}

#[test]
fn an_advert_over_ipv6_lists_the_link_local_address_first() {
    let lan = lan!();
    let both = "addresses: [\"2001:db8::100/64\", \"fe80::100/64\"]";
    let (_agent, advert) = advert_of(&lan, Setup::V3OverIpv6, both);
    let message = check_header(&lan, &advert, "link-local", GROUP[1]);
    assert_eq!(message[3], 2);
    assert_eq!(message[8..24], octets("fe80::100".parse().unwrap()));
    assert_eq!(message[24..], octets("2001:db8::100".parse().unwrap()));
}

#[test]
fn an_advert_to_a_peer() {
    let lan = lan!();
    let (_agent, advert) = advert_of(&lan, Setup::V3Unicast, "");
    let message = check_header(&lan, &advert, OWN[0], PEER[0]);
    check_sum(&[&pseudo_header(&advert)], &message);
}

#[test]
fn an_advert_of_version_2() {
    let lan = lan!();
    let (_agent, advert) = advert_of(&lan, Setup::V2, "");
    let message = check_header(&lan, &advert, OWN[0], GROUP[0]);
    assert_eq!(message[..6], [0x21, VRID, 100, 1, 0, 1]);
    assert_eq!(message[8..], [10, 0, 0, 100, 0, 0, 0, 0, 0, 0, 0, 0]);
    check_sum(&[], &message);
}

#[test]
fn an_advert_of_version_2_with_a_password() {
    let lan = lan!();
    let (_agent, advert) = advert_of(&lan, Setup::V2Password, "");
    let message = check_header(&lan, &advert, OWN[0], GROUP[0]);
    assert_eq!(message[4..6], [1, 1]);
    assert_eq!(message[12..], *b"sesame\0\0");
    check_sum(&[], &message);
}

#[test]
fn the_address_is_announced_five_times_and_five_times_again() {
    for setup in [Setup::V3, Setup::V3OverIpv6] {
        let lan = lan!();
        let agent = Agent::start(&lan, setup, "garp: { again: 500ms, refresh: off }");
        let announces = |frame: &Frame| frame.announces(setup.vip());
        let heard = agent.await_frames("announcements", 5, announces);
        assert!(heard[0].is_advert(), "the advert comes first: {heard:?}");
        let at_once = heard.iter().filter(|frame| announces(frame)).count();
        assert_eq!(at_once, 5, "{heard:?}");
        let heard = agent.await_frames("announcements again", 10, announces);
        let adverts_between = heard.iter().skip_while(|frame| !announces(frame)).filter(|frame| frame.is_advert());
        assert!(adverts_between.count() >= 2, "not all at once: {heard:?}");
    }
}

#[test]
fn the_address_is_announced_anew_from_time_to_time() {
    let lan = lan!();
    let agent = Agent::start(&lan, Setup::V3, "garp: { repeat: 1, again: off, refresh: 1s }");
    agent.await_frames("announcements", 3, |frame| frame.announces(Setup::V3.vip()));
}

#[test]
fn gratuitous_arp_is_a_request_for_oneself() {
    let lan = lan!();
    let agent = Agent::active(&lan, Setup::V3, "");
    let own = mac(&lan);
    let mut expected = vec![0xff; 6];
    expected.extend(own);
    expected.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    expected.extend(own);
    expected.extend([10, 0, 0, 100, 0, 0, 0, 0, 0, 0, 10, 0, 0, 100]);
    assert_eq!(agent.await_frame("ARP", |frame| frame.announces("10.0.0.100")), Frame::Arp(expected));
}

#[test]
fn a_neighbour_advertisement_overrides_and_says_whether_this_is_a_router() {
    for (forwarding, flags) in [("0", 0x20), ("1", 0xa0)] {
        let lan = lan!();
        lan.lb.sysctl("ipv6/conf/all/forwarding", forwarding);
        let agent = Agent::active(&lan, Setup::V3OverIpv6, "");
        let frame = agent.await_frame("neighbour advertisement", |frame| frame.announces("2001:db8::100"));
        let Frame::NeighbourAdvertisement(frame) = frame else { panic!("{frame:?}") };
        assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 1]);
        assert_eq!(frame[21], 255, "hop limit");
        assert_eq!(frame[58..62], [flags, 0, 0, 0]);
        assert_eq!(frame[78..86], [&[2, 1], &mac(&lan)[..]].concat());
        let pseudo = [&frame[22..54], &[0, 0, 0, 32, 0, 0, 0, 58]].concat();
        check_sum(&[&pseudo], &frame[54..86]);
    }
}

#[test]
fn a_router_that_stops_lets_go() {
    let lan = lan!();
    let mut agent = Agent::active(&lan, Setup::V3, "");
    agent.lb.signal(Signal::SIGTERM);
    agent.await_frame("farewell", |frame| frame.priority() == Some(0));
    assert!(agent.lb.wait_for_exit().success());
    assert!(!agent.has_vip());
}

#[test]
fn what_a_killed_process_left_is_removed() {
    let lan = lan!();
    let agent = Agent::active(&lan, Setup::V3, "");
    agent.lb.signal(Signal::SIGKILL);
    drop(agent);
    let (agent, _rival) = Agent::backup(&lan, Setup::V3, "");
    poll("no address", || (!agent.has_vip()).then_some(()));
    assert!(!agent.is_active());
}

#[test]
fn a_backup_says_nothing() {
    let lan = lan!();
    let (agent, _rival) = Agent::backup(&lan, Setup::V3, "");
    let count = || agent.metric("lb_vrrp_adverts_received_total", &[]);
    poll("adverts", || (count() > 10.0).then_some(()));
    assert_eq!(agent.wire.heard(), []);
}

#[test]
fn the_priority_can_be_changed_while_it_is_active() {
    let lan = lan!();
    let mut agent = Agent::active(&lan, Setup::V3, "interval: 10s, priority: { lb: 255 }");
    agent.wire.take();
    agent.lb.reload(&Setup::V3.config("interval: 10s, priority: { lb: 150 }"));
    agent.await_frame("advert with the new priority", |frame| frame.priority() == Some(150));
    assert!(agent.is_active());
}

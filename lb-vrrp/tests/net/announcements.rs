use std::net::IpAddr;

use lb_vrrp::net::{Announcer, Eavesdropper, Link, Netlink};
use lb_vrrp::packet::{Frame, Mac, announcement};

use super::host::{on_a_wire, wait_for};
use super::tap::{Sender, Tap, ethertype};

const OTHER: Mac = [2, 0, 0, 0, 0, 9];

fn eth0() -> Link {
    Netlink::open().unwrap().link("eth0").unwrap().unwrap()
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn gratuitous_arp_stands_on_the_wire_byte_by_byte() {
    on_a_wire(|peer| {
        let tap = peer.enter(Tap::open);
        let mac = eth0().mac.unwrap();
        let frame = announcement("10.0.0.100".parse().unwrap(), mac, false);
        assert_eq!(Announcer::open(eth0().index).unwrap().send(&[frame]).unwrap(), 1);
        let seen = tap.frame("ARP", |frame| ethertype(frame) == 0x0806);
        let mut expected = vec![0xff; 6];
        expected.extend(mac);
        expected.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        expected.extend(mac);
        expected.extend([10, 0, 0, 100]);
        expected.extend([0; 6]);
        expected.extend([10, 0, 0, 100]);
        expected.resize(60, 0);
        assert_eq!(seen, expected);
    });
}

#[test]
fn a_neighbour_advertisement_stands_on_the_wire_and_convinces_a_kernel() {
    on_a_wire(|peer| {
        let tap = peer.enter(Tap::open);
        let vip = "2001:db8::100".parse().unwrap();
        peer.enter(|| {
            super::host::ip("address add 2001:db8::3/64 dev eth0 nodad");
            super::host::ip("neighbour replace 2001:db8::100 lladdr 02:00:00:00:00:01 nud stale dev eth0");
        });
        let frame = announcement(vip, OTHER, true);
        Announcer::open(eth0().index).unwrap().send(std::slice::from_ref(&frame)).unwrap();
        let is_it = |frame: &[u8]| ethertype(frame) == 0x86dd && frame[20] == 58 && frame[54] == 136;
        assert_eq!(tap.frame("neighbour advertisement", is_it), frame.to_vec());
        // With a right checksum and Override: it replaces what the peer knew.
        wait_for("neighbour entry", || {
            let known = peer.enter(|| super::host::ip("neighbour show to 2001:db8::100"));
            known.contains("02:00:00:00:00:09").then_some(())
        });
    });
}

#[test]
fn a_thousand_frames_arrive_in_order() {
    on_a_wire(|peer| {
        let tap = peer.enter(Tap::open);
        let announcer = Announcer::open(eth0().index).unwrap();
        let frame = |n: u32| announcement(std::net::Ipv4Addr::from(0x0a00_0000 + n).into(), OTHER, false);
        let frames: Vec<Frame> = (0..1000).map(frame).collect();
        for part in frames.chunks(100) {
            assert_eq!(announcer.send(part).unwrap(), part.len());
            for sent in part {
                assert_eq!(tap.frame("ARP", |frame| ethertype(frame) == 0x0806), sent.to_vec());
            }
        }
    });
}

#[test]
fn only_others_that_announce_our_addresses_are_heard() {
    on_a_wire(|peer| {
        let own = eth0().mac.unwrap();
        for (vips, others) in [
            (addresses(&["10.0.0.100", "10.0.0.110"]), addresses(&["10.0.0.99", "10.0.0.105", "10.0.0.111"])),
            (addresses(&["2001:db8::100"]), addresses(&["2001:db8::101"])),
        ] {
            let heard = Eavesdropper::open(eth0().index, &vips, own).unwrap();
            peer.enter(|| {
                let sender = Sender::open();
                others.iter().for_each(|other| sender.send(&announcement(*other, OTHER, false)));
                sender.send(&announcement(vips[0], own, false));
                vips.iter().for_each(|vip| sender.send(&announcement(*vip, OTHER, false)));
            });
            for vip in vips {
                assert_eq!(wait_for("conflict", || heard.receive().unwrap()), (vip, OTHER));
            }
            assert_eq!(heard.receive().unwrap(), None);
        }
    });
}

#[test]
fn what_we_announce_ourselves_is_not_heard() {
    on_a_wire(|peer| {
        let vips = addresses(&["10.0.0.100"]);
        let heard = Eavesdropper::open(eth0().index, &vips, OTHER).unwrap();
        let tap = peer.enter(Tap::open);
        Announcer::open(eth0().index).unwrap().send(&[announcement(vips[0], [2, 0, 0, 0, 0, 8], false)]).unwrap();
        tap.frame("ARP", |frame| ethertype(frame) == 0x0806);
        assert_eq!(heard.receive().unwrap(), None);
    });
}

//! Whom a frame is for: this host, or somebody else on a segment that floods.

use lb_l4::abi::Counter::Standby;
use lb_l4::abi::{MAC_SLOTS, MacKey, mac_state};

use super::{Case, DATA, SYN_ACK, answer, answer_udp, client, host, syn, tcp, udp, vip};
use crate::harness::bench::Bench;
use crate::harness::bench::Expect::{Answer, Drop, Pass, To};
use crate::harness::net::{BACKENDS, CLIENTS, HELD, WAITING, own_mac};
use crate::harness::world::port;
use crate::model::flags;
use crate::packet::{Body, Build, STRANGER};

pub const CASES: &[Case] = &[
    ("what is for the interface is forwarded", |t, v6| {
        connect(t, v6);
        t.send(&tcp(v6, port::NAT, DATA), To(BACKENDS));
        t.send(&echo(v6), Answer);
    }),
    ("what is for somebody else is not touched", |t, v6| {
        connect(t, v6);
        for mac in [STRANGER, own_mac(BACKENDS)] {
            everything(v6).iter().for_each(|packet| drop(t.send(&to(mac, packet), Pass)));
            t.reply(&to(STRANGER, &answer(v6, 11, DATA)), Pass);
        }
        t.send(&tcp(v6, port::NAT, DATA), To(BACKENDS));
    }),
    ("what is for everybody or for a group is not touched", |t, v6| {
        connect(t, v6);
        let group = if v6 { [0x33, 0x33, 0, 0, 0, 1] } else { [1, 0, 0x5E, 0, 0, 1] };
        for mac in [[0xFF; 6], group] {
            everything(v6).iter().for_each(|packet| drop(t.send(&to(mac, packet), Pass)));
        }
    }),
    ("what is for a virtual MAC of ours is forwarded", |t, v6| {
        t.send(&to(HELD, &syn(v6, port::NAT)), To(BACKENDS));
        t.reply(&to(HELD, &answer(v6, 11, SYN_ACK)), To(CLIENTS));
        t.send(&to(HELD, &tcp(v6, port::NAT, DATA)), To(BACKENDS));
        t.send(&to(HELD, &tcp(v6, port::NAT, DATA)), To(BACKENDS));
        t.send(&to(HELD, &udp(v6, port::DR)), To(BACKENDS));
        let left = t.send(&to(HELD, &echo(v6)), Answer);
        assert_eq!(left.0[6..12], HELD);
    }),
    ("what is for a virtual MAC that another node has is not forwarded", |t, v6| {
        connect(t, v6);
        t.send(&udp(v6, port::NAT), To(BACKENDS));
        for packet in [syn(v6, port::DR), tcp(v6, port::NAT, DATA), udp(v6, port::NAT), udp(v6, port::TUNNEL)] {
            t.send(&to(WAITING, &packet), Drop(Standby));
        }
        for packet in [answer(v6, 11, DATA), answer_udp(v6, 11)] {
            t.reply(&to(WAITING, &packet), Drop(Standby));
        }
    }),
    ("what is for such a one and no flow of ours is not touched", |t, v6| {
        connect(t, v6);
        let elsewhere = Build::tcp(client(v6), (host(v6, 99), 80), flags::SYN);
        let later = Build::new(client(v6).0, vip(v6, 0).0, Body::Raw(17, vec![3; 64]))
            .with(|p| (p.fragment, p.dont_fragment) = (Some((8, false)), false));
        let cut = Build::new(client(v6).0, vip(v6, 0).0, Body::Raw(6, vec![0; 13]));
        for packet in [elsewhere, tcp(v6, 9999, flags::SYN), echo(v6), later, cut] {
            t.send(&to(WAITING, &packet), Pass);
        }
    }),
    ("a virtual MAC comes and goes", |t, v6| {
        let packet = to(WAITING, &syn(v6, port::DR));
        t.send(&packet, Drop(Standby));
        set(t, WAITING, mac_state::OURS);
        t.send(&packet, To(BACKENDS));
        set(t, WAITING, mac_state::STANDBY);
        t.send(&packet, Drop(Standby));
        t.configure_macs(|macs| macs.retain(|key, _| key.mac != WAITING));
        t.send(&packet, Pass);
    }),
    ("in a VLAN it is the same", |t, v6| {
        let tagged = |mac| to(mac, &syn(v6, port::NAT)).with(|p| p.tags = vec![(0x8100, 7)]);
        t.send(&tagged(STRANGER), Pass);
        t.send(&tagged(WAITING), Drop(Standby));
        t.send(&tagged(HELD), To(BACKENDS));
        t.send(&tagged(own_mac(CLIENTS)), To(BACKENDS));
    }),
    ("an address without a slot is found", |t, v6| {
        t.configure(|config| config.settings.macs = [0; MAC_SLOTS]);
        connect(t, v6);
        t.send(&to(HELD, &tcp(v6, port::NAT, DATA)), To(BACKENDS));
        t.send(&to(WAITING, &tcp(v6, port::NAT, DATA)), Drop(Standby));
        t.send(&to(STRANGER, &tcp(v6, port::NAT, DATA)), Pass);
    }),
];

fn to(mac: [u8; 6], packet: &Build) -> Build {
    packet.clone().with(|p| p.to = mac)
}

/// An established flow.
fn connect(t: &mut Bench, v6: bool) {
    t.send(&syn(v6, port::NAT), To(BACKENDS));
    t.reply(&answer(v6, 11, SYN_ACK), To(CLIENTS));
    t.send(&tcp(v6, port::NAT, DATA), To(BACKENDS));
}

fn everything(v6: bool) -> Vec<Build> {
    let quoted = [0, 0, 0, 0].into_iter().chain(answer(v6, 11, DATA).packet()).collect();
    let error = Build::icmp(host(v6, 3), vip(v6, 0).0, if v6 { 1 } else { 3 }, 0, quoted);
    vec![syn(v6, port::DR), tcp(v6, port::NAT, DATA), udp(v6, port::TUNNEL), echo(v6), error]
}

fn set(t: &mut Bench, mac: [u8; 6], state: u32) {
    t.configure_macs(|macs| {
        macs.insert(MacKey { ifindex: CLIENTS, mac, zero: 0 }, state);
    });
}

fn echo(v6: bool) -> Build {
    Build::icmp(client(v6).0, vip(v6, 0).0, if v6 { 128 } else { 8 }, 0, vec![0, 1, 0, 1, 2, 3, 4, 5])
}

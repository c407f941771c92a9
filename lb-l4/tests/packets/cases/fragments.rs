//! Fragments follow their first one.

use lb_l4::abi::Counter::{Fragment, Malformed, TooBig, Ttl};
use lb_l4::abi::dest_state;

use super::{Case, answer_udp, client, host, server, udp, vip};
use crate::checks;
use crate::harness::bench::Expect::{Answer, Drop, Pass, To};
use crate::harness::net::{BACKENDS, CLIENTS, SMALL};
use crate::harness::world::port;
use crate::model::UDP;
use crate::packet::{Body, Build};

pub const CASES: &[Case] = &[
    ("nat: the first, the others, the last", |t, v6| {
        t.send(&first(v6, port::NAT), To(BACKENDS));
        for (offset, more) in [(64, true), (128, true), (192, false)] {
            let left = t.send(&later(v6, offset, more), To(BACKENDS));
            assert_eq!((left.src().ip(), left.dst().ip()), (client(v6).0, server(v6, 11).0));
            assert_eq!(checks::ttl(&left.0), 62);
        }
    }),
    ("snat: the first and the last", |t, v6| {
        let ours = t.send(&first(v6, port::SNAT), To(BACKENDS)).src().ip();
        assert_eq!(t.send(&later(v6, 64, false), To(BACKENDS)).src().ip(), ours);
    }),
    ("dr: the first and the last", |t, v6| {
        t.send(&first(v6, port::DR), To(BACKENDS));
        let packet = later(v6, 64, false);
        let left = t.send(&packet, To(BACKENDS));
        assert_eq!(left.0[12..], packet.with(|p| p.ttl = 62).frame()[12..]);
    }),
    ("tunnel: the first and the last", |t, v6| {
        t.send(&first(v6, port::TUNNEL), To(BACKENDS));
        let packet = later(v6, 64, false);
        let left = t.send(&packet, To(BACKENDS));
        assert_eq!(left.0[if v6 { 54 } else { 34 }..], packet.with(|p| p.ttl = 62).packet());
    }),
    ("nat: a fragmented answer", |t, v6| {
        t.send(&udp(v6, port::NAT), To(BACKENDS));
        let cut = |fragment| move |p: &mut Build| (p.fragment, p.dont_fragment, p.id) = (Some(fragment), false, 77);
        t.reply(&answer_udp(v6, 11).data(504).with(cut((0, true))), To(CLIENTS));
        let rest = Build::new(server(v6, 11).0, client(v6).0, Body::Raw(17, vec![9; 100])).with(cut((64, false)));
        let left = t.reply(&rest, To(CLIENTS));
        assert_eq!((left.src().ip(), left.dst().ip()), (vip(v6, 0).0, client(v6).0));
    }),
    ("a first fragment of a flow that exists", |t, v6| {
        t.send(&udp(v6, port::NAT), To(BACKENDS));
        t.send(&first(v6, port::NAT), To(BACKENDS));
        t.send(&later(v6, 64, false), To(BACKENDS));
    }),
    ("tcp in fragments", |t, v6| {
        let cut = |p: &mut Build| (p.fragment, p.dont_fragment) = (Some((0, true)), false);
        t.send(&super::syn(v6, port::NAT).data(44).with(cut), To(BACKENDS));
        let rest = Build::new(client(v6).0, vip(v6, 0).0, Body::Raw(6, vec![5; 50]));
        t.send(&rest.with(|p| (p.fragment, p.dont_fragment) = (Some((8, false)), false)), To(BACKENDS));
    }),
    ("a later fragment to the VIP, whose first was not seen: dropped", |t, v6| {
        t.send(&later(v6, 64, false), Drop(Fragment));
    }),
    ("a later fragment elsewhere is not touched", |t, v6| {
        let packet = Build::new(client(v6).0, host(v6, 99), Body::Raw(17, vec![9; 100]));
        t.send(&packet.with(|p| p.fragment = Some((64, false))), Pass);
    }),
    ("another identification is another datagram", |t, v6| {
        t.send(&first(v6, port::NAT), To(BACKENDS));
        t.send(&later(v6, 64, false).with(|p| p.id = 0x4321), Drop(Fragment));
    }),
    ("another protocol is another datagram", |t, v6| {
        t.send(&first(v6, port::NAT), To(BACKENDS));
        t.send(&later(v6, 64, false).with(|p| p.body = Body::Raw(6, vec![9; 100])), Drop(Fragment));
    }),
    ("fragments of other protocols are not touched", |t, v6| {
        for (fragment, proto) in [((0, true), 132), ((64, false), 132), ((64, false), if v6 { 58 } else { 1 })] {
            let packet = Build::new(client(v6).0, vip(v6, 0).0, Body::Raw(proto, vec![9; 100]));
            t.send(&packet.with(|p| (p.fragment, p.dont_fragment) = (Some(fragment), false)), Pass);
        }
    }),
    ("a first fragment to a port of no frontend is not touched, and those that follow are dropped", |t, v6| {
        t.send(&first(v6, 22), Pass);
        t.send(&later(v6, 64, false), Drop(Fragment));
    }),
    ("an atomic fragment is whole", |t, v6| {
        let packet = udp(v6, port::NAT).with(|p| p.fragment = Some((0, false)));
        t.send(&packet, To(BACKENDS));
        t.send(&later(v6, 64, false), Drop(Fragment));
    }),
    ("a first fragment too short for its ports: dropped", |t, v6| {
        let packet = Build::new(client(v6).0, vip(v6, 0).0, Body::Raw(17, vec![0; 7]));
        t.send(&packet.with(|p| (p.fragment, p.dont_fragment) = (Some((0, true)), false)), Drop(Malformed));
    }),
    ("a tiny first fragment of TCP: dropped", |t, v6| {
        let packet = Build::new(client(v6).0, vip(v6, 0).0, Body::Raw(6, vec![0; 16]));
        t.send(&packet.with(|p| (p.fragment, p.dont_fragment) = (Some((0, true)), false)), Drop(Malformed));
    }),
    ("a later fragment overlapping the ports cannot change them", |t, v6| {
        t.send(&first(v6, port::NAT), To(BACKENDS));
        let left = t.send(&later(v6, 1, true), To(BACKENDS));
        let at = if v6 { 62 } else { 34 };
        assert_eq!(left.0[at..at + 100], [9; 100]);
    }),
    ("a later fragment with one hop left is dropped, in IPv6 answered", |t, v6| {
        t.send(&first(v6, port::NAT), To(BACKENDS));
        t.send(&later(v6, 64, false).with(|p| p.ttl = 1), if v6 { Answer } else { Drop(Ttl) });
    }),
    ("a first fragment with one hop left is answered", |t, v6| {
        t.send(&first(v6, port::NAT).with(|p| p.ttl = 1), Answer);
        t.send(&later(v6, 64, false), Drop(Fragment));
    }),
    ("a fragment too big for the next network", |t, v6| {
        t.send(&first(v6, port::DR_SMALL), To(SMALL));
        let packet = later(v6, 64, false).with(|p| p.body = Body::Raw(17, vec![9; 1400]));
        t.send(&packet, if v6 { Answer } else { Drop(TooBig) });
    }),
    ("later fragments of a flow whose backend went down", |t, v6| {
        t.send(&first(v6, port::NAT_REBIND), To(BACKENDS));
        let dest = t.dests(port::NAT_REBIND, v6, UDP)[0];
        t.configure(|config| config.dests[dest].state = dest_state::DOWN);
        t.send(&later(v6, 64, false), Drop(Fragment));
        t.send(&first(v6, port::NAT_REBIND), To(BACKENDS));
        assert_eq!(t.send(&later(v6, 64, false), To(BACKENDS)).dst().ip(), server(v6, 12).0);
    }),
    ("later fragments of a draining backend go on", |t, v6| {
        t.send(&first(v6, port::NAT_REBIND), To(BACKENDS));
        let dest = t.dests(port::NAT_REBIND, v6, UDP)[0];
        t.configure(|config| config.dests[dest].state = dest_state::DRAIN);
        assert_eq!(t.send(&later(v6, 64, false), To(BACKENDS)).dst().ip(), server(v6, 11).0);
    }),
    ("behind extension headers", |t, v6| {
        let extended = |p: &mut Build| p.extensions = vec![(60, vec![1, 4, 0, 0, 0, 0])];
        t.send(&first(v6, port::NAT).with(extended), To(BACKENDS));
        t.send(&later(v6, 64, false).with(extended), To(BACKENDS));
    }),
];

fn first(v6: bool, port: u16) -> Build {
    udp(v6, port).data(504).with(|p| {
        p.fragment = Some((0, true));
        p.dont_fragment = false;
    })
}

/// From the usual client to the VIP.
fn later(v6: bool, offset: u16, more: bool) -> Build {
    let length = if more { 512 } else { 100 };
    Build::new(client(v6).0, vip(v6, 0).0, Body::Raw(17, vec![9; length])).with(|p| {
        p.fragment = Some((offset, more));
        p.dont_fragment = false;
    })
}

//! The client's address is replaced as well.

use std::collections::HashSet;
use std::net::SocketAddr;

use lb_l4::abi::Counter::SnatExhausted;

use super::{Case, DATA, SYN_ACK, client, host, server, syn, udp, vip};
use crate::harness::bench::Bench;
use crate::harness::bench::Expect::{Drop, Pass, To};
use crate::harness::net::{self, BACKENDS, CLIENTS, SMALL};
use crate::harness::world::{self, SNAT_PORTS, port};
use crate::model::flags;
use crate::packet::Build;

/// Two addresses of four ports each.
const ROOM: u16 = 8;

pub const CASES: &[Case] = &[
    ("the backend sees an address and a port of ours", |t, v6| {
        let left = t.send(&syn(v6, port::SNAT), To(BACKENDS));
        assert_eq!(left.dst(), server(v6, 11).into());
        assert!([0, 1].map(|n| world::snat(v6, n)).contains(&left.src().ip()), "{}", left.src());
        assert!((SNAT_PORTS.0..=SNAT_PORTS.1).contains(&left.src().port()), "{}", left.src());
    }),
    ("tcp: there and back", |t, v6| {
        let ours = t.send(&syn(v6, port::SNAT), To(BACKENDS)).src();
        for flags in [SYN_ACK, flags::ACK, DATA] {
            let back = Build::tcp(server(v6, 11), (ours.ip(), ours.port()), flags).data(100);
            let left = t.reply(&back, To(CLIENTS));
            assert_eq!((left.src(), left.dst()), (vip(v6, port::SNAT).into(), client(v6).into()));
            let again = t.send(&super::tcp(v6, port::SNAT, DATA).data(33), To(BACKENDS));
            assert_eq!(again.src(), ours);
        }
    }),
    ("udp: there and back, with and without a checksum", |t, v6| {
        for packet in [udp(v6, port::SNAT), udp(v6, port::SNAT).without_checksum()] {
            let ours = t.send(&packet, To(BACKENDS)).src();
            let left = t.reply(&Build::udp(server(v6, 11), (ours.ip(), ours.port())), To(CLIENTS));
            assert_eq!((left.src(), left.dst()), (vip(v6, port::SNAT).into(), client(v6).into()));
        }
    }),
    ("every port is used before there is none", |t, v6| {
        let used: HashSet<SocketAddr> = (1..=ROOM).map(|sport| open(t, v6, sport)).collect();
        assert_eq!(used.len(), usize::from(ROOM));
        t.send(&syn(v6, port::SNAT).with(|p| p.set_sport(99)), Drop(SnatExhausted));
        t.send(&syn(v6, port::SNAT).with(|p| p.set_sport(1)), To(BACKENDS));
    }),
    ("with none left, other frontends go on", |t, v6| {
        fill(t, v6);
        t.send(&syn(v6, port::SNAT).with(|p| p.set_sport(99)), Drop(SnatExhausted));
        t.send(&udp(v6, port::SNAT), To(BACKENDS));
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        t.send(&syn(!v6, port::SNAT), To(BACKENDS));
    }),
    ("a port serves as many backends as there are", |t, v6| {
        let used: Vec<(SocketAddr, SocketAddr)> = (1..=2 * ROOM)
            .map(|sport| {
                let left = t.send(&syn(v6, port::SNAT_LEAST).with(|p| p.set_sport(sport)), To(BACKENDS));
                (left.src(), left.dst())
            })
            .collect();
        let ours: HashSet<SocketAddr> = used.iter().map(|(src, _)| *src).collect();
        assert_eq!((ours.len(), used.len()), (usize::from(ROOM), 2 * usize::from(ROOM)));
    }),
    ("a port is free again when its flow has expired", |t, v6| {
        fill(t, v6);
        t.advance(world::SYN * 2);
        for sport in 101..=100 + ROOM {
            open(t, v6, sport);
        }
        t.send(&syn(v6, port::SNAT).with(|p| p.set_sport(99)), Drop(SnatExhausted));
    }),
    ("a port used again by the client after RST gets a port anew", |t, v6| {
        fill(t, v6);
        t.send(&super::tcp(v6, port::SNAT, flags::RST).with(|p| p.set_sport(3)), To(BACKENDS));
        t.send(&syn(v6, port::SNAT).with(|p| p.set_sport(3)), To(BACKENDS));
    }),
    ("what goes to our address without a flow is not touched", |t, v6| {
        t.reply(&Build::tcp(server(v6, 11), (world::snat(v6, 0), 20000), SYN_ACK), Pass);
        t.reply(&Build::udp(server(v6, 11), (world::snat(v6, 1), 20001)), Pass);
    }),
    ("auto: each backend sees the address of its own network", |t, v6| {
        for (net, sport) in [(2, 1), (3, 2), (2, 3), (3, 4)] {
            let packet = syn(v6, port::SNAT_AUTO).with(|p| p.set_sport(sport));
            let left = t.send(&packet, To(if net == 2 { BACKENDS } else { SMALL }));
            assert_eq!((left.src().ip(), left.dst().ip()), (world::own(v6, net), net::backend(v6, net, 11)));
            let back = Build::tcp((left.dst().ip(), left.dst().port()), (left.src().ip(), left.src().port()), SYN_ACK);
            let back = t.reply(&back, To(CLIENTS));
            assert_eq!((back.src(), back.dst()), (vip(v6, port::SNAT_AUTO).into(), (client(v6).0, sport).into()));
        }
    }),
    ("auto: each of these addresses has its own ports", |t, v6| {
        let mut packet = (1..).map(|sport| syn(v6, port::SNAT_AUTO).with(|p| p.set_sport(sport)));
        for n in 0..ROOM {
            t.send(&packet.next().expect("a port"), To(if n % 2 == 0 { BACKENDS } else { SMALL }));
        }
        t.send(&packet.next().expect("a port"), Drop(SnatExhausted));
    }),
    ("auto: without an address towards the backend, nothing goes there", |t, v6| {
        t.send(&syn(v6, port::SNAT_NONE), Drop(SnatExhausted));
        t.send(&udp(v6, port::SNAT_NONE), Drop(SnatExhausted));
    }),
    ("many clients, one backend, no mixing up", |t, v6| {
        let mut ours = Vec::new();
        for n in 1..=ROOM {
            let packet = Build::tcp((host(v6, n), 1000), vip(v6, port::SNAT), flags::SYN);
            ours.push((n, t.send(&packet, To(BACKENDS)).src()));
        }
        for (n, ours) in ours {
            let back = Build::tcp(server(v6, 11), (ours.ip(), ours.port()), SYN_ACK);
            assert_eq!(t.reply(&back, To(CLIENTS)).dst(), (host(v6, n), 1000).into());
        }
    }),
];

fn fill(t: &mut Bench, v6: bool) {
    for sport in 1..=ROOM {
        open(t, v6, sport);
    }
}

fn open(t: &mut Bench, v6: bool, sport: u16) -> SocketAddr {
    t.send(&syn(v6, port::SNAT).with(|p| p.set_sport(sport)), To(BACKENDS)).src()
}

//! Next hops: routes, neighbours, MTU, VLANs, interfaces.

use std::net::IpAddr;

use lb_l4::abi::Counter::{Egress, NoNeighbour, NoRoute, PassedUp, TooBig};
use lb_l4::abi::{Addr, Hop, Port};

use super::{Case, DATA, SYN_ACK, answer, client, host, syn, tcp, udp, vip};
use crate::checks;
use crate::harness::bench::Bench;
use crate::harness::bench::Expect::{Answer, Drop, Pass, To, Up};
use crate::harness::net::{self, BACKENDS, CLIENTS, ELSEWHERE, SMALL, TAG, TAGGED};
use crate::harness::world::port;
use crate::model::{Hook, Route, UDP, flags};
use crate::packet::{Build, OUR_MAC, ROUTER_MAC};

pub const CASES: &[Case] = &[
    ("nat: no neighbour yet, so the kernel forwards and resolves", |t, v6| {
        let left = t.send(&syn(v6, port::NAT_SILENT), Up);
        assert_eq!(left.dst().ip(), net::backend(v6, 2, net::SILENT));
        assert_eq!(checks::ttl(&left.0), 63, "the kernel takes its own off");
        assert_eq!(left.0[..12], [[2, 0, 0, 0, 1, 1], [2, 0, 0, 0, 1, 254]].concat());
    }),
    ("dr and tunnel: no neighbour yet, dropped", |t, v6| {
        t.send(&syn(v6, port::DR_SILENT), Drop(NoNeighbour));
        t.send(&syn(v6, port::TUNNEL_SILENT), Drop(NoNeighbour));
    }),
    ("a neighbour that is lost for a while is still sent to", |t, v6| {
        t.send(&udp(v6, port::DR), To(BACKENDS));
        t.send(&udp(v6, port::NAT), To(BACKENDS));
        t.configure(|config| {
            config.route = |_| Route::NoNeighbour;
            config.settings.epoch += 1;
        });
        t.without_neighbour(v6, 11, |t| {
            t.send(&udp(v6, port::DR), To(BACKENDS));
            t.send(&udp(v6, port::NAT), To(BACKENDS));
        });
    }),
    ("a route that is gone is not used any more", |t, v6| {
        t.send(&udp(v6, port::DR), To(BACKENDS));
        let dest = t.dests(port::DR, v6, UDP)[0];
        t.configure(|config| {
            config.dests[dest].addr = net::backend(v6, 9, 11).into();
            config.settings.epoch += 1;
        });
        t.send(&udp(v6, port::DR), Drop(NoRoute));
    }),
    ("a route that comes back is used", |t, v6| {
        let dest = t.dests(port::DR_NOWHERE, v6, UDP)[0];
        t.send(&udp(v6, port::DR_NOWHERE), Drop(NoRoute));
        t.configure(|config| config.dests[dest].addr = net::backend(v6, 2, 12).into());
        t.send(&udp(v6, port::DR_NOWHERE), To(BACKENDS));
    }),
    ("no route: dropped in every mode", |t, v6| {
        t.send(&udp(v6, port::NAT_NOWHERE), Drop(NoRoute));
        t.send(&udp(v6, port::DR_NOWHERE), Drop(NoRoute));
    }),
    ("nat to an address of this node: the kernel delivers", |t, v6| {
        let left = t.send(&udp(v6, port::NAT_LOCAL), Up);
        assert_eq!(left.dst().ip(), net::backend(v6, 2, 1));
    }),
    ("dr to an address of this node: dropped", |t, v6| {
        t.send(&udp(v6, port::DR_LOCAL), Drop(NoRoute));
    }),
    ("nat by an interface that XDP may not send to: the kernel forwards", |t, v6| {
        let expect = if t.hook() == Hook::Xdp { Up } else { To(ELSEWHERE) };
        let left = t.send(&udp(v6, port::NAT_ELSEWHERE), expect);
        assert_eq!(left.dst().ip(), net::backend(v6, 5, 11));
    }),
    ("dr by an interface that XDP may not send to: dropped", |t, v6| {
        let expect = if t.hook() == Hook::Xdp { Drop(Egress) } else { To(ELSEWHERE) };
        t.send(&udp(v6, port::DR_ELSEWHERE), expect);
    }),
    ("one arm: back by the interface that it came from", |t, v6| {
        for port in [port::NAT_ONE_ARM, port::DR_ONE_ARM, port::TUNNEL_ONE_ARM] {
            let left = t.send(&udp(v6, port), To(CLIENTS));
            assert_eq!(left.0[..6], [2, 0, 0, 0, 1, 11]);
        }
    }),
    ("one arm: tags are kept", |t, v6| {
        for port in [port::NAT_ONE_ARM, port::DR_ONE_ARM] {
            for _ in 0..2 {
                let left = t.send(&udp(v6, port).with(|p| p.tags = vec![(0x88A8, 7), (0x8100, 8)]), To(CLIENTS));
                assert_eq!(checks::tags(&left.0), [7, 8]);
            }
        }
    }),
    ("a hop in a VLAN: XDP tags, tc leaves that to the interface", |t, v6| {
        for port in [port::NAT_TAGGED, port::DR_TAGGED] {
            let left = t.send(&udp(v6, port), To(tagged(t)));
            assert_eq!(checks::tags(&left.0), tags(t));
            assert_eq!(left.0[..6], [2, 0, 0, 0, 4, 11]);
        }
    }),
    ("a hop in a VLAN: a tag that was there is replaced", |t, v6| {
        for tags_before in [vec![(0x8100, 7)], vec![(0x88A8, 7), (0x8100, 8)]] {
            let packet = udp(v6, port::DR_TAGGED).with(|p| p.tags = tags_before);
            assert_eq!(checks::tags(&t.send(&packet, To(tagged(t))).0), tags(t));
        }
    }),
    ("an established flow in a VLAN is tagged as well", |t, v6| {
        let packet = |flags| tcp(v6, port::DR_TAGGED, flags);
        t.send(&packet(flags::SYN), To(tagged(t)));
        for _ in 0..3 {
            assert_eq!(checks::tags(&t.send(&packet(flags::ACK), To(tagged(t))).0), tags(t));
        }
    }),
    ("exactly the MTU goes through", |t, v6| {
        for port in [port::NAT_SMALL, port::DR_SMALL] {
            t.send(&sized(v6, port, 1400), To(SMALL));
        }
        t.send(&sized(v6, port::TUNNEL_SMALL, 1400 - outer(v6)), To(SMALL));
    }),
    ("a byte more is answered: too big", |t, v6| {
        for (port, room) in [(port::NAT_SMALL, 1400), (port::DR_SMALL, 1400), (port::TUNNEL_SMALL, 1400 - outer(v6))] {
            let left = t.send(&sized(v6, port, room + 1), Answer);
            assert_eq!((left.src().ip(), left.dst().ip()), (vip(v6, port).0, client(v6).0));
            let told = if v6 { &left.0[58..62] } else { &left.0[38..42] };
            assert_eq!(told, (room as u32).to_be_bytes());
        }
        assert_eq!(t.counter(TooBig), 3);
    }),
    ("too big, and may be fragmented: nat leaves it to the kernel, others drop", |t, v6| {
        for (port, expect) in
            [(port::NAT_SMALL, Up), (port::DR_SMALL, Drop(TooBig)), (port::TUNNEL_SMALL, Drop(TooBig))]
        {
            let packet = sized(v6, port, 1450).with(|p| p.dont_fragment = false);
            t.send(&packet, if v6 { Answer } else { expect });
        }
    }),
    ("too big on an established flow is answered", |t, v6| {
        t.send(&syn(v6, port::DR_SMALL), To(SMALL));
        t.send(&tcp(v6, port::DR_SMALL, DATA).data(1300), To(SMALL));
        t.send(&tcp(v6, port::DR_SMALL, DATA).data(1400), Answer);
        t.send(&tcp(v6, port::DR_SMALL, DATA).data(1300), To(SMALL));
    }),
    ("a reply that is too big is answered to the backend", |t, v6| {
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        let left = t.reply(&answer(v6, 11, DATA).data(1500), Answer);
        assert_eq!(left.dst().ip(), super::backend(v6, 11));
    }),
    ("a reply that is too big and may be fragmented is answered too: its sender can do it", |t, v6| {
        t.send(&udp(v6, port::NAT), To(BACKENDS));
        let reply = Build::udp(super::server(v6, 11), client(v6)).data(1480).with(|p| p.dont_fragment = false);
        let left = t.reply(&reply, Answer);
        assert_eq!(left.dst().ip(), super::backend(v6, 11));
        assert_eq!(t.counter(TooBig), 1);
    }),
    ("a jumbo packet is answered, wherever its end is", |t, v6| {
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        for &length in jumbo(t) {
            let left = t.send(&tcp(v6, port::NAT, DATA).data(length), Answer);
            assert!(left.0.len() < 600);
        }
    }),
    ("a jumbo packet is forwarded, wherever its end is", |t, v6| {
        for port in [port::NAT_TAGGED, port::DR_TAGGED] {
            t.send(&syn(v6, port), To(tagged(t)));
            for &length in jumbo(t) {
                t.send(&tcp(v6, port, DATA).data(length), To(tagged(t)));
                t.send(&udp(v6, port).data(length), To(tagged(t)));
            }
        }
    }),
    // Not tunnel: what BPF_PROG_TEST_RUN makes has no type of GSO, and the helper wants to know that it is TCP.
    ("tc: what will be cut into segments fits if they do", |t, v6| {
        let room = 1400 - outer(v6) as u32 - 32;
        for port in [port::NAT_SMALL, port::DR_SMALL] {
            t.send(&syn(v6, port), To(SMALL));
            let stamped = tcp(v6, port, DATA).data(3000).tcp_options(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
            if t.hook() == Hook::Tc {
                t.cut_into(room);
                t.send(&stamped, To(SMALL));
                t.cut_into(room + 1);
                t.send(&stamped, Answer);
                t.cut_into(0);
            }
        }
    }),
    ("tc: datagrams that will be cut fit if they do", |t, v6| {
        t.send(&udp(v6, port::NAT_SMALL), To(SMALL));
        if t.hook() == Hook::Tc {
            t.cut_into(1400 - outer(v6) as u32 - 8);
            t.send(&udp(v6, port::NAT_SMALL).data(3000), To(SMALL));
            t.cut_into(1400 - outer(v6) as u32 - 7);
            t.send(&udp(v6, port::NAT_SMALL).data(3000), Answer);
            t.cut_into(0);
        }
    }),
    ("a client without a route back: the reply is dropped", |t, v6| {
        let lost = (if v6 { "fd09::5" } else { "10.9.0.5" }.parse().expect("an address"), 5);
        t.send(&Build::tcp(lost, vip(v6, port::NAT), flags::SYN), To(BACKENDS));
        t.reply(&Build::tcp(super::server(v6, 11), lost, SYN_ACK), Drop(NoRoute));
    }),
    ("a client without a neighbour entry is answered by the way it came", |t, v6| {
        let silent = silent_client(v6);
        t.send(&Build::tcp(silent, vip(v6, port::NAT), flags::SYN), To(BACKENDS));
        for packet in [SYN_ACK, DATA, DATA] {
            let left = t.reply(&Build::tcp(super::server(v6, 11), silent, packet), To(CLIENTS));
            assert_eq!((left.src(), left.dst()), (vip(v6, port::NAT).into(), silent.into()));
            assert_eq!(left.0[..12], [ROUTER_MAC, OUR_MAC].concat());
        }
        assert_eq!(t.counter(PassedUp), 0);
        assert!(t.model.state.asked.contains(&(CLIENTS, silent.0.into())), "the kernel is asked to resolve it");
    }),
    ("a client without a neighbour entry: what is too big for its link is answered", |t, v6| {
        let silent = silent_client(v6);
        let reply = |length| Build::udp(super::server(v6, 11), silent).data(length - outer(v6) - 8);
        t.send(&Build::udp(silent, vip(v6, port::NAT)), To(BACKENDS));
        t.reply(&reply(1500), To(CLIENTS));
        t.reply(&reply(1501), Answer);
    }),
    ("a client that is known at last is answered as the kernel says", |t, v6| {
        let silent = silent_client(v6);
        t.send(&Build::tcp(silent, vip(v6, port::NAT), flags::SYN), To(BACKENDS));
        t.reply(&Build::tcp(super::server(v6, 11), silent, SYN_ACK), To(CLIENTS));
        t.configure(|config| {
            config.route = |addr| if is_silent(addr) { found(net::SILENT) } else { net::route(addr) };
            config.settings.epoch += 1;
        });
        t.with_neighbour(v6, net::SILENT, |t| {
            let left = t.reply(&Build::tcp(super::server(v6, 11), silent, DATA), To(CLIENTS));
            assert_eq!(left.0[..6], [2, 0, 0, 0, 1, net::SILENT]);
        });
    }),
    ("a client whose neighbour entry is lost is answered by the hop of before", |t, v6| {
        let packet = |flags| Build::tcp(super::server(v6, 11), near_client(v6), flags);
        t.send(&Build::tcp(near_client(v6), vip(v6, port::NAT), flags::SYN), To(BACKENDS));
        t.reply(&packet(SYN_ACK), To(CLIENTS));
        t.configure(|config| {
            config.route = |_| Route::NoNeighbour;
            config.settings.epoch += 1;
        });
        t.without_neighbour_of(v6, 1, 12, |t| {
            for _ in 0..2 {
                assert_eq!(t.reply(&packet(DATA), To(CLIENTS)).0[..6], [2, 0, 0, 0, 1, 12]);
            }
        });
    }),
    ("a client on a network of ours is looked after, one behind a router is not", |t, v6| {
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        t.reply(&answer(v6, 11, SYN_ACK), To(CLIENTS));
        assert!(t.model.state.asked.is_empty(), "the control plane looks after routers");
        t.send(&Build::tcp(near_client(v6), vip(v6, port::NAT), flags::SYN), To(BACKENDS));
        t.reply(&Build::tcp(super::server(v6, 11), near_client(v6), SYN_ACK), To(CLIENTS));
        assert_eq!(t.model.state.asked.len(), 1);
    }),
    ("a client that came by a VLAN is answered by it: XDP tags, and at tc the kernel answers", |t, v6| {
        let silent = silent_client(v6);
        for (tags, back) in [
            (vec![(0x8100, 7)], Some(vec![7])),
            (vec![(0x8100, 0xE007)], Some(vec![7])),
            (vec![(0x88A8, 7)], None),
            (vec![(0x88A8, 7), (0x8100, 8)], None),
        ] {
            let rst = |ends: ((IpAddr, u16), (IpAddr, u16))| Build::tcp(ends.0, ends.1, super::RST_ACK);
            t.send(&Build::tcp(silent, vip(v6, port::NAT), flags::SYN).with(|p| p.tags = tags.clone()), To(BACKENDS));
            let back = back.filter(|_| t.hook() == Hook::Xdp);
            let left =
                t.reply(&Build::tcp(super::server(v6, 11), silent, SYN_ACK), back.as_ref().map_or(Up, |_| To(CLIENTS)));
            assert_eq!(checks::tags(&left.0), back.unwrap_or_default());
            t.send(&rst((silent, vip(v6, port::NAT))).with(|p| p.tags = tags), To(BACKENDS));
        }
    }),
    ("the way back never leads to a group, nor to nobody", |t, v6| {
        let silent = silent_client(v6);
        for (port, source) in (50..).zip([[0; 6], [0xFF; 6], [0x33, 0x33, 0, 0, 0, 1]]) {
            let client = (silent.0, port);
            let mut frame = Build::tcp(client, vip(v6, port::NAT), flags::SYN).frame();
            frame[6..12].copy_from_slice(&source);
            t.frame(CLIENTS, &frame, To(BACKENDS));
            t.reply(&Build::tcp(super::server(v6, 11), client, SYN_ACK), Up);
        }
    }),
    ("the way back by an interface that XDP may not send to: the kernel takes the reply", |t, v6| {
        let silent = silent_client(v6);
        t.frame(ELSEWHERE, &Build::tcp(silent, vip(v6, port::NAT), flags::SYN).frame(), To(BACKENDS));
        let expect = if t.hook() == Hook::Xdp { Up } else { To(ELSEWHERE) };
        t.reply(&Build::tcp(super::server(v6, 11), silent, SYN_ACK), expect);
    }),
    ("what is not resolved is asked for", |t, v6| {
        t.send(&syn(v6, port::DR_SILENT), Drop(NoNeighbour));
        t.send(&syn(v6, port::NAT_SILENT), Up);
        assert_eq!(t.model.state.asked, [(BACKENDS, net::backend(v6, 2, net::SILENT).into())].into());
    }),
    ("a reply by an interface other than the backends' is the same flow's", |t, v6| {
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        t.frame(SMALL, &answer(v6, 11, SYN_ACK).frame(), To(CLIENTS));
        t.frame(CLIENTS, &answer(v6, 11, DATA).frame(), To(CLIENTS));
    }),
    ("packets between others are not touched", |t, v6| {
        t.reply(&Build::tcp((super::backend(v6, 11), 22), (host(v6, 9), 22), SYN_ACK), Pass);
        t.send(&Build::udp((host(v6, 9), 53), (super::backend(v6, 11), 53)), Pass);
    }),
];

/// On the network of the router towards the clients, and nobody has asked for its MAC address.
fn silent_client(v6: bool) -> (IpAddr, u16) {
    (net::backend(v6, 1, net::SILENT), 5)
}

fn near_client(v6: bool) -> (IpAddr, u16) {
    (net::backend(v6, 1, 12), 5)
}

fn is_silent(addr: Addr) -> bool {
    [false, true].map(|v6| Addr::from(silent_client(v6).0)).contains(&addr)
}

/// On that network.
fn found(host: u8) -> Route {
    let (dmac, smac) = ([2, 0, 0, 0, 1, host], OUR_MAC);
    Route::Via(Hop { ifindex: CLIENTS, dmac, smac, vlan: Port::default(), mtu: 1500 })
}

fn outer(v6: bool) -> usize {
    if v6 { 40 } else { 20 }
}

/// A datagram whose IP packet has that length.
fn sized(v6: bool, port: u16, length: usize) -> Build {
    udp(v6, port).data(length - outer(v6) - 8)
}

/// What BPF_PROG_TEST_RUN accepts: for XDP, frames of several pages.
fn jumbo(t: &Bench) -> &'static [usize] {
    if t.hook() == Hook::Xdp { &[3000, 5000, 8000] } else { &[1600, 3000] }
}

fn tagged(t: &Bench) -> u32 {
    if t.hook() == Hook::Xdp { BACKENDS } else { TAGGED }
}

fn tags(t: &Bench) -> Vec<u16> {
    if t.hook() == Hook::Xdp { vec![TAG] } else { Vec::new() }
}

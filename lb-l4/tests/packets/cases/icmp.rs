//! ICMP errors: whoever sent the packet that they quote gets them, as if it had come through no balancer.

use std::net::IpAddr;

use lb_l4::abi::Counter::{IcmpForwarded, IcmpSent, NoNeighbour, PassedUp, TooBig, Ttl};

use super::{Case, DATA, SYN_ACK, answer, as_ipv6, backend, client, host, server, syn, tcp, udp, vip};
use crate::checks;
use crate::harness::bench::Bench;
use crate::harness::bench::Expect::{Answer, Drop, Pass, To, Up};
use crate::harness::net::{self, BACKENDS, CLIENTS};
use crate::harness::world::{self, port};
use crate::model::{TCP, flags};
use crate::packet::{Body, Build};

pub const CASES: &[Case] = &[
    ("nat: an error about what the VIP sent goes to the backend", |t, v6| {
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        t.reply(&answer(v6, 11, SYN_ACK), To(CLIENTS));
        let about = Build::tcp(vip(v6, port::NAT), client(v6), DATA).data(40);
        let left = t.send(&too_big(v6, router(v6), vip(v6, 0).0, 1300, &about), To(BACKENDS));
        assert_eq!((left.src().ip(), left.dst().ip()), (router(v6), backend(v6, 11)));
        let (src, dst) = checks::quoted_ends(&left.0);
        assert_eq!((src, dst), (server(v6, 11).into(), client(v6).into()));
        assert_eq!(t.counter(IcmpForwarded), 1);
    }),
    ("snat: an error about what the VIP sent goes to the backend", |t, v6| {
        let ours = t.send(&syn(v6, port::SNAT), To(BACKENDS)).src();
        let about = Build::tcp(vip(v6, port::SNAT), client(v6), DATA).data(40);
        let left = t.send(&too_big(v6, router(v6), vip(v6, 0).0, 1300, &about), To(BACKENDS));
        assert_eq!((left.src().ip(), left.dst().ip()), (router(v6), backend(v6, 11)));
        assert_eq!(checks::quoted_ends(&left.0), (server(v6, 11).into(), ours));
    }),
    ("dr: an error about what the VIP sent goes to the backend as it is", |t, v6| {
        t.send(&syn(v6, port::DR), To(BACKENDS));
        let about = Build::tcp(vip(v6, port::DR), client(v6), DATA).data(40);
        let error = too_big(v6, router(v6), vip(v6, 0).0, 1300, &about);
        let left = t.send(&error, To(BACKENDS));
        assert_eq!(left.0[12..], error.with(|p| p.ttl = 62).frame()[12..]);
    }),
    ("tunnel: an error about what the VIP sent goes to the backend in the tunnel", |t, v6| {
        t.send(&syn(v6, port::TUNNEL), To(BACKENDS));
        let about = Build::tcp(vip(v6, port::TUNNEL), client(v6), DATA).data(40);
        let error = too_big(v6, router(v6), vip(v6, 0).0, 1300, &about);
        let left = t.send(&error, To(BACKENDS));
        assert_eq!(left.0[if v6 { 54 } else { 34 }..], error.with(|p| p.ttl = 62).packet());
    }),
    ("nat: an error about what we sent to the backend goes to the client", |t, v6| {
        let about = Build::tcp(client(v6), server(v6, 11), flags::SYN).with(|p| p.ttl = 60);
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        let left = t.reply(&unreachable(v6, backend(v6, 11), client(v6).0, &about), To(CLIENTS));
        assert_eq!((left.src().ip(), left.dst().ip()), (vip(v6, 0).0, client(v6).0));
        assert_eq!(checks::quoted_ends(&left.0), (client(v6).into(), vip(v6, port::NAT).into()));
    }),
    ("nat: from a router on the way to the backend", |t, v6| {
        t.send(&udp(v6, port::NAT).data(1000), To(BACKENDS));
        let about = Build::udp(client(v6), server(v6, 11)).data(1000);
        let left = t.reply(&too_big(v6, backend(v6, 254), client(v6).0, 1300, &about), To(CLIENTS));
        assert_eq!((left.src().ip(), left.dst().ip()), (vip(v6, 0).0, client(v6).0));
        assert_eq!(checks::quoted_ends(&left.0), (client(v6).into(), vip(v6, port::NAT).into()));
    }),
    ("snat: an error about what we sent to the backend goes to the client", |t, v6| {
        let ours = t.send(&udp(v6, port::SNAT), To(BACKENDS)).src();
        let about = Build::udp((ours.ip(), ours.port()), server(v6, 11));
        let left = t.reply(&unreachable(v6, backend(v6, 11), ours.ip(), &about), To(CLIENTS));
        assert_eq!((left.src().ip(), left.dst().ip()), (vip(v6, 0).0, client(v6).0));
        assert_eq!(checks::quoted_ends(&left.0), (client(v6).into(), vip(v6, port::SNAT).into()));
    }),
    ("every kind of error", |t, v6| {
        t.send(&udp(v6, port::NAT), To(BACKENDS));
        let about = Build::udp(vip(v6, port::NAT), client(v6));
        let kinds: &[(u8, u8)] = if v6 {
            &[(1, 0), (1, 4), (2, 0), (3, 0), (4, 1)]
        } else {
            &[(3, 0), (3, 1), (3, 3), (3, 13), (11, 0), (12, 0)]
        };
        for (kind, code) in kinds {
            let error = Build::icmp(host(v6, 3), vip(v6, 0).0, *kind, *code, quote([0; 4], &about));
            t.send(&error, To(BACKENDS));
        }
    }),
    ("what is no error is not touched", |t, v6| {
        t.send(&udp(v6, port::NAT), To(BACKENDS));
        let about = Build::udp(vip(v6, port::NAT), client(v6));
        for kind in if v6 { [5, 100, 137] } else { [4, 5, 13] } {
            t.send(&Build::icmp(host(v6, 3), vip(v6, 0).0, kind, 0, quote([0; 4], &about)), Pass);
        }
    }),
    ("with eight bytes of transport, the least there is", |t, v6| {
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        let about = Build::tcp(vip(v6, port::NAT), client(v6), DATA).data(40);
        let mut rest = quote([0; 4], &about);
        rest.truncate(4 + if v6 { 40 } else { 20 } + 8);
        let left = t.send(&Build::icmp(router(v6), vip(v6, 0).0, unreachable_kind(v6), 0, rest.clone()), To(BACKENDS));
        assert_eq!(left.dst().ip(), backend(v6, 11));
        rest.pop();
        t.send(&Build::icmp(router(v6), vip(v6, 0).0, unreachable_kind(v6), 0, rest), Pass);
    }),
    ("what stands behind the packet is not quoted", |t, v6| {
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        let about = Build::tcp(vip(v6, port::NAT), client(v6), DATA);
        let rest = quote([0; 4], &about);
        let (short, padding) = rest.split_at(4 + if v6 { 40 } else { 20 } + 4);
        let mut frame = Build::icmp(router(v6), vip(v6, 0).0, unreachable_kind(v6), 0, short.to_vec()).frame();
        frame.extend(padding);
        t.frame(CLIENTS, &frame, Pass);
    }),
    ("a quoted packet with options", |t, v6| {
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        let about = Build::tcp(vip(v6, port::NAT), client(v6), DATA).with(|p| p.options = vec![7, 7, 4, 0, 0, 0, 0, 0]);
        let left = t.send(&too_big(v6, router(v6), vip(v6, 0).0, 1300, &about), To(BACKENDS));
        assert_eq!(left.dst().ip(), backend(v6, 11));
    }),
    ("a quoted packet with extension headers", |t, v6| {
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        let about = Build::tcp(vip(v6, port::NAT), client(v6), DATA)
            .with(|p| p.extensions = vec![(0, vec![1, 4, 0, 0, 0, 0]), (60, vec![1, 4, 0, 0, 0, 0])]);
        let left = t.send(&too_big(v6, router(v6), vip(v6, 0).0, 1300, &about), To(BACKENDS));
        assert_eq!(left.dst().ip(), backend(v6, 11));
    }),
    ("a quoted first fragment", |t, v6| {
        t.send(&udp(v6, port::NAT), To(BACKENDS));
        let about = Build::udp(vip(v6, port::NAT), client(v6)).data(504);
        let about = about.with(|p| (p.fragment, p.dont_fragment) = (Some((0, true)), false));
        let left = t.send(&too_big(v6, router(v6), vip(v6, 0).0, 1300, &about), To(BACKENDS));
        assert_eq!(left.dst().ip(), backend(v6, 11));
    }),
    ("a quoted later fragment is not touched", |t, v6| {
        t.send(&udp(v6, port::NAT), To(BACKENDS));
        let about = Build::new(vip(v6, 0).0, client(v6).0, Body::Raw(17, vec![0; 100]));
        let about = about.with(|p| p.fragment = Some((64, false)));
        t.send(&too_big(v6, router(v6), vip(v6, 0).0, 1300, &about), Pass);
    }),
    ("about a flow that is not there: not touched", |t, v6| {
        let about = Build::tcp(vip(v6, port::NAT), client(v6), DATA);
        t.send(&too_big(v6, router(v6), vip(v6, 0).0, 1300, &about), Pass);
    }),
    ("about a flow that has expired: not touched", |t, v6| {
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        t.advance(world::SYN * 2);
        let about = Build::tcp(vip(v6, port::NAT), client(v6), DATA);
        t.send(&too_big(v6, router(v6), vip(v6, 0).0, 1300, &about), Pass);
    }),
    ("about another protocol, or another version: not touched", |t, v6| {
        t.send(&udp(v6, port::NAT), To(BACKENDS));
        let about = Build::new(vip(v6, 0).0, client(v6).0, Body::Raw(132, vec![0; 40]));
        t.send(&too_big(v6, router(v6), vip(v6, 0).0, 1300, &about), Pass);
        let mut rest = quote([0; 4], &Build::udp(vip(v6, port::NAT), client(v6)));
        rest[4] ^= 0x20;
        t.send(&Build::icmp(router(v6), vip(v6, 0).0, unreachable_kind(v6), 0, rest), Pass);
    }),
    ("an error to somebody who did not send the packet is not touched", |t, v6| {
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        let about = Build::tcp(vip(v6, port::NAT), client(v6), DATA);
        t.send(&too_big(v6, router(v6), host(v6, 99), 1300, &about), Pass);
        let about = Build::tcp(client(v6), server(v6, 11), flags::SYN);
        t.reply(&unreachable(v6, backend(v6, 11), host(v6, 99), &about), Pass);
    }),
    ("an error does not change a flow", |t, v6| {
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        let about = Build::tcp(vip(v6, port::NAT), client(v6), DATA);
        t.advance(world::SYN / 2);
        let before = t.model.state.flows.clone();
        t.send(&unreachable(v6, router(v6), vip(v6, 0).0, &about), To(BACKENDS));
        assert!(before == t.model.state.flows);
    }),
    ("an error with one hop left is dropped without an answer", |t, v6| {
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        let about = Build::tcp(vip(v6, port::NAT), client(v6), DATA);
        t.send(&too_big(v6, router(v6), vip(v6, 0).0, 1300, &about).with(|p| p.ttl = 1), Drop(Ttl));
    }),
    ("an error that quotes IPv6 whose addresses would pass for IPv4 is not touched", |t, _| {
        t.send(&syn(false, port::TUNNEL), To(BACKENDS));
        t.send(&syn(true, port::NAT), To(BACKENDS));
        let client6 = as_ipv6(client(false));
        let about = Build::tcp(vip(true, port::NAT), client6, DATA);
        t.send(&too_big(true, router(true), vip(true, 0).0, 1300, &about), Pass);
        let inner = Build::tcp(client6, as_ipv6(vip(false, port::TUNNEL)), DATA);
        t.reply(&tunnel_error(true, backend(true, 11), 1300, &inner), Pass);
    }),
    ("over the limit of answers packets are dropped without one", |t, v6| {
        t.configure(|config| config.settings.answers = 3);
        t.fresh_tick(false);
        let last_hop = |port| udp(v6, port).with(|p| p.ttl = 1);
        for port in [port::NAT, port::DR, port::TUNNEL] {
            t.send(&last_hop(port), Answer);
        }
        t.send(&last_hop(port::NAT), Drop(Ttl));
        t.send(&udp(v6, port::NAT_SMALL).data(1452), Drop(TooBig));
        assert_eq!(t.counter(IcmpSent), 3);
        t.fresh_tick(true);
        t.send(&last_hop(port::NAT), Answer);
    }),
    ("a fragment of an error is not touched", |t, v6| {
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        let about = Build::tcp(vip(v6, port::NAT), client(v6), DATA);
        let error = too_big(v6, router(v6), vip(v6, 0).0, 1300, &about);
        t.send(&error.with(|p| (p.fragment, p.dont_fragment) = (Some((0, true)), false)), Pass);
    }),
    ("nat without a neighbour: the kernel forwards the error", |t, v6| {
        t.send(&syn(v6, port::NAT_SILENT), Up);
        let about = Build::tcp(vip(v6, port::NAT_SILENT), client(v6), DATA);
        let left = t.send(&too_big(v6, router(v6), vip(v6, 0).0, 1300, &about), Up);
        assert_eq!(left.dst().ip(), net::backend(v6, 2, net::SILENT));
        assert_eq!(t.counter(PassedUp), 2);
    }),
    ("nat: an error for a client without a neighbour entry goes the way that it came", |t, v6| {
        let silent = (net::backend(v6, 1, net::SILENT), 5);
        t.send(&Build::tcp(silent, vip(v6, port::NAT), flags::SYN), To(BACKENDS));
        let about = Build::tcp(silent, super::server(v6, 11), DATA);
        let left = t.reply(&too_big(v6, backend(v6, 254), silent.0, 1300, &about), To(CLIENTS));
        assert_eq!((left.src().ip(), left.dst().ip()), (vip(v6, 0).0, silent.0));
        assert_eq!(t.counter(PassedUp), 0);
    }),
    ("dr without a neighbour: the error is dropped", |t, v6| {
        t.send(&syn(v6, port::DR_SILENT), Drop(NoNeighbour));
        let about = Build::tcp(vip(v6, port::DR_SILENT), client(v6), DATA);
        t.send(&too_big(v6, router(v6), vip(v6, 0).0, 1300, &about), Drop(NoNeighbour));
    }),
    ("an error in a VLAN", |t, v6| {
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        let about = Build::tcp(vip(v6, port::NAT), client(v6), DATA);
        let error = too_big(v6, router(v6), vip(v6, 0).0, 1300, &about).with(|p| p.tags = vec![(0x8100, 7)]);
        assert_eq!(checks::tags(&t.send(&error, To(BACKENDS)).0), [0; 0]);
    }),
    ("a path MTU within a tunnel: the client is told, and heeded from then on", |t, v6| {
        t.send(&syn(v6, port::TUNNEL), To(BACKENDS));
        let large = tcp(v6, port::TUNNEL, DATA).data(1340);
        t.send(&large, To(BACKENDS));
        let left = t.reply(&tunnel_error(v6, backend(v6, 11), 1300, &large), To(CLIENTS));
        assert_eq!((left.src().ip(), left.dst().ip()), (vip(v6, 0).0, client(v6).0));
        assert_eq!(checks::quoted_ends(&left.0), (client(v6).into(), vip(v6, port::TUNNEL).into()));
        let told = if v6 { &left.0[58..62] } else { &left.0[38..42] };
        // Of IPv6 1,260 are left, but nobody may be told less than 1,280.
        assert_eq!(told, 1280_u32.to_be_bytes());
        let left = t.send(&large, Answer);
        assert_eq!(if v6 { &left.0[58..62] } else { &left.0[38..42] }, 1280_u32.to_be_bytes());
        t.send(&tcp(v6, port::TUNNEL, DATA).data(1200), To(BACKENDS));
    }),
    ("a path MTU within a tunnel is forgotten after ten minutes", |t, v6| {
        t.send(&syn(v6, port::TUNNEL), To(BACKENDS));
        let large = tcp(v6, port::TUNNEL, DATA).data(1340);
        t.send(&large, To(BACKENDS));
        t.reply(&tunnel_error(v6, backend(v6, 11), 1300, &large), To(CLIENTS));
        t.advance(590 * world::HZ);
        t.send(&large, Answer);
        t.advance(20 * world::HZ);
        t.send(&large, To(BACKENDS));
    }),
    ("a path MTU lowers the segment size of new connections", |t, v6| {
        t.send(&syn(v6, port::TUNNEL), To(BACKENDS));
        let large = tcp(v6, port::TUNNEL, DATA).data(1340);
        t.send(&large, To(BACKENDS));
        t.reply(&tunnel_error(v6, backend(v6, 11), 1300, &large), To(CLIENTS));
        let left =
            t.send(&syn(v6, port::TUNNEL).with(|p| p.set_sport(2)).tcp_options(&[2, 4, 0x05, 0xB4]), To(BACKENDS));
        let expected: u16 = if v6 { 1300 - 40 - 60 } else { 1300 - 20 - 40 };
        assert_eq!(left.0[left.0.len() - 2..], expected.to_be_bytes());
    }),
    ("an error about a tunnel that is none of ours is not touched", |t, v6| {
        t.send(&syn(v6, port::TUNNEL), To(BACKENDS));
        let large = tcp(v6, port::TUNNEL, DATA).data(1340);
        t.reply(&tunnel_error(v6, backend(v6, 12), 1300, &large), Pass);
        let other = tunnel_error(v6, backend(v6, 11), 1300, &large).with(|p| p.dst = host(v6, 99));
        t.reply(&other, Pass);
        t.send(&syn(v6, port::DR), To(BACKENDS));
        t.reply(&tunnel_error(v6, backend(v6, 11), 1300, &tcp(v6, port::DR, DATA)), Pass);
    }),
    ("other errors about a tunnel, and MTUs that cannot be, are not touched", |t, v6| {
        t.send(&syn(v6, port::TUNNEL), To(BACKENDS));
        let large = tcp(v6, port::TUNNEL, DATA).data(1340);
        t.reply(&tunnel_error(v6, backend(v6, 11), if v6 { 1279 } else { 575 }, &large), Pass);
        t.reply(&tunnel_error(v6, backend(v6, 11), 0, &large), Pass);
        let error = tunnel_error(v6, backend(v6, 11), 1300, &large);
        t.reply(
            &error.with(|p| {
                if let Body::Icmp(kind, code, _) = &mut p.body {
                    (*kind, *code) = (if v6 { 1 } else { 11 }, 0);
                }
            }),
            Pass,
        );
    }),
    ("about a flow without a reply direction, from a client's neighbour", |t, v6| {
        t.send(&Build::tcp(client(v6), vip(v6, port::TUNNEL_ONE_ARM), flags::SYN), To(CLIENTS));
        let about = Build::tcp(vip(v6, port::TUNNEL_ONE_ARM), client(v6), DATA);
        t.send(&unreachable(v6, router(v6), vip(v6, 0).0, &about), To(CLIENTS));
        assert_eq!(loads(t, v6), [(0, 1)]);
    }),
];

fn router(v6: bool) -> IpAddr {
    host(v6, 3)
}

fn unreachable_kind(v6: bool) -> u8 {
    if v6 { 1 } else { 3 }
}

/// The rest of an error's header, and the packet that it is about.
fn quote(head: [u8; 4], about: &Build) -> Vec<u8> {
    [head.as_slice(), &about.packet()].concat()
}

fn too_big(v6: bool, src: IpAddr, dst: IpAddr, mtu: u16, about: &Build) -> Build {
    let [high, low] = mtu.to_be_bytes();
    let (kind, code) = if v6 { (2, 0) } else { (3, 4) };
    Build::icmp(src, dst, kind, code, quote([0, 0, high, low], about))
}

fn unreachable(v6: bool, src: IpAddr, dst: IpAddr, about: &Build) -> Build {
    Build::icmp(src, dst, unreachable_kind(v6), if v6 { 4 } else { 3 }, quote([0; 4], about))
}

/// From a router between us and a backend, about `inner` in the tunnel.
fn tunnel_error(v6: bool, to: IpAddr, mtu: u16, inner: &Build) -> Build {
    let packet = inner.packet();
    let outer = Build::new(world::tunnel_src(v6), to, Body::Raw(if v6 { 41 } else { 4 }, packet));
    too_big(v6, backend(v6, 254), world::tunnel_src(v6), mtu, &outer)
}

fn loads(t: &Bench, v6: bool) -> Vec<(u32, u32)> {
    t.loads(world::frontend(port::TUNNEL_ONE_ARM, v6, TCP))
}

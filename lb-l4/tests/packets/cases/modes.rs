//! nat, dr and tunnel: what becomes of the addresses.

use lb_l4::abi::Counter::{NoFlow, Ttl};

use super::{Case, DATA, SYN_ACK, answer, answer_udp, backend, client, host, server, syn, tcp, udp, vip};
use crate::checks;
use crate::harness::bench::Expect::{Answer, Drop, Pass, To};
use crate::harness::net::{BACKENDS, CLIENTS};
use crate::harness::world::{self, port};
use crate::model::flags;
use crate::packet::{Body, Build};

const MSS_1460: [u8; 4] = [2, 4, 0x05, 0xB4];

pub const CASES: &[Case] = &[
    ("nat tcp: to the backend's address and port", |t, v6| {
        let left = t.send(&syn(v6, port::NAT), To(BACKENDS));
        assert_eq!((left.src(), left.dst()), (client(v6).into(), server(v6, 11).into()));
        assert_eq!(left.0[..12], [[2, 0, 0, 0, 2, 11], [2, 0, 0, 0, 2, 1]].concat());
        assert_eq!(checks::ttl(&left.0), 62);
    }),
    ("nat tcp: back from the VIP", |t, v6| {
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        let left = t.reply(&answer(v6, 11, SYN_ACK), To(CLIENTS));
        assert_eq!((left.src(), left.dst()), (vip(v6, port::NAT).into(), client(v6).into()));
        assert_eq!(left.0[..12], [[2, 0, 0, 0, 1, 254], [2, 0, 0, 0, 1, 1]].concat());
        assert_eq!(checks::ttl(&left.0), 62);
    }),
    ("nat udp: to the backend and back", |t, v6| {
        assert_eq!(t.send(&udp(v6, port::NAT), To(BACKENDS)).dst(), server(v6, 11).into());
        assert_eq!(t.reply(&answer_udp(v6, 11), To(CLIENTS)).src(), vip(v6, port::NAT).into());
    }),
    ("nat tcp: data both ways, of odd and even length", |t, v6| {
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        t.reply(&answer(v6, 11, SYN_ACK), To(CLIENTS));
        for length in [1, 2, 3, 999, 1000, 1400] {
            t.send(&tcp(v6, port::NAT, DATA).data(length), To(BACKENDS));
            t.reply(&answer(v6, 11, DATA).data(length), To(CLIENTS));
        }
    }),
    ("nat udp: datagrams both ways, of odd and even length", |t, v6| {
        for length in [0, 1, 2, 1001, 1400] {
            t.send(&udp(v6, port::NAT).data(length), To(BACKENDS));
            t.reply(&answer_udp(v6, 11).data(length), To(CLIENTS));
        }
    }),
    ("nat udp: no checksum stays no checksum", |t, v6| {
        let at = if v6 { 60 } else { 40 };
        for _ in 0..2 {
            let left = t.send(&udp(v6, port::NAT).without_checksum(), To(BACKENDS));
            assert_eq!(left.0[at..at + 2], [0, 0]);
            let left = t.reply(&answer_udp(v6, 11).without_checksum(), To(CLIENTS));
            assert_eq!(left.0[at..at + 2], [0, 0]);
        }
    }),
    ("nat udp: a checksum that comes out as zero is sent as all ones", |t, v6| {
        let left = t.send(&sums_to_zero(v6), To(BACKENDS));
        let at = if v6 { 60 } else { 40 };
        assert_eq!(left.0[at..at + 2], [0xFF, 0xFF]);
    }),
    ("nat: every port of a VIP, which stays as it is", |t, v6| {
        for port in [1, 80, 65535] {
            let left = t.send(&Build::tcp(client(v6), (world::vip_all(v6), port), flags::SYN), To(BACKENDS));
            assert_eq!(left.dst(), (backend(v6, 11), port).into());
            let back = Build::udp((backend(v6, 11), port), (host(v6, 8), 1));
            t.reply(&back, Pass);
            t.send(&Build::udp((host(v6, 8), 1), (world::vip_all(v6), port)), To(BACKENDS));
            assert_eq!(t.reply(&back, To(CLIENTS)).src(), (world::vip_all(v6), port).into());
        }
    }),
    ("nat: traffic class and identification are kept", |t, v6| {
        let left = t.send(&syn(v6, port::NAT).with(|p| (p.tos, p.id, p.label) = (0xB9, 0xABCD, 0x12345)), To(BACKENDS));
        assert!(if v6 { left.0[14..18] == [0x6B, 0x91, 0x23, 0x45] } else { left.0[15] == 0xB9 });
    }),
    ("dr tcp: only MAC addresses and TTL", |t, v6| {
        let packet = syn(v6, port::DR);
        let left = t.send(&packet, To(BACKENDS));
        assert_eq!((left.src(), left.dst()), (client(v6).into(), vip(v6, port::DR).into()));
        assert_eq!(left.0[..12], [[2, 0, 0, 0, 2, 11], [2, 0, 0, 0, 2, 1]].concat());
        assert_eq!(left.0[12..], packet.with(|p| p.ttl = 62).frame()[12..]);
    }),
    ("dr udp: only MAC addresses and TTL", |t, v6| {
        let packet = udp(v6, port::DR);
        let left = t.send(&packet, To(BACKENDS));
        assert_eq!(left.0[12..], packet.with(|p| p.ttl = 62).frame()[12..]);
    }),
    ("dr: data of an established connection", |t, v6| {
        t.send(&syn(v6, port::DR), To(BACKENDS));
        for length in [0, 1, 1000, 1400] {
            let packet = tcp(v6, port::DR, DATA).data(length);
            let left = t.send(&packet, To(BACKENDS));
            assert_eq!(left.0[12..], packet.with(|p| p.ttl = 62).frame()[12..]);
        }
    }),
    ("dr: a checksum that is wrong stays as it is", |t, v6| {
        let mut frame = udp(v6, port::DR).frame();
        let last = frame.len() - 1;
        frame[last] ^= 1;
        assert_eq!(t.unverified(CLIENTS, &frame, To(BACKENDS)).0[last], frame[last]);
    }),
    ("nat: a checksum that is wrong stays wrong", |t, v6| {
        let mut frame = udp(v6, port::NAT).frame();
        let last = frame.len() - 1;
        frame[last] ^= 1;
        let left = t.unverified(CLIENTS, &frame, To(BACKENDS));
        assert!(checks::verify(&left.0).is_err());
    }),
    ("dr: what the backend sends past us is not touched", |t, v6| {
        t.send(&syn(v6, port::DR), To(BACKENDS));
        t.reply(&Build::tcp(vip(v6, port::DR), client(v6), SYN_ACK), Pass);
    }),
    ("tunnel tcp: the packet in an outer one", |t, v6| {
        let packet = syn(v6, port::TUNNEL);
        let left = t.send(&packet, To(BACKENDS));
        assert_eq!((left.src().ip(), left.dst().ip()), (world::tunnel_src(v6), backend(v6, 11)));
        assert_eq!(if v6 { left.0[20] } else { left.0[23] }, if v6 { 41 } else { 4 });
        assert_eq!(checks::ttl(&left.0), 64);
        assert_eq!(left.0[inner(v6)..], packet.with(|p| p.ttl = 62).packet());
    }),
    ("tunnel udp: the packet in an outer one", |t, v6| {
        let packet = udp(v6, port::TUNNEL).data(501);
        let left = t.send(&packet, To(BACKENDS));
        assert_eq!(left.0[inner(v6)..], packet.with(|p| p.ttl = 62).packet());
    }),
    ("tunnel: traffic class, congestion bits and flow label are copied out", |t, v6| {
        let left = t.send(&udp(v6, port::TUNNEL).with(|p| (p.tos, p.label) = (0xB9, 0x12345)), To(BACKENDS));
        assert!(if v6 { left.0[14..18] == [0x6B, 0x91, 0x23, 0x45] } else { left.0[15] == 0xB9 });
    }),
    ("tunnel: the segment size that a SYN offers is lowered", |t, v6| {
        let left = t.send(&syn(v6, port::TUNNEL).tcp_options(&MSS_1460), To(BACKENDS));
        assert_eq!(left.0[left.0.len() - 2..], lowered(v6).to_be_bytes());
    }),
    ("tunnel: a segment size at an odd place is lowered", |t, v6| {
        let left = t.send(&syn(v6, port::TUNNEL).tcp_options(&[1, 2, 4, 0x05, 0xB4, 1, 1, 0]), To(BACKENDS));
        let at = left.0.len() - 5;
        assert_eq!(left.0[at..at + 2], lowered(v6).to_be_bytes());
    }),
    ("tunnel: a segment size behind other options is lowered", |t, v6| {
        let options = [&[8, 10, 0, 0, 0, 1, 0, 0, 0, 0][..], &[4, 2, 3, 3, 7, 1], &[2, 4, 0x23, 0x28]].concat();
        let left = t.send(&syn(v6, port::TUNNEL).tcp_options(&options), To(BACKENDS));
        assert_eq!(left.0[left.0.len() - 2..], lowered(v6).to_be_bytes());
    }),
    ("tunnel: a segment size as the last of forty bytes is lowered", |t, v6| {
        let options = [&[8, 34][..], &[0; 32], &[1, 1], &MSS_1460].concat();
        let left = t.send(&syn(v6, port::TUNNEL).tcp_options(&options), To(BACKENDS));
        assert_eq!(left.0[left.0.len() - 2..], lowered(v6).to_be_bytes());
    }),
    ("tunnel: a small segment size is left", |t, v6| {
        let left = t.send(&syn(v6, port::TUNNEL).tcp_options(&[2, 4, 0x02, 0x18]), To(BACKENDS));
        assert_eq!(left.0[left.0.len() - 2..], [0x02, 0x18]);
    }),
    ("tunnel: without the option there is none afterwards", |t, v6| {
        let packet = syn(v6, port::TUNNEL).tcp_options(&[1, 1, 0, 0]);
        let left = t.send(&packet, To(BACKENDS));
        assert_eq!(left.0[inner(v6)..], packet.with(|p| p.ttl = 62).packet());
    }),
    ("tunnel: options that are broken are left", |t, v6| {
        for options in [[2, 0, 0x05, 0xB4], [2, 8, 0x05, 0xB4], [9, 1, 2, 4], [0, 2, 4, 9]] {
            let packet = syn(v6, port::TUNNEL).tcp_options(&options);
            let left = t.send(&packet, To(BACKENDS));
            assert_eq!(left.0[inner(v6)..], packet.with(|p| p.ttl = 62).packet());
        }
    }),
    ("tunnel: the segment size of an established flow is left", |t, v6| {
        let left = t.send(&tcp(v6, port::TUNNEL, flags::ACK).tcp_options(&MSS_1460), To(BACKENDS));
        assert_eq!(left.0[left.0.len() - 2..], [0x05, 0xB4]);
    }),
    ("dr and nat: the segment size is left", |t, v6| {
        for port in [port::DR, port::NAT] {
            let left = t.send(&syn(v6, port).tcp_options(&MSS_1460), To(BACKENDS));
            assert_eq!(left.0[left.0.len() - 2..], [0x05, 0xB4]);
        }
    }),
    ("options and extension headers are kept in all modes", |t, v6| {
        for port in [port::NAT, port::SNAT, port::DR, port::TUNNEL] {
            let packet = udp(v6, port).with(|p| {
                p.options = vec![7, 7, 4, 0, 0, 0, 0, 0];
                p.extensions = vec![(0, vec![1, 4, 0, 0, 0, 0])];
            });
            t.send(&packet, To(BACKENDS));
        }
    }),
    ("padding is kept in all modes", |t, v6| {
        for port in [port::NAT, port::DR, port::TUNNEL] {
            t.send(&udp(v6, port).with(|p| p.padding = 11), To(BACKENDS));
            t.send(&udp(v6, port).with(|p| p.padding = 11), To(BACKENDS));
        }
    }),
    ("two hops left are enough, one is not", |t, v6| {
        for port in [port::NAT, port::DR, port::TUNNEL] {
            t.send(&udp(v6, port).with(|p| p.ttl = 2), To(BACKENDS));
            let left = t.send(&udp(v6, port).with(|p| p.ttl = 1), Answer);
            assert_eq!((left.src().ip(), left.dst().ip()), (vip(v6, port).0, client(v6).0));
            assert_eq!(left.0[inner(v6)], if v6 { 3 } else { 11 });
        }
        assert_eq!(t.counter(Ttl), 3);
    }),
    ("one hop left makes no flow", |t, v6| {
        for ttl in [0, 1] {
            t.send(&syn(v6, port::NAT).with(|p| p.ttl = ttl), Answer);
        }
        t.send(&tcp(v6, port::NAT, DATA), Drop(NoFlow));
    }),
    ("a reply with one hop left is answered to the backend", |t, v6| {
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        let left = t.reply(&answer(v6, 11, SYN_ACK).with(|p| p.ttl = 1), Answer);
        assert_eq!(left.dst().ip(), backend(v6, 11));
    }),
    ("time exceeded quotes a long packet in part", |t, v6| {
        let left = t.send(&udp(v6, port::NAT).data(1200).with(|p| p.ttl = 1), Answer);
        assert!(left.0.len() < 600);
    }),
    ("time exceeded quotes a short packet as a whole", |t, v6| {
        let packet = udp(v6, port::NAT).data(0).with(|p| p.ttl = 1);
        let left = t.send(&packet, Answer);
        assert_eq!(left.0[inner(v6) + 8..], packet.packet());
    }),
];

/// Where in a frame what IP carries begins.
fn inner(v6: bool) -> usize {
    if v6 { 54 } else { 34 }
}

fn lowered(v6: bool) -> u16 {
    if v6 { 1500 - 40 - 60 } else { 1500 - 20 - 40 }
}

/// A datagram whose checksum is zero once it goes to the backend: its two bytes of data are what the
/// sum of the rest lacks.
fn sums_to_zero(v6: bool) -> Build {
    let datagram = |dst, data: [u8; 2]| {
        Build::udp(client(v6), dst).with(|p| {
            if let Body::Udp { data: bytes, .. } = &mut p.body {
                *bytes = data.to_vec();
            }
        })
    };
    let frame = datagram(server(v6, 11), [0, 0]).frame();
    let at = frame.len() - 4;
    datagram(vip(v6, port::NAT), [frame[at], frame[at + 1]])
}

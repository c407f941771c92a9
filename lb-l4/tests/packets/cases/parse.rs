//! What is not ours, and what is too broken to be.

use lb_l4::abi::Counter::{Malformed, NoBackend};

use super::{Case, as_ipv6, client, host, server, syn, tcp, udp, vip};
use crate::checks;
use crate::harness::bench::Expect::{Answer, Drop, Pass, To};
use crate::harness::net::{BACKENDS, CLIENTS};
use crate::harness::world::{self, port};
use crate::model::flags;
use crate::packet::{Body, Build};

/// TCP up to its thirteenth byte: no flags.
const CUT: [u8; 13] = [0x9C, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50];
const PAD: [u8; 6] = [1, 4, 0, 0, 0, 0];

pub const CASES: &[Case] = &[
    ("ARP is not touched", |t, _| {
        let arp = [&[0xFF; 6], &[2, 0, 0, 0, 1, 254][..], &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &[0; 40]].concat();
        t.frame(CLIENTS, &arp, Pass);
    }),
    ("an unknown ethertype is not touched", |t, v6| {
        let mut frame = syn(v6, port::NAT).frame();
        frame[12..14].copy_from_slice(&[0x88, 0x47]);
        t.frame(CLIENTS, &frame, Pass);
    }),
    ("an unknown protocol to the VIP is not touched", |t, v6| {
        t.send(&Build::new(client(v6).0, vip(v6, 0).0, Body::Raw(132, vec![0; 40])), Pass);
    }),
    ("IPsec to the VIP is not touched", |t, v6| {
        for proto in [50, 51] {
            t.send(&Build::new(client(v6).0, vip(v6, 0).0, Body::Raw(proto, vec![4; 40])), Pass);
        }
    }),
    ("VRRP is not touched", |t, v6| {
        t.send(&Build::new(client(v6).0, vip(v6, 0).0, Body::Raw(112, vec![0x31; 20])).with(|p| p.ttl = 255), Pass);
    }),
    ("TCP to an address of no frontend is not touched", |t, v6| {
        t.send(&Build::tcp(client(v6), (host(v6, 99), 80), flags::SYN), Pass);
    }),
    ("UDP to an address of no frontend is not touched", |t, v6| {
        t.send(&Build::udp(client(v6), (host(v6, 99), 80)), Pass);
    }),
    ("TCP to a port of no frontend is not touched", |t, v6| {
        t.send(&syn(v6, 22), Pass);
        t.send(&tcp(v6, 22, flags::RST), Pass);
    }),
    ("UDP to a port of no frontend is not touched", |t, v6| {
        t.send(&udp(v6, 22), Pass);
    }),
    ("what a backend sends of its own accord is not touched", |t, v6| {
        t.reply(&super::answer(v6, 11, flags::SYN), Pass);
        t.reply(&super::answer_udp(v6, 11), Pass);
    }),
    ("one hop left, but not ours: not touched", |t, v6| {
        t.send(&syn(v6, 22).with(|p| p.ttl = 1), Pass);
    }),
    ("TCP cut before its flags, to the VIP: dropped", |t, v6| {
        t.send(&Build::new(client(v6).0, vip(v6, 0).0, Body::Raw(6, CUT.to_vec())), Drop(Malformed));
    }),
    ("TCP cut before its flags, elsewhere: not touched", |t, v6| {
        t.send(&Build::new(client(v6).0, host(v6, 99), Body::Raw(6, CUT.to_vec())), Pass);
    }),
    ("padding does not count as TCP", |t, v6| {
        let packet = Build::new(client(v6).0, vip(v6, 0).0, Body::Raw(6, CUT.to_vec()));
        t.send(&packet.with(|p| p.padding = 40), Drop(Malformed));
    }),
    ("TCP whose header is shorter than 20 bytes, to the VIP: dropped", |t, v6| {
        let mut frame = syn(v6, port::NAT).frame();
        let at = frame.len() - 20 + 12;
        frame[at] = 0x40;
        t.frame(CLIENTS, &frame, Drop(Malformed));
    }),
    ("TCP whose header is longer than the packet, to the VIP: dropped", |t, v6| {
        let mut frame = syn(v6, port::NAT).frame();
        let at = frame.len() - 20 + 12;
        frame[at] = 0x60;
        t.frame(CLIENTS, &frame, Drop(Malformed));
    }),
    ("UDP cut within its header, to the VIP: dropped", |t, v6| {
        let packet = Build::new(client(v6).0, vip(v6, 0).0, Body::Raw(17, vec![0x9C, 0x40, 0, 80, 0, 7, 0]));
        t.send(&packet, Drop(Malformed));
    }),
    ("UDP with a length under eight, to the VIP: dropped", |t, v6| {
        let datagram = vec![0x9C, 0x40, 0, 80, 0, 7, 0, 0];
        t.send(&Build::new(client(v6).0, vip(v6, 0).0, Body::Raw(17, datagram)), Drop(Malformed));
    }),
    ("UDP with a length beyond the packet, to the VIP: dropped", |t, v6| {
        let datagram = vec![0x9C, 0x40, 0, 80, 0, 9, 0, 0];
        t.send(&Build::new(client(v6).0, vip(v6, 0).0, Body::Raw(17, datagram)), Drop(Malformed));
    }),
    ("UDP that is shorter than the packet is forwarded with all there is", |t, v6| {
        let datagram = vec![0x9C, 0x40, 0, port::DR as u8, 0, 8, 0, 0, 1, 2, 3, 4];
        let frame = Build::new(client(v6).0, vip(v6, 0).0, Body::Raw(17, datagram)).frame();
        t.unverified(CLIENTS, &frame, To(BACKENDS));
    }),
    ("a version that does not fit the ethertype is not touched", |t, v6| {
        let mut frame = syn(v6, port::NAT).frame();
        frame[14] ^= 0x20;
        t.frame(CLIENTS, &frame, Pass);
    }),
    ("a packet longer than its frame is not touched", |t, v6| {
        let mut frame = syn(v6, port::NAT).frame();
        frame.pop();
        t.frame(CLIENTS, &frame, Pass);
    }),
    ("a header length that cannot be is not touched", |t, v6| {
        let mut frame = syn(v6, port::NAT).frame();
        if v6 {
            frame[14 + 4..14 + 6].copy_from_slice(&[0xFF, 0xFF]);
        } else {
            frame[14] = 0x44;
        }
        t.frame(CLIENTS, &frame, Pass);
    }),
    ("a frame with padding is forwarded", |t, v6| {
        let left = t.send(&syn(v6, port::NAT).with(|p| p.padding = 6), To(BACKENDS));
        assert_eq!(left.dst(), server(v6, 11).into());
    }),
    ("one VLAN tag is read", |t, v6| {
        let left = t.send(&syn(v6, port::NAT).with(|p| p.tags = vec![(0x8100, 7)]), To(BACKENDS));
        assert_eq!(checks::tags(&left.0), [0; 0], "another interface, no tag");
    }),
    ("two VLAN tags are read", |t, v6| {
        let left = t.send(&syn(v6, port::NAT).with(|p| p.tags = vec![(0x88A8, 7), (0x8100, 8)]), To(BACKENDS));
        assert_eq!(checks::tags(&left.0), [0; 0], "another interface, no tag");
    }),
    ("three VLAN tags are not touched", |t, v6| {
        t.send(&syn(v6, port::NAT).with(|p| p.tags = vec![(0x88A8, 7), (0x8100, 8), (0x8100, 9)]), Pass);
    }),
    ("a VLAN tag and nothing behind it is not touched", |t, _| {
        t.frame(CLIENTS, &[2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 1, 254, 0x81, 0, 0, 7, 8, 0], Pass);
    }),
    ("IPv4 options and IPv6 destination options are stepped over", |t, v6| {
        let packet = syn(v6, port::NAT).with(|p| {
            p.options = vec![7, 7, 4, 0, 0, 0, 0, 0];
            p.extensions = vec![(60, PAD.to_vec())];
        });
        assert_eq!(t.send(&packet, To(BACKENDS)).dst(), server(v6, 11).into());
    }),
    ("forty bytes of IPv4 options, or six extension headers, are stepped over", |t, v6| {
        let packet = udp(v6, port::NAT).with(|p| {
            p.options = [&[148, 4, 0, 0][..], &[1; 36]].concat();
            p.extensions = [0, 60, 43, 60, 60, 60].map(|kind| (kind, PAD.to_vec())).to_vec();
        });
        t.unverified(CLIENTS, &packet.frame(), To(BACKENDS));
    }),
    ("a seventh extension header is not touched", |t, v6| {
        let packet = udp(v6, port::NAT).with(|p| p.extensions = vec![(60, PAD.to_vec()); 7]);
        t.send(&packet, if v6 { Pass } else { To(BACKENDS) });
    }),
    ("an extension header of 64 bytes is stepped over", |t, v6| {
        let packet = udp(v6, port::NAT).with(|p| p.extensions = vec![(60, [&[1, 60][..], &[0; 60]].concat())]);
        t.send(&packet, To(BACKENDS));
    }),
    ("an extension header beyond the packet is not touched", |t, v6| {
        let packet = Build::new(client(v6).0, vip(v6, 0).0, Body::Raw(60, vec![6, 9, 1, 4, 0, 0, 0, 0]));
        t.send(&packet, Pass);
    }),
    ("IPv6 whose addresses would pass for IPv4 is not touched", |t, _| {
        t.send(&syn(false, port::NAT), To(BACKENDS));
        t.send(&udp(false, port::DR), To(BACKENDS));
        let ends = [client(false), vip(false, port::NAT), vip(false, port::DR)].map(as_ipv6);
        let ([client6, nat6, dr6], [client4, server4]) = (ends, [client(false), server(false, 11)]);
        t.send(&Build::tcp(client6, nat6, flags::SYN), Pass);
        t.send(&Build::udp(client6, dr6), Pass);
        t.send(&Build::tcp(client(true), nat6, flags::SYN), Pass);
        t.send(&Build::tcp(client6, vip(true, port::NAT), flags::SYN), Pass);
        t.reply(&Build::tcp(as_ipv6(server4), as_ipv6(client4), flags::SYN | flags::ACK), Pass);
        t.send(&echo(true, nat6.0), Pass);
    }),
    ("what nobody can have sent is not touched", |t, v6| {
        let nobody = if v6 {
            ["::", "::1", "ff02::1", "ff0e::7", "fe80::1", "febf::1"]
        } else {
            ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "239.255.255.255", "255.255.255.255"]
        };
        for address in nobody.map(|text| text.parse().expect("an address")) {
            t.send(&Build::tcp((address, 7), vip(v6, port::NAT), flags::SYN), Pass);
            t.send(&Build::udp((address, 7), vip(v6, port::DR)), Pass);
            t.send(&Build::new(address, vip(v6, 0).0, Body::Raw(6, CUT.to_vec())), Pass);
        }
    }),
    ("what is close to that has been sent by somebody", |t, v6| {
        let somebody = if v6 { ["::2", "fec0::1", "fe7f::1"] } else { ["1.0.0.1", "128.0.0.1", "240.0.0.1"] };
        for address in somebody.map(|text| text.parse().expect("an address")) {
            t.send(&Build::udp((address, 7), vip(v6, port::DR)), To(BACKENDS));
        }
    }),
    ("an ICMP number of the other family is not touched", |t, v6| {
        let echo = vec![if v6 { 8 } else { 128 }, 0, 0, 0, 0, 1, 0, 1];
        t.send(&Build::new(client(v6).0, vip(v6, 0).0, Body::Raw(if v6 { 1 } else { 58 }, echo)), Pass);
    }),
    ("echo to the VIP is answered", |t, v6| {
        let left = t.send(&echo(v6, vip(v6, 0).0), Answer);
        assert_eq!((left.src().ip(), left.dst().ip()), (vip(v6, 0).0, client(v6).0));
        assert_eq!(checks::ttl(&left.0), 64);
        assert_eq!(left.0[..12], [[2, 0, 0, 0, 1, 254], [2, 0, 0, 0, 1, 1]].concat());
    }),
    ("echo to the VIP in a VLAN is answered there", |t, v6| {
        let left = t.send(&echo(v6, vip(v6, 0).0).with(|p| p.tags = vec![(0x8100, 7)]), Answer);
        assert_eq!(checks::tags(&left.0), [7]);
    }),
    ("echo with options is answered", |t, v6| {
        let packet = echo(v6, vip(v6, 0).0).with(|p| {
            p.options = vec![7, 7, 4, 0, 0, 0, 0, 0];
            p.extensions = vec![(60, PAD.to_vec())];
        });
        t.send(&packet, Answer);
    }),
    ("echo of nothing but zeroes is answered with a checksum that holds", |t, v6| {
        t.send(&Build::icmp(client(v6).0, vip(v6, 0).0, if v6 { 128 } else { 8 }, 0, vec![0; 4]), Answer);
    }),
    ("echo to another address is not touched", |t, v6| {
        t.send(&echo(v6, host(v6, 99)), Pass);
        t.send(&echo(v6, world::vip_all(v6)), Pass);
    }),
    ("an echo reply to the VIP is not touched", |t, v6| {
        t.send(&Build::icmp(client(v6).0, vip(v6, 0).0, if v6 { 129 } else { 0 }, 0, vec![0, 1, 0, 1]), Pass);
    }),
    ("a fragment of an echo is not touched", |t, v6| {
        t.send(&echo(v6, vip(v6, 0).0).with(|p| (p.fragment, p.dont_fragment) = (Some((0, true)), false)), Pass);
    }),
    ("ICMP cut within its header is not touched", |t, v6| {
        let cut = vec![if v6 { 128 } else { 8 }, 0, 0, 0, 0, 1];
        t.send(&Build::new(client(v6).0, vip(v6, 0).0, Body::Raw(if v6 { 58 } else { 1 }, cut)), Pass);
    }),
    ("a neighbour solicitation or an address mask request is not touched", |t, v6| {
        t.send(&Build::icmp(client(v6).0, vip(v6, 0).0, if v6 { 135 } else { 17 }, 0, vec![0; 20]), Pass);
    }),
    ("a frontend without backends drops", |t, v6| {
        t.send(&syn(v6, port::EMPTY), Drop(NoBackend));
        t.send(&udp(v6, port::EMPTY), Drop(NoBackend));
    }),
];

fn echo(v6: bool, dst: std::net::IpAddr) -> Build {
    Build::icmp(client(v6).0, dst, if v6 { 128 } else { 8 }, 0, [&[0, 1, 0, 1][..], b"abcdefghijklmnop"].concat())
}

//! Every kind of packet, cut at every byte: the program must read no further than it goes, and do what
//! the model does.

use crate::harness::bench::Bench;
use crate::harness::net::{BACKENDS, CLIENTS};
use crate::harness::world::{self, port};
use crate::model::flags;
use crate::packet::{Body, Build};

/// The shortest frame that BPF_PROG_TEST_RUN takes.
const ETHERNET: usize = 14;

/// Number of frames that were tried.
pub fn run(bench: &mut Bench) -> usize {
    let mut tried = 0;
    for v6 in [false, true] {
        for (ingress, packet) in packets(v6) {
            bench.reset();
            for open in opened(v6) {
                bench.try_frame(CLIENTS, &open.frame()).unwrap_or_else(|difference| panic!("{difference}"));
            }
            for frame in cut(&packet) {
                tried += 1;
                bench.try_frame(ingress, &frame).unwrap_or_else(|difference| panic!("{difference}"));
            }
            bench.compare_state();
        }
    }
    tried
}

/// The frame ends early; and the packet does, in a frame that has padding behind it and in one that has not.
fn cut(packet: &Build) -> Vec<Vec<u8>> {
    let frame = packet.frame();
    let l3 = frame.len() - packet.packet().len();
    let mut frames: Vec<Vec<u8>> = (ETHERNET..frame.len()).map(|end| frame[..end].to_vec()).collect();
    let (at, header) = if packet.src.is_ipv4() { (l3 + 2, 0) } else { (l3 + 4, 40) };
    for length in header..frame.len() - l3 {
        let mut padded = frame.clone();
        padded[at..at + 2].copy_from_slice(&((length - header) as u16).to_be_bytes());
        frames.push(padded[..(l3 + length).max(ETHERNET)].to_vec());
        frames.push(padded);
    }
    frames
}

fn client(v6: bool) -> (std::net::IpAddr, u16) {
    (if v6 { "2001:db8:100::7" } else { "198.51.100.7" }.parse().expect("an address"), 40000)
}

/// Flows that the packets belong to.
fn opened(v6: bool) -> Vec<Build> {
    let vip = |port| (world::vip(v6), port);
    let ports = [port::NAT, port::DR, port::TUNNEL];
    let both = |port| [Build::tcp(client(v6), vip(port), flags::SYN), Build::udp(client(v6), vip(port))];
    ports.into_iter().flat_map(both).collect()
}

fn packets(v6: bool) -> Vec<(u32, Build)> {
    let vip = |port| (world::vip(v6), port);
    let server = (crate::harness::net::backend(v6, 2, 11), world::BACKEND_PORT);
    let mut packets = Vec::new();
    for port in [port::NAT, port::DR, port::TUNNEL] {
        let tcp = Build::tcp(client(v6), vip(port), flags::ACK).tcp_options(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
        let syn = Build::tcp(client(v6), (vip(port).0, port), flags::SYN).tcp_options(&[2, 4, 5, 0xB4, 1, 3, 3, 7]);
        packets.extend([tcp.data(9), syn.with(|p| p.set_sport(5)), Build::udp(client(v6), vip(port)).data(30)]);
    }
    let extended = Build::udp(client(v6), vip(port::NAT)).with(|p| {
        p.options = vec![7, 7, 4, 0, 0, 0, 0, 0];
        p.extensions = vec![(0, vec![1, 4, 0, 0, 0, 0]), (60, [&[1, 12][..], &[0; 12]].concat())];
    });
    let tagged = Build::udp(client(v6), vip(port::NAT)).with(|p| p.tags = vec![(0x88A8, 7), (0x8100, 8)]);
    let cut = |fragment| move |p: &mut Build| (p.fragment, p.dont_fragment) = (Some(fragment), false);
    let later = Build::new(client(v6).0, vip(0).0, Body::Raw(17, vec![7; 40]));
    let echo = Build::icmp(client(v6).0, vip(0).0, if v6 { 128 } else { 8 }, 0, vec![0, 1, 0, 2, 3, 4, 5, 6]);
    packets.extend([extended.clone(), tagged, extended.with(cut((0, true))), later.with(cut((8, false))), echo]);
    packets.extend([port::NAT, port::DR].map(|port| error(v6, vip(port), &Build::udp(vip(port), client(v6)))));
    let inner = Build::udp(client(v6), vip(port::TUNNEL)).packet();
    let outer = Build::new(world::tunnel_src(v6), server.0, Body::Raw(if v6 { 41 } else { 4 }, inner));
    let mut packets: Vec<(u32, Build)> = packets.into_iter().map(|packet| (CLIENTS, packet)).collect();
    packets.push((BACKENDS, Build::udp(server, client(v6)).data(30)));
    packets.push((BACKENDS, error(v6, client(v6), &Build::udp(client(v6), server))));
    packets.push((BACKENDS, error(v6, (world::tunnel_src(v6), 0), &outer)));
    packets
}

fn error(v6: bool, to: (std::net::IpAddr, u16), about: &Build) -> Build {
    let (kind, code) = if v6 { (2, 0) } else { (3, 4) };
    let rest = [&[0, 0, 5, 20], about.packet().as_slice()].concat();
    Build::icmp(client(v6).0, to.0, kind, code, rest)
}

//! Packets that are shown to `lb flows --sample`.

use std::mem::offset_of;

use lb_l4::abi::{Counter, SAMPLE_BYTES, Sample};

use super::{Case, DATA, SYN_ACK, answer, client, syn, tcp, udp, vip};
use crate::harness::bench::Bench;
use crate::harness::bench::Expect::{Answer, Drop, Pass, To, Up};
use crate::harness::net::{BACKENDS, CLIENTS};
use crate::harness::world::{self, port};
use crate::model::TCP;
use crate::packet::Build;

const PASSED: u8 = 0;
const FORWARDED: u8 = 1;
const ANSWERED: u8 = 2;
const DROPPED: u8 = 3;
const NO_DESTINATION: u32 = u32::MAX;

pub const CASES: &[Case] = &[
    ("what is forwarded, both ways, as it came", |t, v6| {
        all(t);
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        t.reply(&answer(v6, 11, SYN_ACK), To(CLIENTS));
        let dest = t.dests(port::NAT, v6, TCP)[0] as u32;
        let [request, reply] = &samples(t)[..] else { panic!("two samples") };
        assert_eq!(
            (request.verdict, request.reply != 0, request.dest, request.ifindex),
            (FORWARDED, false, dest, CLIENTS)
        );
        assert_eq!(request.bytes, syn(v6, port::NAT).frame());
        assert_eq!((reply.verdict, reply.reply != 0, reply.dest, reply.ifindex), (FORWARDED, true, dest, BACKENDS));
    }),
    ("of a long packet its start, of an established flow too", |t, v6| {
        t.send(&syn(v6, port::DR), To(BACKENDS));
        t.send(&tcp(v6, port::DR, DATA), To(BACKENDS));
        all(t);
        let packet = tcp(v6, port::DR, DATA).data(1000);
        t.send(&packet, To(BACKENDS));
        let [sample] = &samples(t)[..] else { panic!("one sample") };
        assert_eq!(sample.bytes, packet.frame()[..SAMPLE_BYTES]);
        assert_eq!(sample.length as usize, packet.frame().len());
    }),
    ("what is dropped, and why", |t, v6| {
        all(t);
        t.send(&syn(v6, port::EMPTY), Drop(Counter::NoBackend));
        t.send(&tcp(v6, port::NAT, DATA), Drop(Counter::NoFlow));
        let seen: Vec<_> = samples(t).iter().map(|s| (s.verdict, u32::from(s.reason), s.dest)).collect();
        let expected = [Counter::NoBackend, Counter::NoFlow].map(|why| (DROPPED, why as u32, NO_DESTINATION));
        assert_eq!(seen, expected);
    }),
    ("what is answered", |t, v6| {
        all(t);
        t.send(&syn(v6, port::NAT).with(|p| p.ttl = 1), Answer);
        t.send(&Build::icmp(client(v6).0, vip(v6, 0).0, if v6 { 128 } else { 8 }, 0, vec![0; 4]), Answer);
        assert_eq!(samples(t).iter().map(|s| s.verdict).collect::<Vec<_>>(), [ANSWERED; 2]);
    }),
    ("what the kernel forwards", |t, v6| {
        all(t);
        t.send(&udp(v6, port::NAT_SILENT), Up);
        assert_eq!(samples(t).iter().map(|s| s.verdict).collect::<Vec<_>>(), [PASSED]);
    }),
    ("nothing of what is not ours", |t, v6| {
        all(t);
        t.send(&syn(v6, 22), Pass);
        assert!(samples(t).is_empty());
    }),
    ("one frontend of many", |t, v6| {
        all(t);
        t.configure(|config| config.settings.sample_frontend = world::frontend(port::DR, v6, TCP));
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        t.send(&syn(v6, port::DR), To(BACKENDS));
        t.send(&udp(v6, port::DR), To(BACKENDS));
        assert_eq!(samples(t).iter().map(|s| s.dest as usize).collect::<Vec<_>>(), t.dests(port::DR, v6, TCP));
    }),
    ("one packet of many", |t, v6| {
        t.configure(|config| config.settings.sample_mask = 0x3F);
        for _ in 0..400 {
            t.run(CLIENTS, &udp(v6, port::DR).frame());
        }
        let count = samples(t).len();
        assert!((1..100).contains(&count), "{count} of 400, where one of 64 was asked for");
    }),
];

struct Seen {
    ifindex: u32,
    dest: u32,
    length: u32,
    verdict: u8,
    reason: u8,
    reply: u8,
    bytes: Vec<u8>,
}

fn all(t: &mut Bench) {
    t.samples();
    t.configure(|config| config.settings.sample_mask = 0);
}

fn samples(t: &mut Bench) -> Vec<Seen> {
    t.samples().iter().map(|bytes| read(bytes)).collect()
}

fn read(bytes: &[u8]) -> Seen {
    assert_eq!(bytes.len(), size_of::<Sample>());
    let word = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let start = offset_of!(Sample, bytes);
    let captured = usize::from(bytes[offset_of!(Sample, captured)]);
    Seen {
        ifindex: word(offset_of!(Sample, ifindex)),
        dest: word(offset_of!(Sample, dest)),
        length: word(offset_of!(Sample, length)),
        verdict: bytes[offset_of!(Sample, verdict)],
        reason: bytes[offset_of!(Sample, reason)],
        reply: bytes[offset_of!(Sample, reply)],
        bytes: bytes[start..start + captured].to_vec(),
    }
}

//! TCP and UDP states, and how long they last.

use lb_l4::abi::Counter::{Adopted, NoFlow};
use lb_l4::abi::flow_state::{CLOSED, ESTABLISHED, FIN, SYN, SYN_RECV, TIME_WAIT, UDP_NEW};

use super::{Case, DATA, FIN_ACK, RST_ACK, SYN_ACK, answer, answer_udp, state, syn, tcp, udp};
use crate::harness::bench::Bench;
use crate::harness::bench::Expect::{Drop, Pass, To};
use crate::harness::net::{BACKENDS, CLIENTS};
use crate::harness::world::{self, port};
use crate::model::{TCP, UDP, flags};

pub const CASES: &[Case] = &[
    ("nat: the handshake", |t, v6| {
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        assert_eq!(state(t, v6, port::NAT, TCP), SYN);
        t.reply(&answer(v6, 11, SYN_ACK), To(CLIENTS));
        assert_eq!(state(t, v6, port::NAT, TCP), SYN_RECV);
        t.send(&tcp(v6, port::NAT, flags::ACK), To(BACKENDS));
        assert_eq!(state(t, v6, port::NAT, TCP), ESTABLISHED);
    }),
    ("nat: the client's word alone does not establish", |t, v6| {
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        t.send(&tcp(v6, port::NAT, flags::ACK), To(BACKENDS));
        assert_eq!(state(t, v6, port::NAT, TCP), SYN);
    }),
    ("dr: the client's word establishes", |t, v6| {
        t.send(&syn(v6, port::DR), To(BACKENDS));
        assert_eq!(state(t, v6, port::DR, TCP), SYN);
        t.send(&tcp(v6, port::DR, flags::ACK), To(BACKENDS));
        assert_eq!(state(t, v6, port::DR, TCP), ESTABLISHED);
    }),
    ("a SYN sent again is the same flow", |t, v6| {
        for port in [port::NAT, port::DR] {
            t.send(&syn(v6, port), To(BACKENDS));
            t.send(&syn(v6, port), To(BACKENDS));
            assert_eq!(loads(t, port, v6), [(0, 1)]);
        }
    }),
    ("a SYN on an established flow changes nothing", |t, v6| {
        establish(t, v6);
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        assert_eq!(state(t, v6, port::NAT, TCP), ESTABLISHED);
    }),
    ("FIN from the client, then from the backend", |t, v6| {
        establish(t, v6);
        t.send(&tcp(v6, port::NAT, FIN_ACK), To(BACKENDS));
        assert_eq!(state(t, v6, port::NAT, TCP), FIN);
        t.reply(&answer(v6, 11, DATA), To(CLIENTS));
        assert_eq!(state(t, v6, port::NAT, TCP), FIN);
        t.reply(&answer(v6, 11, FIN_ACK), To(CLIENTS));
        assert_eq!(state(t, v6, port::NAT, TCP), TIME_WAIT);
        t.send(&tcp(v6, port::NAT, flags::ACK), To(BACKENDS));
        assert_eq!(state(t, v6, port::NAT, TCP), TIME_WAIT);
    }),
    ("FIN from the backend, then from the client", |t, v6| {
        establish(t, v6);
        t.reply(&answer(v6, 11, FIN_ACK), To(CLIENTS));
        assert_eq!(state(t, v6, port::NAT, TCP), FIN);
        t.send(&tcp(v6, port::NAT, FIN_ACK), To(BACKENDS));
        assert_eq!(state(t, v6, port::NAT, TCP), TIME_WAIT);
    }),
    ("the same FIN again is not the other side's", |t, v6| {
        establish(t, v6);
        t.send(&tcp(v6, port::NAT, FIN_ACK), To(BACKENDS));
        t.send(&tcp(v6, port::NAT, FIN_ACK), To(BACKENDS));
        assert_eq!(state(t, v6, port::NAT, TCP), FIN);
    }),
    ("dr: FIN is all that is seen", |t, v6| {
        t.send(&syn(v6, port::DR), To(BACKENDS));
        t.send(&tcp(v6, port::DR, FIN_ACK), To(BACKENDS));
        t.send(&tcp(v6, port::DR, flags::ACK), To(BACKENDS));
        assert_eq!(state(t, v6, port::DR, TCP), FIN);
    }),
    ("RST from the client closes, and is forwarded", |t, v6| {
        establish(t, v6);
        t.send(&tcp(v6, port::NAT, flags::RST), To(BACKENDS));
        assert_eq!(state(t, v6, port::NAT, TCP), CLOSED);
    }),
    ("RST from the backend closes a half open flow", |t, v6| {
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        t.reply(&answer(v6, 11, RST_ACK), To(CLIENTS));
        assert_eq!(state(t, v6, port::NAT, TCP), CLOSED);
    }),
    ("what comes after RST does not open again", |t, v6| {
        establish(t, v6);
        t.send(&tcp(v6, port::NAT, flags::RST), To(BACKENDS));
        t.reply(&answer(v6, 11, DATA), To(CLIENTS));
        t.send(&tcp(v6, port::NAT, FIN_ACK), To(BACKENDS));
        assert_eq!(state(t, v6, port::NAT, TCP), CLOSED);
    }),
    ("a port used again after FIN is a new flow", |t, v6| {
        t.send(&syn(v6, port::DR), To(BACKENDS));
        t.send(&tcp(v6, port::DR, FIN_ACK), To(BACKENDS));
        t.send(&syn(v6, port::DR), To(BACKENDS));
        assert_eq!((state(t, v6, port::DR, TCP), loads(t, port::DR, v6)), (SYN, vec![(0, 1)]));
    }),
    ("a port used again after RST is a new flow, with both directions", |t, v6| {
        establish(t, v6);
        t.reply(&answer(v6, 11, flags::RST), To(CLIENTS));
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        t.reply(&answer(v6, 11, SYN_ACK), To(CLIENTS));
        assert_eq!(state(t, v6, port::NAT, TCP), SYN_RECV);
    }),
    ("a port used again in TIME_WAIT is a new flow", |t, v6| {
        establish(t, v6);
        t.send(&tcp(v6, port::NAT, FIN_ACK), To(BACKENDS));
        t.reply(&answer(v6, 11, FIN_ACK), To(CLIENTS));
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        assert_eq!(state(t, v6, port::NAT, TCP), SYN);
    }),
    ("udp: the first datagram, and the second", |t, v6| {
        for port in [port::NAT, port::DR] {
            t.send(&udp(v6, port), To(BACKENDS));
            assert_eq!(state(t, v6, port, UDP), UDP_NEW);
            t.send(&udp(v6, port), To(BACKENDS));
            assert_eq!(state(t, v6, port, UDP), lb_l4::abi::flow_state::UDP);
        }
    }),
    ("udp: an answer", |t, v6| {
        t.send(&udp(v6, port::NAT), To(BACKENDS));
        t.reply(&answer_udp(v6, 11), To(CLIENTS));
        assert_eq!(state(t, v6, port::NAT, UDP), lb_l4::abi::flow_state::UDP);
    }),
    ("load: half open and closing flows are inactive", |t, v6| {
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        assert_eq!(loads(t, port::NAT, v6), [(0, 1)]);
        t.reply(&answer(v6, 11, SYN_ACK), To(CLIENTS));
        t.send(&tcp(v6, port::NAT, flags::ACK), To(BACKENDS));
        assert_eq!(loads(t, port::NAT, v6), [(1, 0)]);
        t.reply(&answer(v6, 11, FIN_ACK), To(CLIENTS));
        assert_eq!(loads(t, port::NAT, v6), [(0, 1)]);
    }),
    ("a half open flow expires", |t, v6| {
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        t.advance(world::SYN + world::SYN / 4);
        t.reply(&answer(v6, 11, SYN_ACK), Pass);
        t.send(&tcp(v6, port::NAT, flags::ACK), Drop(NoFlow));
    }),
    ("an established flow outlives the time of a half open one", |t, v6| {
        establish(t, v6);
        t.advance(world::SYN * 2);
        t.send(&tcp(v6, port::NAT, DATA), To(BACKENDS));
    }),
    ("packets of either side keep a flow alive", |t, v6| {
        establish(t, v6);
        for _ in 0..3 {
            t.advance(world::ESTABLISHED - world::ESTABLISHED / 8);
            t.send(&tcp(v6, port::NAT, DATA), To(BACKENDS));
            t.advance(world::ESTABLISHED - world::ESTABLISHED / 8);
            t.reply(&answer(v6, 11, DATA), To(CLIENTS));
        }
    }),
    ("an idle flow expires", |t, v6| {
        establish(t, v6);
        t.advance(world::ESTABLISHED + world::ESTABLISHED / 4);
        t.send(&tcp(v6, port::NAT, DATA), Drop(NoFlow));
        t.reply(&answer(v6, 11, DATA), Pass);
    }),
    ("an expired flow is replaced by a new one", |t, v6| {
        for port in [port::NAT, port::DR] {
            t.send(&udp(v6, port), To(BACKENDS));
            t.advance(world::DATAGRAM * 2);
            t.send(&udp(v6, port), To(BACKENDS));
            assert_eq!(state(t, v6, port, UDP), UDP_NEW);
        }
    }),
    ("a reset that both ends ignore does not end a flow", |t, v6| {
        establish(t, v6);
        t.send(&tcp(v6, port::NAT, flags::RST), To(BACKENDS));
        for _ in 0..3 {
            t.advance(world::CLOSE);
            t.send(&tcp(v6, port::NAT, DATA), To(BACKENDS));
        }
        t.advance(world::CLOSE * 2);
        t.send(&tcp(v6, port::NAT, DATA), Drop(NoFlow));
    }),
    ("a client that has closed may go on receiving", |t, v6| {
        t.send(&syn(v6, port::DR), To(BACKENDS));
        t.send(&tcp(v6, port::DR, FIN_ACK), To(BACKENDS));
        for _ in 0..3 {
            t.advance(world::FIN);
            t.send(&tcp(v6, port::DR, flags::ACK), To(BACKENDS));
        }
        t.advance(world::FIN * 2);
        t.send(&tcp(v6, port::DR, flags::RST), Drop(NoFlow));
    }),
    ("mid-stream without a flow: round-robin and least-connections drop", |t, v6| {
        for port in [port::NAT, port::NAT_LEAST, port::DR_ROUND_ROBIN] {
            t.send(&tcp(v6, port, DATA), Drop(NoFlow));
        }
    }),
    ("mid-stream without a flow: hashes adopt", |t, v6| {
        for port in [port::NAT_SOURCE, port::DR, port::DR_FLOW, port::TUNNEL] {
            t.send(&tcp(v6, port, DATA), To(BACKENDS));
            assert_eq!(state(t, v6, port, TCP), SYN_RECV, "anybody can send one packet");
            t.send(&tcp(v6, port, DATA), To(BACKENDS));
            assert_eq!(state(t, v6, port, TCP), ESTABLISHED);
        }
        assert_eq!(t.counter(Adopted), 4);
    }),
    ("a FIN without a flow is adopted as such", |t, v6| {
        t.send(&tcp(v6, port::DR, FIN_ACK), To(BACKENDS));
        assert_eq!(state(t, v6, port::DR, TCP), FIN);
    }),
    ("neither RST nor SYN-ACK makes a flow", |t, v6| {
        for port in [port::NAT, port::NAT_SOURCE, port::DR, port::TUNNEL] {
            for flags in [flags::RST, RST_ACK, SYN_ACK, flags::SYN | flags::RST] {
                t.send(&tcp(v6, port, flags), Drop(NoFlow));
            }
        }
    }),
    ("a segment without any flag is adopted by a hash, and else dropped", |t, v6| {
        t.send(&tcp(v6, port::DR, 0), To(BACKENDS));
        t.send(&tcp(v6, port::NAT, 0), Drop(NoFlow));
    }),
];

fn establish(t: &mut Bench, v6: bool) {
    t.send(&syn(v6, port::NAT), To(BACKENDS));
    t.reply(&answer(v6, 11, SYN_ACK), To(CLIENTS));
    t.send(&tcp(v6, port::NAT, flags::ACK), To(BACKENDS));
}

fn loads(t: &Bench, port: u16, v6: bool) -> Vec<(u32, u32)> {
    t.loads(world::frontend(port, v6, TCP))
}

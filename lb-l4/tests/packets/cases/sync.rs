//! Flows of another node, and their packets here.

use std::net::IpAddr;

use lb_l4::abi::{FlowKey, Import, dest_state, flow_flag, flow_state, imported};

use super::{Case, DATA, FIN_ACK, SYN_ACK, answer, answer_udp, client, server, syn, tcp, udp, vip};
use crate::harness::bench::Bench;
use crate::harness::bench::Expect::{Answer, To, Up};
use crate::harness::net::{self, BACKENDS, CLIENTS};
use crate::harness::world::{self, port};
use crate::model::{TCP, UDP, flags};
use crate::packet::Build;

/// Jiffies; two words about one flow are so far apart.
const LATER: u32 = 100_000;

/// The established flow that the usual client has at the other node, with the nth backend.
fn flow(t: &Bench, v6: bool, port: u16, proto: u8, nth: usize) -> Import {
    Import {
        key: key(client(v6), vip(v6, port), proto),
        dest: t.dests(port, v6, proto)[nth] as u32,
        incarnation: 1,
        age: LATER,
        lived: 2 * LATER,
        state: if proto == TCP { flow_state::ESTABLISHED } else { flow_state::UDP },
        ..Import::default()
    }
}

fn key(src: (IpAddr, u16), dst: (IpAddr, u16), proto: u8) -> FlowKey {
    let (sport, dport) = (src.1.into(), dst.1.into());
    FlowKey { src: src.0.into(), dst: dst.0.into(), sport, dport, proto, zero: [0; 3] }
}

fn enter(t: &mut Bench, import: Import) {
    assert_eq!(t.enter(&import), imported::MADE);
}

pub const CASES: &[Case] = &[
    ("nat: tcp goes on in both directions", |t, v6| {
        enter(t, flow(t, v6, port::NAT_LEAST, TCP, 1));
        let left = t.send(&tcp(v6, port::NAT_LEAST, DATA).data(100), To(BACKENDS));
        assert_eq!(left.dst(), server(v6, 12).into());
        let left = t.reply(&answer(v6, 12, DATA).data(100), To(CLIENTS));
        assert_eq!((left.src(), left.dst()), (vip(v6, port::NAT_LEAST).into(), client(v6).into()));
        t.send(&tcp(v6, port::NAT_LEAST, FIN_ACK), To(BACKENDS));
        t.reply(&answer(v6, 12, FIN_ACK), To(CLIENTS));
    }),
    ("nat: udp goes on, whoever speaks first", |t, v6| {
        enter(t, flow(t, v6, port::NAT_LEAST, UDP, 1));
        let left = t.reply(&answer_udp(v6, 12), To(CLIENTS));
        assert_eq!((left.src(), left.dst()), (vip(v6, port::NAT_LEAST).into(), client(v6).into()));
        assert_eq!(t.send(&udp(v6, port::NAT_LEAST), To(BACKENDS)).dst(), server(v6, 12).into());
    }),
    ("nat: the client's first packet shows the way back to one that the kernel does not know", |t, v6| {
        let unknown = net::backend(v6, 1, net::SILENT);
        for (client, speaks_first, back) in [((unknown, 5), false, Up), ((unknown, 6), true, To(CLIENTS))] {
            let key = key(client, vip(v6, port::NAT_LEAST), TCP);
            enter(t, Import { key, ..flow(t, v6, port::NAT_LEAST, TCP, 1) });
            if speaks_first {
                t.send(&Build::tcp(client, vip(v6, port::NAT_LEAST), DATA), To(BACKENDS));
            }
            t.reply(&Build::tcp(server(v6, 12), client, DATA), back);
        }
    }),
    ("dr: tcp and udp go to the backend that they went to", |t, v6| {
        for proto in [TCP, UDP] {
            enter(t, flow(t, v6, port::DR_ROUND_ROBIN, proto, 1));
        }
        for packet in [tcp(v6, port::DR_ROUND_ROBIN, DATA), udp(v6, port::DR_ROUND_ROBIN)] {
            assert_eq!(t.send(&packet, To(BACKENDS)).0[5], 12, "the MAC address of backend 12");
        }
    }),
    ("tunnel: tcp and udp go on", |t, v6| {
        for proto in [TCP, UDP] {
            enter(t, flow(t, v6, port::TUNNEL, proto, 0));
        }
        t.send(&tcp(v6, port::TUNNEL, DATA), To(BACKENDS));
        t.send(&udp(v6, port::TUNNEL), To(BACKENDS));
    }),
    ("snat of a list: the backend sees the address and the port that it saw before", |t, v6| {
        for proto in [TCP, UDP] {
            let snat = (world::snat(v6, 1).into(), (world::SNAT_PORTS.0 + 2).into());
            enter(t, Import { snat: snat.0, snat_port: snat.1, ..flow(t, v6, port::SNAT, proto, 0) });
        }
        let ours = (world::snat(v6, 1), world::SNAT_PORTS.0 + 2);
        assert_eq!(t.send(&tcp(v6, port::SNAT, DATA), To(BACKENDS)).src(), ours.into());
        let left = t.reply(&Build::tcp(server(v6, 11), ours, DATA), To(CLIENTS));
        assert_eq!((left.src(), left.dst()), (vip(v6, port::SNAT).into(), client(v6).into()));
        assert_eq!(t.send(&udp(v6, port::SNAT), To(BACKENDS)).src(), ours.into());
        t.reply(&Build::udp(server(v6, 11), ours), To(CLIENTS));
    }),
    ("snat: an address and a port that another flow has are not taken from it", |t, v6| {
        let ours = t.send(&syn(v6, port::SNAT).with(|p| p.set_sport(9)), To(BACKENDS)).src();
        let (snat, snat_port) = (ours.ip().into(), ours.port().into());
        let import = Import { snat, snat_port, ..flow(t, v6, port::SNAT, TCP, 0) };
        assert_eq!(t.enter(&import), imported::TAKEN);
    }),
    ("nat: a reply that another flow would get is not taken from it", |t, v6| {
        open(t, v6, port::NAT);
        // The same client and port, the same backend, another frontend.
        assert_eq!(t.enter(&flow(t, v6, port::NAT_SOURCE, TCP, 0)), imported::TAKEN);
    }),
    ("a flow of every port", |t, v6| {
        let packet = Build::tcp(client(v6), (world::vip_all(v6), 5060), DATA);
        let key = key(client(v6), (world::vip_all(v6), 5060), TCP);
        enter(t, Import { key, ..flow(t, v6, port::ALL, TCP, 0) });
        assert_eq!(t.send(&packet, To(BACKENDS)).dst().port(), 5060);
    }),
    ("what this node has seen later holds", |t, v6| {
        open(t, v6, port::NAT_LEAST);
        assert_eq!(t.enter(&flow(t, v6, port::NAT_LEAST, TCP, 1)), imported::OLDER);
        t.send(&tcp(v6, port::NAT_LEAST, DATA), To(BACKENDS));
    }),
    ("what the other one has seen later holds", |t, v6| {
        open(t, v6, port::NAT_LEAST);
        t.advance(2 * LATER);
        assert_eq!(t.enter(&flow(t, v6, port::NAT_LEAST, TCP, 1)), imported::MADE);
        assert_eq!(t.send(&tcp(v6, port::NAT_LEAST, DATA), To(BACKENDS)).dst(), server(v6, 12).into());
    }),
    ("what was passed on must be later by a second", |t, v6| {
        open(t, v6, port::NAT_LEAST);
        t.advance(LATER + world::HZ / 2);
        let hearsay = Import { flags: flow_flag::SYNCED, ..flow(t, v6, port::NAT_LEAST, TCP, 0) };
        assert_eq!(t.enter(&hearsay), imported::OLDER);
        t.advance(world::HZ);
        assert_eq!(t.enter(&hearsay), imported::CHANGED);
    }),
    ("a flow that ends there ends here", |t, v6| {
        enter(t, flow(t, v6, port::NAT_LEAST, TCP, 1));
        let end = Import { state: flow_state::CLOSED, age: 0, ..flow(t, v6, port::NAT_LEAST, TCP, 1) };
        assert_eq!(t.enter(&end), imported::CHANGED);
        // The port is free for a new connection, wherever that goes.
        assert_eq!(t.send(&syn(v6, port::NAT_LEAST), To(BACKENDS)).dst(), server(v6, 11).into());
        t.reply(&answer(v6, 11, SYN_ACK), To(CLIENTS));
    }),
    ("one side has closed: the other may still speak", |t, v6| {
        let half = Import { state: flow_state::FIN, flags: flow_flag::FIN_FWD, ..flow(t, v6, port::NAT_LEAST, TCP, 1) };
        enter(t, half);
        t.reply(&answer(v6, 12, DATA), To(CLIENTS));
        t.reply(&answer(v6, 12, FIN_ACK), To(CLIENTS));
        assert_eq!(super::state(t, v6, port::NAT_LEAST, TCP), flow_state::TIME_WAIT);
    }),
    ("what has ended or expired is not entered", |t, v6| {
        for (state, age) in [
            (flow_state::CLOSED, 0),
            (flow_state::TIME_WAIT, 0),
            (flow_state::ESTABLISHED, world::ESTABLISHED),
            (flow_state::FIN, world::FIN),
        ] {
            assert_eq!(t.enter(&Import { state, age, ..flow(t, v6, port::NAT, TCP, 0) }), imported::OVER);
        }
    }),
    ("a destination that is gone, or another one now", |t, v6| {
        let import = flow(t, v6, port::NAT, TCP, 0);
        assert_eq!(t.enter(&Import { incarnation: 2, ..import }), imported::GONE);
        t.configure(|config| config.dests[import.dest as usize].state = dest_state::UNUSED);
        assert_eq!(t.enter(&import), imported::GONE);
    }),
    ("a destination that is down: its frontend's rule holds", |t, v6| {
        let import = flow(t, v6, port::NAT_RESET, TCP, 0);
        t.configure(|config| config.dests[import.dest as usize].state = dest_state::DOWN);
        enter(t, import);
        t.send(&tcp(v6, port::NAT_RESET, DATA), Answer);
    }),
    ("another backend than before: it is moved", |t, v6| {
        enter(t, flow(t, v6, port::NAT_LEAST, TCP, 1));
        let moved = Import { age: 0, ..flow(t, v6, port::NAT_LEAST, TCP, 0) };
        assert_eq!(t.enter(&moved), imported::MADE);
        assert_eq!(t.send(&tcp(v6, port::NAT_LEAST, DATA), To(BACKENDS)).dst(), server(v6, 11).into());
        t.reply(&answer(v6, 11, DATA), To(CLIENTS));
    }),
    ("a client with such a flow is known to its frontend", |t, v6| {
        enter(t, flow(t, v6, port::NAT_PERSIST, TCP, 1));
        let again = syn(v6, port::NAT_PERSIST).with(|p| p.set_sport(5));
        assert_eq!(t.send(&again, To(BACKENDS)).dst(), server(v6, 12).into());
    }),
    ("the first packet makes it ours", |t, v6| {
        enter(t, flow(t, v6, port::NAT, TCP, 0));
        t.send(&tcp(v6, port::NAT, DATA), To(BACKENDS));
        let own = t.model.state.flows.values().all(|entry| entry.flags & flow_flag::SYNCED == 0);
        assert!(own && t.model.state.flows.len() == 2);
        // As after a failover: what the other node says of the time before counts no more.
        assert_eq!(t.enter(&flow(t, v6, port::NAT, TCP, 0)), imported::OLDER);
    }),
    ("a flow as its own reply is refused", |t, v6| {
        open(t, v6, port::NAT);
        let reply = key(server(v6, 11), client(v6), TCP);
        assert_eq!(t.enter(&Import { key: reply, ..flow(t, v6, port::NAT, TCP, 0) }), imported::TAKEN);
        t.reply(&answer(v6, 11, DATA), To(CLIENTS));
    }),
];

/// A connection here, to the first backend.
fn open(t: &mut Bench, v6: bool, port: u16) {
    t.send(&syn(v6, port), To(BACKENDS));
    t.reply(&answer(v6, 11, SYN_ACK), To(CLIENTS));
    t.send(&tcp(v6, port, flags::ACK), To(BACKENDS));
}

//! Which backend a new flow gets, and that it stays there.

use std::collections::HashMap;
use std::net::SocketAddr;

use lb_l4::abi::Counter::{NoBackend, Stateless};
use lb_l4::abi::dest_state;

use super::{Case, DATA, SYN_ACK, client, host, server, syn, tcp, udp, vip};
use crate::harness::bench::Bench;
use crate::harness::bench::Expect::{Drop, To};
use crate::harness::net::{BACKENDS, CLIENTS};
use crate::harness::world::{self, port};
use crate::model::{TCP, UDP, flags};
use crate::packet::Build;

pub const CASES: &[Case] = &[
    ("round-robin takes turns", |t, v6| {
        let went: Vec<SocketAddr> = (1..=5).map(|sport| new_flow(t, v6, port::NAT_REBIND, sport)).collect();
        let turns = [11, 12, 11, 12, 11].map(|n| SocketAddr::from(server(v6, n)));
        assert_eq!(went, turns);
    }),
    ("round-robin goes on where the ring has become smaller", |t, v6| {
        new_flow(t, v6, port::NAT_REBIND, 1);
        let frontend = world::frontend(port::NAT_REBIND, v6, TCP);
        t.frontend(frontend, |frontend| frontend.ring -= 1);
        for sport in 2..5 {
            assert_eq!(new_flow(t, v6, port::NAT_REBIND, sport), server(v6, 11).into());
        }
    }),
    ("every frontend has turns of its own", |t, v6| {
        assert_eq!(new_flow(t, v6, port::NAT_REBIND, 1), server(v6, 11).into());
        assert_eq!(new_flow(t, v6, port::NAT_RESET, 2), server(v6, 11).into());
        assert_eq!(new_flow(t, v6, port::NAT_REBIND, 3), server(v6, 12).into());
    }),
    ("least-connections goes where the load is least for the weight", |t, v6| {
        let mut went = HashMap::<SocketAddr, u32>::new();
        for sport in 1..=8 {
            *went.entry(new_flow(t, v6, port::NAT_LEAST, sport)).or_default() += 1;
        }
        assert_eq!([11, 12, 13].map(|n| went[&SocketAddr::from(server(v6, n))]), [2, 2, 4]);
    }),
    ("least-connections counts an active one as 256", |t, v6| {
        t.send(&syn(v6, port::NAT_LEAST), To(BACKENDS));
        t.reply(&super::answer(v6, 11, SYN_ACK), To(CLIENTS));
        t.send(&tcp(v6, port::NAT_LEAST, flags::ACK), To(BACKENDS));
        for sport in 1..30 {
            assert_ne!(new_flow(t, v6, port::NAT_LEAST, sport), server(v6, 11).into());
        }
    }),
    ("least-connections passes over those that take nothing", |t, v6| {
        set(t, v6, port::NAT_LEAST, &[0, 2], dest_state::DRAIN);
        for sport in 1..5 {
            assert_eq!(new_flow(t, v6, port::NAT_LEAST, sport), server(v6, 12).into());
        }
        set(t, v6, port::NAT_LEAST, &[1], dest_state::DOWN);
        t.send(&syn(v6, port::NAT_LEAST), Drop(NoBackend));
    }),
    ("ip-hash: one client, one backend", |t, v6| {
        let first = new_flow(t, v6, port::NAT_SOURCE, 1);
        for sport in 2..20 {
            assert_eq!(new_flow(t, v6, port::NAT_SOURCE, sport), first);
        }
    }),
    ("ip-hash: many clients, all backends", |t, v6| {
        let went: std::collections::HashSet<SocketAddr> = (1..40)
            .map(|n| t.send(&Build::tcp((host(v6, n), 1), vip(v6, port::NAT_SOURCE), flags::SYN), To(BACKENDS)).dst())
            .collect();
        assert_eq!(went.len(), 2);
    }),
    ("a hash of the flow: one client, all backends", |t, v6| {
        let macs: std::collections::HashSet<u8> = (1..40)
            .map(|sport| t.send(&syn(v6, port::DR_FLOW).with(|p| p.set_sport(sport)), To(BACKENDS)).0[5])
            .collect();
        assert_eq!(macs.len(), 3);
    }),
    ("a hash of the flow: the same backend after the entry is lost", |t, v6| {
        let went = |t: &mut Bench| t.send(&tcp(v6, port::DR_FLOW, DATA), To(BACKENDS)).0[5];
        let first = went(t);
        t.reset();
        assert_eq!(went(t), first);
    }),
    ("a hash passes over those that take nothing, and comes back", |t, v6| {
        let went = |t: &mut Bench| t.send(&syn(v6, port::DR_FLOW), To(BACKENDS)).0[5];
        let first = went(t);
        t.reset();
        set(t, v6, port::DR_FLOW, &[usize::from(first - 11)], dest_state::DRAIN);
        assert_ne!(went(t), first);
        t.reset();
        assert_eq!(went(t), first);
    }),
    ("a flow stays where it is when the ring turns", |t, v6| {
        let before = t.send(&syn(v6, port::DR_FLOW), To(BACKENDS)).0[5];
        let frontend = world::frontend(port::DR_FLOW, v6, TCP) as usize;
        t.configure(|config| {
            let base = (config.frontends[frontend].ring >> 32) as usize;
            config.rings[base..base + 3].rotate_left(1);
        });
        for _ in 0..3 {
            assert_eq!(t.send(&tcp(v6, port::DR_FLOW, DATA), To(BACKENDS)).0[5], before);
        }
    }),
    ("a flow stays where it is when the ring becomes empty", |t, v6| {
        for port in [port::NAT, port::DR_FLOW] {
            t.send(&udp(v6, port), To(BACKENDS));
            t.frontend(world::frontend(port, v6, UDP), |frontend| frontend.ring &= !0xFFFF_FFFF);
            t.send(&udp(v6, port), To(BACKENDS));
            t.send(&udp(v6, port).with(|p| p.set_sport(9)), Drop(NoBackend));
        }
    }),
    ("a ring of seventeen that take nothing has no backend", |t, v6| {
        let dests = t.dests(port::DR_FLOW, v6, TCP);
        let frontend = world::frontend(port::DR_FLOW, v6, TCP) as usize;
        t.configure(|config| {
            config.dests[dests[0]].state = dest_state::DRAIN;
            let base = config.rings.len() as u64;
            config.rings.extend(vec![dests[0] as u32; 40]);
            config.frontends[frontend].ring = base << 32 | 40;
        });
        t.send(&syn(v6, port::DR_FLOW), Drop(NoBackend));
    }),
    ("a ring at an odd place, with an odd size", |t, v6| {
        let dests = t.dests(port::DR_FLOW, v6, TCP);
        let frontend = world::frontend(port::DR_FLOW, v6, TCP) as usize;
        t.configure(|config| {
            let base = config.rings.len() as u64 | 1;
            config.rings.resize(base as usize, 0);
            config.rings.extend([0, 1, 2, 1, 0].map(|n| dests[n] as u32));
            config.frontends[frontend].ring = base << 32 | 5;
        });
        for sport in 1..30 {
            t.send(&syn(v6, port::DR_FLOW).with(|p| p.set_sport(sport)), To(BACKENDS));
        }
    }),
    ("over the limit of new flows, hashes go on without an entry", |t, v6| {
        t.configure(|config| config.settings.new_flows = 2);
        t.fresh_tick(v6);
        for sport in 1..=5 {
            t.send(&syn(v6, port::DR_FLOW).with(|p| p.set_sport(sport)), To(BACKENDS));
        }
        assert_eq!((t.counter(Stateless), t.model.state.flows.len()), (3, 2));
    }),
    ("over the limit of new flows, those that need an entry get it", |t, v6| {
        t.configure(|config| config.settings.new_flows = 2);
        t.fresh_tick(v6);
        for port in [port::NAT, port::NAT_SOURCE, port::DR_ROUND_ROBIN, port::DR_PERSIST] {
            for sport in 1..=3 {
                t.send(&syn(v6, port).with(|p| p.set_sport(sport)), To(BACKENDS));
            }
        }
        assert_eq!((t.counter(Stateless), t.model.state.flows.len()), (0, 18));
    }),
    ("nat: a tuple that a live flow has, on another VIP: another backend", |t, v6| {
        for port in [port::NAT_REBIND, port::NAT_RESET] {
            t.send(&udp(v6, port), To(BACKENDS));
            t.send(&udp(v6, port), To(BACKENDS));
        }
        let [a, b] = [port::NAT_REBIND, port::NAT_RESET].map(|port| t.send(&udp(v6, port), To(BACKENDS)).dst());
        assert_ne!(a, b);
    }),
    ("nat: a tuple that only a half open flow has: it gives way", |t, v6| {
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        assert_eq!(t.send(&syn(v6, port::NAT_REBIND), To(BACKENDS)).dst(), server(v6, 11).into());
        let left = t.reply(&super::answer(v6, 11, SYN_ACK), To(CLIENTS));
        assert_eq!(left.src(), vip(v6, port::NAT_REBIND).into());
        assert_eq!(super::state(t, v6, port::NAT, TCP), 0);
    }),
    ("nat, least-connections: a tuple that a live flow has: another backend", |t, v6| {
        for port in [port::NAT, port::NAT_LEAST] {
            t.send(&udp(v6, port), To(BACKENDS));
            t.send(&udp(v6, port), To(BACKENDS));
        }
        assert_eq!(t.send(&udp(v6, port::NAT_LEAST), To(BACKENDS)).dst(), server(v6, 12).into());
    }),
    ("udp and tcp, and both families, are apart", |t, v6| {
        assert_eq!(client(v6).1, 40000);
        t.send(&syn(v6, port::NAT), To(BACKENDS));
        t.send(&udp(v6, port::NAT), To(BACKENDS));
        t.send(&syn(!v6, port::NAT), To(BACKENDS));
        t.send(&udp(!v6, port::NAT), To(BACKENDS));
        assert_eq!(t.model.state.flows.len(), 8);
    }),
];

fn new_flow(t: &mut Bench, v6: bool, port: u16, sport: u16) -> SocketAddr {
    t.send(&syn(v6, port).with(|p| p.set_sport(sport)), To(BACKENDS)).dst()
}

fn set(t: &mut Bench, v6: bool, port: u16, which: &[usize], state: u8) {
    let dests = t.dests(port, v6, TCP);
    t.configure(|config| which.iter().for_each(|&n| config.dests[dests[n]].state = state));
}

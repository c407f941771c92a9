//! A client comes back to its backend.

use lb_l4::abi::Counter::NoFlow;
use lb_l4::abi::dest_state;

use super::{Case, DATA, host, server, tcp, vip};
use crate::harness::bench::Bench;
use crate::harness::bench::Expect::{Drop, To};
use crate::harness::net::BACKENDS;
use crate::harness::world::{self, port};
use crate::model::{TCP, flags};
use crate::packet::Build;

pub const CASES: &[Case] = &[
    ("every flow of a client goes to its backend", |t, v6| {
        for sport in 1..6 {
            assert_eq!(connect(t, v6, 7, sport), 11);
        }
    }),
    ("clients of one network are one client", |t, v6| {
        assert_eq!(connect(t, v6, 7, 1), 11);
        assert_eq!(connect(t, v6, 200, 1), 11);
    }),
    ("another network is another client", |t, v6| {
        let other = if v6 { "2001:db8:100:1::7" } else { "198.51.101.7" }.parse().expect("an address");
        assert_eq!(connect(t, v6, 7, 1), 11);
        let left = t.send(&Build::tcp((other, 1), vip(v6, port::NAT_PERSIST), flags::SYN), To(BACKENDS));
        assert_eq!(left.dst(), server(v6, 12).into());
    }),
    ("with the longest prefix, every address is a client", |t, v6| {
        let frontend = world::frontend(port::NAT_PERSIST, v6, TCP);
        t.frontend(frontend, |frontend| (frontend.prefix4, frontend.prefix6) = (32, 128));
        assert_eq!([7, 8, 7, 8].map(|n| connect(t, v6, n, 20 + n)), [11, 12, 11, 12]);
    }),
    ("with no prefix, all are one client", |t, v6| {
        let frontend = world::frontend(port::NAT_PERSIST, v6, TCP);
        t.frontend(frontend, |frontend| (frontend.prefix4, frontend.prefix6) = (0, 0));
        let other = if v6 { "fd01::13" } else { "10.1.0.13" }.parse().expect("an address");
        assert_eq!(connect(t, v6, 7, 1), 11);
        let left = t.send(&Build::tcp((other, 1), vip(v6, port::NAT_PERSIST), flags::SYN), To(BACKENDS));
        assert_eq!(left.dst(), server(v6, 11).into());
    }),
    ("a prefix between two bytes", |t, v6| {
        let frontend = world::frontend(port::NAT_PERSIST, v6, TCP);
        t.frontend(frontend, |frontend| (frontend.prefix4, frontend.prefix6) = (29, 125));
        assert_eq!([0, 7, 8].map(|n| connect(t, v6, n, 20 + n)), [11, 11, 12]);
    }),
    ("dr: every flow of a client goes to its backend", |t, v6| {
        for sport in 1..6 {
            let packet = tcp(v6, port::DR_PERSIST, flags::SYN).with(|p| p.set_sport(sport));
            assert_eq!(t.send(&packet, To(BACKENDS)).0[5], 11);
        }
    }),
    ("it ends some time after the last flow began", |t, v6| {
        connect(t, v6, 7, 1);
        t.advance(world::PERSIST - 100_000);
        assert_eq!(connect(t, v6, 7, 2), 11);
        t.advance(world::PERSIST - 100_000);
        assert_eq!(connect(t, v6, 7, 3), 11);
        t.advance(world::PERSIST + 100_000);
        assert_eq!(connect(t, v6, 7, 4), 12);
    }),
    ("it ends with its backend", |t, v6| {
        for state in [dest_state::DRAIN, dest_state::DOWN, dest_state::UNUSED] {
            t.reset();
            connect(t, v6, 7, 1);
            let dest = t.dests(port::NAT_PERSIST, v6, TCP)[0];
            t.configure(|config| config.dests[dest].state = state);
            assert_eq!(connect(t, v6, 7, 2), 12);
            assert_eq!(connect(t, v6, 7, 3), 12);
            t.configure(|config| config.dests[dest].state = dest_state::READY);
            assert_eq!(connect(t, v6, 7, 4), 12);
        }
    }),
    ("it does not go over to the next backend of the slot", |t, v6| {
        connect(t, v6, 7, 1);
        let dest = t.dests(port::NAT_PERSIST, v6, TCP)[0];
        t.configure(|config| config.dests[dest].incarnation += 1);
        assert_eq!(connect(t, v6, 7, 2), 12);
    }),
    ("mid-stream without a flow: a client that is known is adopted", |t, v6| {
        t.send(&tcp(v6, port::NAT_PERSIST, DATA), Drop(NoFlow));
        connect(t, v6, 7, 1);
        assert_eq!(t.send(&tcp(v6, port::NAT_PERSIST, DATA), To(BACKENDS)).dst(), server(v6, 11).into());
    }),
    ("mid-stream without a flow: a client that was known is not", |t, v6| {
        connect(t, v6, 7, 1);
        t.advance(world::PERSIST * 2);
        t.send(&tcp(v6, port::NAT_PERSIST, DATA), Drop(NoFlow));
    }),
];

/// Number of the backend that a new connection of a client gets.
fn connect(t: &mut Bench, v6: bool, client: u16, sport: u16) -> u8 {
    let packet = Build::tcp((host(v6, client), sport), vip(v6, port::NAT_PERSIST), flags::SYN);
    let went = t.send(&packet, To(BACKENDS)).dst();
    (11..=12).find(|&n| went == server(v6, n).into()).expect("one of the two backends")
}

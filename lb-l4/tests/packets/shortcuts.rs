//! Short cuts: that they lead where the flow does, and end when it does. Where they lead is compared with the model by
//! every other test that sends a third packet of a flow.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use lb_l4::abi::{Counter, FlowKey, SHORTCUT_LINES, SHORTCUT_WAYS, dest_state};
use lb_l4::hash::hash_table;

use crate::harness::bench::{Bench, Story};
use crate::harness::net::{self, BACKENDS, CLIENTS};
use crate::harness::world::{self, BACKEND_PORT, port};
use crate::model::{TCP, flags};
use crate::packet::Build;

const DATA: u8 = flags::PSH | flags::ACK;
const CLIENT: &str = "198.51.100.1";
const CLIENT_PORT: u16 = 40_000;
/// Terms of some minutes: long enough for a case, and shorter than the flows here are left alone.
const TICK_SHIFT: u32 = 14;
/// Bytes of data: a datagram with fewer is not looked at by fast.h.
const FAST: usize = 12;

/// Each once more where a tick ends in between: the next hops are looked up anew then, and terms may end.
pub fn run(t: &mut Bench) {
    for (name, story) in CASES {
        println!("{name}");
        let told = (0..5).any(|_| tell(t, *story));
        assert!(told, "no tick is long enough for a case");
    }
}

fn tell(t: &mut Bench, story: fn(&mut Bench)) -> bool {
    let begun = tick(t);
    let told = catch_unwind(AssertUnwindSafe(|| story(t)));
    match told {
        Err(panic) if tick(t) == begun => resume_unwind(panic),
        told => told.is_ok(),
    }
}

/// By the shortest ticks of any case.
fn tick(t: &mut Bench) -> u32 {
    t.reset();
    t.real_now() >> (TICK_SHIFT - 1)
}

const CASES: &[Story] = &[
    ("a flow that is established has one, and needs nothing else", |t| {
        for port in [port::DR_ROUND_ROBIN, port::NAT] {
            establish(t, port);
            t.lose_flows();
            assert!(t.run(CLIENTS, &tcp(port, DATA)));
            assert!(!t.run(CLIENTS, &of((client().0, CLIENT_PORT + 1), port, DATA)), "another client's");
            assert_eq!(counter(t, Counter::NoFlow), 1, "port {port}");
        }
    }),
    ("a datagram's flow has one", |t| {
        begin(t);
        (0..3).for_each(|_| assert!(t.run(CLIENTS, &udp(port::NAT))));
        assert_eq!(t.shortcuts(), 1);
        assert!(!t.run(CLIENTS, &tcp(port::NAT, DATA)), "TCP is another flow");
    }),
    ("it ends with its term", |t| {
        establish(t, port::DR_ROUND_ROBIN);
        t.lose_flows();
        // That of half as long ticks, but for the minutes in which a kernel's clock is near 0.
        let now = t.real_now();
        let differs = |shift: &u32| now >> shift >> 3 != now >> TICK_SHIFT >> 3;
        let of_another_term = (0..TICK_SHIFT).rev().find(differs).expect("a clock that has begun");
        t.configure(|config| config.settings.tick_shift = of_another_term);
        // Next hops are known again by now, so that is not what it lacks.
        neighbours().take(4).for_each(|other| assert!(t.run(CLIENTS, &of(other, port::DR_ROUND_ROBIN, flags::SYN))));
        assert!(!t.run(CLIENTS, &tcp(port::DR_ROUND_ROBIN, DATA)));
    }),
    ("a flow that is due before the end of the term has none", |t| {
        begin(t);
        t.configure(|config| config.settings.tick_shift = 27);
        t.run(CLIENTS, &tcp(port::DR, flags::SYN));
        t.run(CLIENTS, &tcp(port::DR, flags::ACK));
        t.age(world::ESTABLISHED / 8 - 10_000);
        (0..3).for_each(|_| assert!(t.run(CLIENTS, &tcp(port::DR, DATA))));
        assert_eq!(t.shortcuts(), 0);
    }),
    ("it ends when either side closes or resets", |t| {
        for tcp_flags in [flags::FIN | flags::ACK, flags::RST] {
            for port in [port::DR, port::NAT] {
                establish(t, port);
                t.run(CLIENTS, &tcp(port, tcp_flags));
                assert_eq!(t.shortcuts(), 0, "port {port}, flags {tcp_flags}");
            }
            establish(t, port::NAT);
            t.run(BACKENDS, &reply(tcp_flags));
            assert_eq!(t.shortcuts(), 0, "from the backend, flags {tcp_flags}");
        }
    }),
    ("it ends when the flow goes to another backend", |t| {
        establish(t, port::NAT_REBIND);
        down(t, port::NAT_REBIND);
        assert!(t.run(CLIENTS, &tcp(port::NAT_REBIND, DATA)));
        assert_eq!((counter(t, Counter::Rebound), t.shortcuts()), (1, 0));
    }),
    ("it ends when the flow is reset for want of its backend", |t| {
        establish(t, port::DR_RESET);
        down(t, port::DR_RESET);
        t.run(CLIENTS, &tcp(port::DR_RESET, DATA));
        assert_eq!((counter(t, Counter::BackendDown), t.shortcuts()), (1, 0));
    }),
    ("what was forwarded by one is counted", |t| {
        establish(t, port::DR);
        let before = packets_in(t);
        (0..5).for_each(|_| assert!(t.run(CLIENTS, &tcp(port::DR, DATA))));
        assert_eq!(packets_in(t), before + 5);
    }),
    ("replies, IPv6, source NAT and tunnels have none", |t| {
        begin(t);
        for port in [port::SNAT, port::TUNNEL] {
            (0..3).for_each(|_| assert!(t.run(CLIENTS, &udp(port))));
        }
        let client6 = ("2001:db8:9::1".parse().expect("an address"), CLIENT_PORT);
        let v6 = Build::udp(client6, (world::vip(true), port::DR)).data(FAST);
        (0..3).for_each(|_| assert!(t.run(CLIENTS, &v6.frame())));
        t.run(CLIENTS, &udp(port::NAT));
        let answer = Build::udp((backend(), BACKEND_PORT), client()).data(FAST);
        (0..3).for_each(|_| assert!(t.run(BACKENDS, &answer.frame())));
        assert_eq!(t.shortcuts(), 0);
    }),
    ("a line that is full leaves the others to the table", |t| {
        begin(t);
        let clients: Vec<_> = of_one_line(t, neighbours()).take(SHORTCUT_WAYS + 1).collect();
        for tcp_flags in [flags::SYN, flags::ACK, DATA, DATA] {
            clients.iter().for_each(|client| assert!(t.run(CLIENTS, &of(*client, port::DR_ROUND_ROBIN, tcp_flags))));
        }
        assert_eq!((clients.len(), t.shortcuts()), (SHORTCUT_WAYS + 1, SHORTCUT_WAYS));
    }),
    ("it is nobody else's of the same line", |t| {
        begin(t);
        let clients: Vec<_> = of_one_line(t, neighbours()).take(SHORTCUT_WAYS).collect();
        for tcp_flags in [flags::SYN, flags::ACK, DATA] {
            assert!(t.run(CLIENTS, &of(clients[0], port::DR_ROUND_ROBIN, tcp_flags)));
        }
        t.lose_flows();
        let leaves: Vec<_> =
            clients.iter().map(|client| t.run(CLIENTS, &of(*client, port::DR_ROUND_ROBIN, DATA))).collect();
        assert_eq!(leaves, [true, false, false, false]);
    }),
];

fn begin(t: &mut Bench) {
    t.reset();
    t.configure(|config| config.settings.tick_shift = TICK_SHIFT);
}

/// A connection of which the client has sent data.
fn establish(t: &mut Bench, port: u16) {
    begin(t);
    t.run(CLIENTS, &tcp(port, flags::SYN));
    t.run(BACKENDS, &reply(flags::SYN | flags::ACK));
    t.run(CLIENTS, &tcp(port, flags::ACK));
    assert_eq!(t.shortcuts(), 0, "port {port}");
    assert!(t.run(CLIENTS, &tcp(port, DATA)), "port {port}");
    assert_eq!(t.shortcuts(), 1, "port {port}");
}

fn tcp(port: u16, tcp: u8) -> Vec<u8> {
    of(client(), port, tcp)
}

fn of(client: (IpAddr, u16), port: u16, tcp: u8) -> Vec<u8> {
    Build::tcp(client, (world::vip(false), port), tcp).frame()
}

fn client() -> (IpAddr, u16) {
    (CLIENT.parse().expect("an address"), CLIENT_PORT)
}

fn udp(port: u16) -> Vec<u8> {
    Build::udp(client(), (world::vip(false), port)).data(FAST).frame()
}

fn reply(tcp: u8) -> Vec<u8> {
    Build::tcp((backend(), BACKEND_PORT), client(), tcp).frame()
}

fn backend() -> IpAddr {
    net::backend(false, 2, 11)
}

/// Clients whose flows to `port::DR_ROUND_ROBIN` have their short cuts in the line of the first one's.
fn of_one_line(t: &Bench, clients: impl Iterator<Item = (IpAddr, u16)>) -> impl Iterator<Item = (IpAddr, u16)> {
    let seed = t.model.config.settings.flow_seed;
    let line = move |client: (IpAddr, u16)| {
        let (src, dst) = (client.0.into(), world::vip(false).into());
        let key =
            FlowKey { src, dst, sport: client.1.into(), dport: port::DR_ROUND_ROBIN.into(), proto: 6, zero: [0; 3] };
        hash_table(&key, seed) >> 16 & u64::from(SHORTCUT_LINES - 1)
    };
    let mut clients = clients.peekable();
    let wanted = clients.peek().copied().map(line);
    clients.filter(move |client| Some(line(*client)) == wanted)
}

fn neighbours() -> impl Iterator<Item = (IpAddr, u16)> {
    (1..=u16::MAX).map(|n| [198, 18, (n >> 8) as u8, n as u8]).map(|client| (client.into(), CLIENT_PORT))
}

/// Where the flow is.
fn down(t: &mut Bench, port: u16) {
    let first = t.dests(port, false, TCP)[0];
    t.configure(|config| config.dests[first].state = dest_state::DOWN);
}

fn counter(t: &Bench, counter: Counter) -> u64 {
    t.program_state().counters[counter as usize]
}

fn packets_in(t: &Bench) -> u64 {
    t.program_state().stats.iter().map(|stats| stats.packets_in).sum()
}

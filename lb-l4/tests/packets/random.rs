//! Sequences of packets made by proptest, valid ones and slightly broken ones, while the control plane
//! changes destinations, rings and time.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use lb_l4::abi::{Addr, Dest, FlowKey, dest_state};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngSeed, TestRunner};

use crate::checks;
use crate::harness::bench::Bench;
use crate::harness::net::{self, BACKENDS, CLIENTS, SMALL};
use crate::harness::world::{self, port};
use crate::model::{TCP, Verdict, flags};
use crate::packet::{Body, Build, OUR_MAC, STRANGER};

const SEQUENCES: u32 = 1000;
/// In a guest whose CPU is emulated (tests/kernels).
const FEWER: u32 = 100;
/// So that all of them together are more than 50,000 on each of the two hooks.
const LENGTH: std::ops::Range<usize> = 40..80;

#[derive(Debug, Clone)]
enum Step {
    /// From a client to a frontend.
    Request(Shape, u8, u16, u16),
    /// Of a flow that exists, in its direction.
    Follow(Shape, Index),
    /// A later fragment of what a flow carries.
    Rest(Index, u16, bool, u8),
    /// An error about a packet of a flow: kind, code, the rest of its header, and how much is quoted.
    Error(Index, u8, u8, u32, Index, Option<Mutation>),
    /// That of a flow changes its state.
    Destination(Index, u8),
    /// Its slot is given to another backend.
    Successor(Index),
    /// Another size, and turned.
    Ring(Index, Index),
    Later(u32),
}

/// What a packet looks like.
#[derive(Debug, Clone)]
struct Shape {
    v6: bool,
    tcp: bool,
    flags: u8,
    length: usize,
    ttl: u8,
    tags: usize,
    extended: bool,
    checksum: bool,
    first: bool,
    options: Vec<u8>,
    ingress: u32,
    to: [u8; 6],
    mutation: Option<Mutation>,
}

#[derive(Debug, Clone)]
enum Mutation {
    Flip(Index, u8),
    Cut(Index),
    Pad(u8),
}

/// Number of packets.
pub fn run(bench: Bench) -> u64 {
    let seed = std::env::var("LB_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("seed {seed}: LB_TEST_SEED={seed} repeats this run");
    let cases = if std::env::var_os("LB_TEST_EMULATED").is_some() { FEWER } else { SEQUENCES };
    let config = Config { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Config::default() };
    let (bench, packets) = (RefCell::new(bench), Cell::new(0));
    let outcome = TestRunner::new(config).run(&prop::collection::vec(step(), LENGTH), |steps| {
        let mut bench = bench.borrow_mut();
        bench.reset();
        for step in &steps {
            packets.set(packets.get() + 1);
            take(&mut bench, step).map_err(TestCaseError::fail)?;
        }
        let differences = bench.state_differences();
        prop_assert!(differences.is_empty(), "{}", differences.join("\n"));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    packets.get()
}

fn step() -> impl Strategy<Value = Step> {
    let all = select(world::ports().collect::<Vec<_>>());
    let busy = select(vec![
        port::NAT_REBIND,
        port::NAT_RESET,
        port::NAT_KEEP,
        port::DR_RESET,
        port::SNAT,
        port::SNAT_LEAST,
        port::SNAT_AUTO,
        port::TUNNEL,
    ]);
    let request = (shape(), 0..4_u8, 1..6_u16, prop_oneof![all, busy]);
    let error = (any::<Index>(), 0..13_u8, 0..6_u8, mtu(), any::<Index>(), mutation());
    let state = select(vec![dest_state::UNUSED, dest_state::READY, dest_state::DRAIN, dest_state::DOWN]);
    prop_oneof![
        12 => request.prop_map(|(shape, client, sport, port)| Step::Request(shape, client, sport, port)),
        20 => (shape(), any::<Index>()).prop_map(|(shape, flow)| Step::Follow(shape, flow)),
        3 => (any::<Index>(), 0..9_u16, any::<bool>(), ttl()).prop_map(|(i, o, m, t)| Step::Rest(i, o, m, t)),
        5 => error.prop_map(|(flow, kind, code, head, part, m)| Step::Error(flow, kind, code, head, part, m)),
        2 => (any::<Index>(), state).prop_map(|(dest, state)| Step::Destination(dest, state)),
        1 => any::<Index>().prop_map(Step::Successor),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(frontend, turn)| Step::Ring(frontend, turn)),
        1 => select(vec![world::CLOSE, world::SYN, world::FIN, world::DATAGRAM, 600 * world::HZ]).prop_map(Step::Later),
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    let tcp_flags = prop_oneof![
        4 => select(vec![flags::SYN, flags::ACK, flags::SYN | flags::ACK, flags::FIN | flags::ACK, flags::RST]),
        1 => any::<u8>(),
    ];
    let kind =
        (any::<bool>(), any::<bool>(), tcp_flags, select(vec![0, 1, 40, 1200, 1340, 1360, 1380, 1452, 1453, 1500]));
    let looks =
        (ttl(), prop_oneof![8 => Just(0), 1 => 1..3_usize], prop::bool::weighted(0.1), prop::bool::weighted(0.8));
    let ingress = prop_oneof![6 => Just(CLIENTS), 1 => Just(BACKENDS), 1 => Just(SMALL)];
    let rest = (prop::bool::weighted(0.1), options(), ingress, destination_mac());
    (kind, looks, rest, mutation()).prop_map(
        |((v6, tcp, flags, length), (ttl, tags, extended, checksum), (first, options, ingress, to), mutation)| Shape {
            v6,
            tcp,
            flags,
            length,
            ttl,
            tags,
            extended,
            checksum,
            first,
            options,
            ingress,
            to,
            mutation,
        },
    )
}

/// Ours, nearly always.
fn destination_mac() -> impl Strategy<Value = [u8; 6]> {
    let others = select(vec![STRANGER, net::HELD, net::WAITING, [0xFF; 6], [0x33, 0x33, 0, 0, 0, 1]]);
    prop_oneof![12 => Just(OUR_MAC), 2 => others]
}

fn ttl() -> impl Strategy<Value = u8> {
    prop_oneof![10 => Just(63), 1 => 0..3_u8]
}

fn mtu() -> impl Strategy<Value = u32> {
    prop_oneof![3 => select(vec![576_u32, 1280, 1300, 1400]), 1 => any::<u32>()]
}

fn options() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => Just(Vec::new()),
        1 => select(vec![vec![2, 4, 0x05, 0xB4], vec![1, 2, 4, 0x05, 0xB4], vec![4, 2, 1, 1, 1, 2, 4, 0x05, 0xB4]]),
        1 => prop::collection::vec(select(vec![0_u8, 1, 2, 4, 5, 8, 0xB4]), 0..40),
    ]
}

fn mutation() -> impl Strategy<Value = Option<Mutation>> {
    prop_oneof![
        6 => Just(None),
        2 => (any::<Index>(), 1..=255_u8).prop_map(|(at, bits)| Some(Mutation::Flip(at, bits))),
        1 => any::<Index>().prop_map(|at| Some(Mutation::Cut(at))),
        1 => (1..60_u8).prop_map(|length| Some(Mutation::Pad(length))),
    ]
}

fn take(bench: &mut Bench, step: &Step) -> Result<(), String> {
    match step {
        Step::Request(shape, client, sport, port) => {
            let key = ends(client_addr(shape.v6, *client), *sport, frontend(shape.v6, *port), shape.tcp);
            return pass(bench, shape, key);
        }
        Step::Follow(shape, flow) => return with_flow(bench, flow, |bench, key| pass(bench, shape, key)),
        Step::Rest(flow, offset, more, ttl) => {
            return with_flow(bench, flow, |bench, key| rest(bench, &key, *offset, *more, *ttl));
        }
        Step::Error(flow, kind, code, head, part, mutation) => {
            let head = (*kind, *code, *head);
            return with_flow(bench, flow, |bench, key| error(bench, &key, head, part, mutation.as_ref()));
        }
        Step::Destination(flow, state) => destination(bench, flow, |dest| dest.state = *state),
        Step::Successor(flow) => destination(bench, flow, |dest| dest.incarnation += 1),
        Step::Ring(frontend, turn) => turn_ring(bench, frontend, turn),
        Step::Later(jiffies) => bench.advance(*jiffies),
    }
    Ok(())
}

fn with_flow(
    bench: &mut Bench,
    flow: &Index,
    then: impl FnOnce(&mut Bench, FlowKey) -> Result<(), String>,
) -> Result<(), String> {
    match flow_of(bench, flow) {
        Some(key) => then(bench, key),
        None => Ok(()),
    }
}

fn frontend(v6: bool, port: u16) -> (IpAddr, u16) {
    if port == port::ALL { (world::vip_all(v6), 80) } else { (world::vip(v6), port) }
}

fn turn_ring(bench: &mut Bench, frontend: &Index, turn: &Index) {
    bench.configure(|config| {
        let frontend = frontend.get_mut(&mut config.frontends);
        let (base, size) = ((frontend.ring >> 32) as usize, frontend.ring as u32 as usize);
        if size > 0 {
            config.rings[base..base + size].rotate_left(turn.index(size));
            frontend.ring -= turn.index(size) as u64;
        }
    });
}

/// Changes where a flow goes to.
fn destination(bench: &mut Bench, flow: &Index, change: impl FnOnce(&mut Dest)) {
    if let Some(key) = flow_of(bench, flow) {
        let dest = bench.model.state.flows[&key].dest as usize;
        bench.configure(|config| change(&mut config.dests[dest]));
    }
}

fn client_addr(v6: bool, n: u8) -> IpAddr {
    if v6 { format!("2001:db8:100::{n:x}") } else { format!("198.51.100.{n}") }.parse().expect("an address")
}

fn ends(src: IpAddr, sport: u16, (dst, dport): (IpAddr, u16), tcp: bool) -> FlowKey {
    let (sport, dport) = (sport.into(), dport.into());
    FlowKey { src: src.into(), dst: dst.into(), sport, dport, proto: if tcp { TCP } else { 17 }, zero: [0; 3] }
}

/// One of those that there are, in an order that depends on nothing else.
fn flow_of(bench: &Bench, index: &Index) -> Option<FlowKey> {
    let mut keys: Vec<FlowKey> = bench.model.state.flows.keys().copied().collect();
    keys.sort_by_key(|key| (key.src.0, key.dst.0, u16::from(key.sport), u16::from(key.dport), key.proto));
    (!keys.is_empty()).then(|| *index.get(&keys))
}

fn pass(bench: &mut Bench, shape: &Shape, key: FlowKey) -> Result<(), String> {
    let packet = shaped(shape, &key);
    check(bench, shape.ingress, packet.frame(), shape.mutation.as_ref())
}

fn shaped(shape: &Shape, key: &FlowKey) -> Build {
    let (src, dst) = (IpAddr::from(key.src), IpAddr::from(key.dst));
    let ends = ((src, key.sport.into()), (dst, key.dport.into()));
    let packet = if key.proto == TCP {
        Build::tcp(ends.0, ends.1, shape.flags).tcp_options(&shape.options)
    } else {
        Build::udp(ends.0, ends.1)
    };
    let packet = if shape.checksum { packet } else { packet.without_checksum() };
    packet.data(shape.length).with(|p| {
        p.to = shape.to;
        p.ttl = shape.ttl;
        p.tags = [(0x88A8, 7), (0x8100, 8)][..shape.tags].to_vec();
        if shape.extended {
            p.options = vec![7, 7, 4, 0, 0, 0, 0, 0];
            p.extensions = vec![(60, vec![1, 4, 0, 0, 0, 0])];
        }
        if shape.first {
            (p.fragment, p.dont_fragment) = (Some((0, true)), false);
        }
    })
}

fn rest(bench: &mut Bench, key: &FlowKey, offset: u16, more: bool, ttl: u8) -> Result<(), String> {
    let packet = Build::new(key.src.into(), key.dst.into(), Body::Raw(key.proto, vec![3; 200])).with(|p| {
        p.ttl = ttl;
        (p.fragment, p.dont_fragment) = (Some((offset, more)), false);
    });
    check(bench, CLIENTS, packet.frame(), None)
}

fn error(
    bench: &mut Bench,
    key: &FlowKey,
    (kind, code, head): (u8, u8, u32),
    part: &Index,
    mutation: Option<&Mutation>,
) -> Result<(), String> {
    let ends = ((IpAddr::from(key.src), key.sport.into()), (IpAddr::from(key.dst), key.dport.into()));
    // What the other side sent, but for every other kind what this side did.
    let (from, to) = if head.is_multiple_of(3) { ends } else { (ends.1, ends.0) };
    let about = if key.proto == TCP { Build::tcp(from, to, flags::ACK) } else { Build::udp(from, to) };
    let quoted = if code == 5 { in_tunnel(bench, key, about.data(60)) } else { about.data(60) };
    let bytes = quoted.packet();
    let bytes = if part.index(2) == 0 { &bytes } else { &bytes[..part.index(bytes.len())] };
    let code = if code == 5 { 4 } else { code };
    let router = client_addr(from.0.is_ipv6(), 3);
    let packet = Build::icmp(router, quoted.src, kind, code, [&head.to_be_bytes(), bytes].concat());
    check(bench, BACKENDS, packet.frame(), mutation)
}

/// As it would go to the flow's destination.
fn in_tunnel(bench: &Bench, key: &FlowKey, inner: Build) -> Build {
    let v6 = inner.src.is_ipv6();
    let dest = &bench.model.config.dests[bench.model.state.flows[key].dest as usize];
    let body = Body::Raw(if v6 { 41 } else { 4 }, inner.packet());
    let src = if dest.tunnel_src == Addr::default() { world::tunnel_src(v6) } else { dest.tunnel_src.into() };
    Build::new(src, dest.addr.into(), body)
}

fn check(bench: &mut Bench, ingress: u32, mut frame: Vec<u8>, mutation: Option<&Mutation>) -> Result<(), String> {
    match mutation {
        Some(Mutation::Flip(at, bits)) => *at.get_mut(&mut frame) ^= bits,
        Some(Mutation::Cut(at)) => frame.truncate(14 + at.index(frame.len() - 14)),
        Some(Mutation::Pad(length)) => frame.resize(frame.len() + usize::from(*length), 0xEE),
        None => {}
    }
    let was_right = checks::verify(&frame).is_ok();
    let verdict = bench.try_frame(ingress, &frame)?;
    match verdict {
        Verdict::Forward { bytes, .. } | Verdict::PassRewritten(bytes) | Verdict::Answer(bytes) if was_right => {
            checks::verify(&bytes).map_err(|error| format!("{error} in {bytes:02x?}, made of {frame:02x?}"))
        }
        _ => Ok(()),
    }
}

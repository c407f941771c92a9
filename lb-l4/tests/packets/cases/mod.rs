//! The table of named cases. Each row runs for both families and both hooks, from an empty table.

mod fragments;
mod gone;
mod hops;
mod icmp;
mod macs;
mod modes;
mod parse;
mod persistence;
mod samples;
mod scheduling;
mod snat;
mod states;
mod sync;

use std::net::IpAddr;

use crate::harness::bench::Bench;
use crate::harness::{net, world};
use crate::model::flags;
use crate::packet::Build;

/// A name, and what happens; the flag says whether it is told in IPv6.
pub type Case = (&'static str, fn(&mut Bench, bool));

/// By subject.
pub const SUBJECTS: &[(&str, &[Case])] = &[
    ("parse", parse::CASES),
    ("macs", macs::CASES),
    ("modes", modes::CASES),
    ("hops", hops::CASES),
    ("states", states::CASES),
    ("gone", gone::CASES),
    ("scheduling", scheduling::CASES),
    ("persistence", persistence::CASES),
    ("snat", snat::CASES),
    ("fragments", fragments::CASES),
    ("icmp", icmp::CASES),
    ("samples", samples::CASES),
    ("sync", sync::CASES),
];

const SYN_ACK: u8 = flags::SYN | flags::ACK;
const FIN_ACK: u8 = flags::FIN | flags::ACK;
const RST_ACK: u8 = flags::RST | flags::ACK;
const DATA: u8 = flags::PSH | flags::ACK;

fn host(v6: bool, n: u16) -> IpAddr {
    if v6 { format!("2001:db8:100::{n:x}") } else { format!("198.51.100.{n}") }.parse().expect("an address")
}

fn client(v6: bool) -> (IpAddr, u16) {
    (host(v6, 7), 40000)
}

fn vip(v6: bool, port: u16) -> (IpAddr, u16) {
    (world::vip(v6), port)
}

fn backend(v6: bool, n: u8) -> IpAddr {
    net::backend(v6, 2, n)
}

/// Of NAT, as it sends.
fn server(v6: bool, n: u8) -> (IpAddr, u16) {
    (backend(v6, n), world::BACKEND_PORT)
}

/// ::ffff:a.b.c.d, which has no business on the wire.
fn as_ipv6((addr, port): (IpAddr, u16)) -> (IpAddr, u16) {
    match addr {
        IpAddr::V4(v4) => (v4.to_ipv6_mapped().into(), port),
        v6 => (v6, port),
    }
}

/// From the usual client to a frontend.
fn tcp(v6: bool, port: u16, flags: u8) -> Build {
    Build::tcp(client(v6), vip(v6, port), flags)
}

fn syn(v6: bool, port: u16) -> Build {
    tcp(v6, port, flags::SYN)
}

fn udp(v6: bool, port: u16) -> Build {
    Build::udp(client(v6), vip(v6, port))
}

/// From a backend of NAT to the usual client.
fn answer(v6: bool, n: u8, flags: u8) -> Build {
    Build::tcp(server(v6, n), client(v6), flags)
}

fn answer_udp(v6: bool, n: u8) -> Build {
    Build::udp(server(v6, n), client(v6))
}

/// State of the flow that the usual client has with a frontend; 0: none.
fn state(bench: &Bench, v6: bool, port: u16, proto: u8) -> u8 {
    let wanted = |key: &lb_l4::abi::FlowKey| {
        (key.src, u16::from(key.sport), u16::from(key.dport), key.proto)
            == (client(v6).0.into(), client(v6).1, port, proto)
    };
    bench.model.state.flows.iter().find(|(key, _)| wanted(key)).map_or(0, |(_, entry)| entry.state)
}

//! A network namespace for one thread, where the kernel's look-ups have answers. Nothing is ever sent.

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use lb_l4::abi::{Addr, Hop, MacKey, Port, mac_state};
use lb_l4::macs::Macs;
use nix::sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, unshare};
use nix::unistd::Pid;

use crate::model::Route;

/// Where clients are, behind a router.
pub const CLIENTS: u32 = 10;
/// Where backends are.
pub const BACKENDS: u32 = 11;
/// The same, with an MTU of 1,400.
pub const SMALL: u32 = 12;
/// The program is told that this one stands on top of `BACKENDS`, with a VLAN tag. Its MTU is 9,000.
pub const TAGGED: u32 = 13;
/// XDP is not told that it may send here.
pub const ELSEWHERE: u32 = 14;

pub const TAG: u16 = 100;
const MTU: u16 = 1500;
const SMALL_MTU: u16 = 1400;
const LARGE_MTU: u16 = 9000;
/// Network with a route that says unreachable.
const NOWHERE: u8 = 9;
/// Host number of an address that has no neighbour entry.
pub const SILENT: u8 = 99;

const INTERFACES: [(u32, &str, u8); 5] = [
    (CLIENTS, "clients", 1),
    (BACKENDS, "backends", 2),
    (SMALL, "small", 3),
    (TAGGED, "tagged", 4),
    (ELSEWHERE, "elsewhere", 5),
];

/// Hosts that answer, on each of the networks.
const HOSTS: [u8; 4] = [11, 12, 13, 254];

pub fn names() -> impl Iterator<Item = &'static str> {
    INTERFACES.iter().map(|(_, name, _)| *name)
}

/// Moves this thread into a namespace of its own and onto one CPU, for the program has things by CPU.
/// `false`: that takes root, and the test is skipped.
pub fn enter(nth: usize) -> bool {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("LB_TEST_REQUIRE").is_none(), "this test needs root");
        eprintln!("skipped: needs root, for a network namespace and to load programs");
        return false;
    }
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
    let allowed = sched_getaffinity(Pid::from_raw(0)).expect("the CPUs");
    let usable: Vec<usize> = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap_or(false)).collect();
    let mut one = CpuSet::new();
    one.set(usable[nth % usable.len()]).expect("a CPU");
    sched_setaffinity(Pid::from_raw(0), &one).expect("to stay on one CPU");
    for (file, value) in
        [("ipv4/conf/all/forwarding", "1"), ("ipv6/conf/all/forwarding", "1"), ("ipv6/conf/default/disable_ipv6", "1")]
    {
        fs::write(format!("/proc/sys/net/{file}"), value).expect("a sysctl");
    }
    ip(&script());
    true
}

/// Commands for `ip -batch`.
pub fn ip(commands: &str) {
    let mut child = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().expect("iproute2");
    child.stdin.take().expect("its input").write_all(commands.as_bytes()).expect("to write to ip");
    assert!(child.wait().expect("ip to end").success(), "ip refused one of\n{commands}");
}

pub fn know_neighbour(v6: bool, net: u8, host: u8) {
    let (addr, mac, dev) = (backend(v6, net, host), mac(net, host), name_of(net));
    ip(&format!("neigh replace {addr} lladdr {mac} nud permanent dev {dev}\n"));
}

pub fn forget_neighbour(v6: bool, net: u8, host: u8) {
    ip(&format!("neigh del {} dev {}\n", backend(v6, net, host), name_of(net)));
}

fn name_of(net: u8) -> &'static str {
    INTERFACES.iter().find(|(_, _, n)| *n == net).expect("one of the networks").1
}

fn script() -> String {
    let mut lines = vec!["link set lo up".to_owned()];
    for (index, name, net) in INTERFACES {
        let mtu = mtu(index);
        lines.push(format!(
            "link add {name} index {index} mtu {mtu} address {} type veth peer name {name}-peer mtu {mtu}",
            mac(net, 1)
        ));
        lines.push(format!("link set {name}-peer up"));
        lines.push(format!("link set {name} addrgenmode none up"));
    }
    lines.join("\n") + "\n"
}

/// Addresses, neighbours and routes; after IPv6 was switched on.
pub fn address() {
    let mut lines = Vec::new();
    for (_, name, net) in INTERFACES {
        fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "0").expect("a sysctl");
        lines.push(format!("addr add 10.{net}.0.1/24 dev {name}"));
        lines.push(format!("addr add fd0{net}::1/64 dev {name} nodad"));
        for host in HOSTS {
            let mac = mac(net, host);
            lines.push(format!("neigh replace 10.{net}.0.{host} lladdr {mac} nud permanent dev {name}"));
            lines.push(format!("neigh replace fd0{net}::{host} lladdr {mac} nud permanent dev {name}"));
        }
    }
    lines.push("route add 198.51.100.0/24 via 10.1.0.254".to_owned());
    lines.push("route add 100.0.0.0/8 via 10.1.0.254".to_owned());
    lines.push("route add 2001:db8:100::/64 via fd01::254".to_owned());
    lines.push("route add unreachable 10.9.0.0/24".to_owned());
    lines.push("route add unreachable fd09::/64".to_owned());
    ip(&(lines.join("\n") + "\n"));
}

/// What `address` set up, told by hand.
pub fn route(addr: Addr) -> Route {
    let (net, host) = place(addr);
    let interface = INTERFACES.iter().find(|(_, _, n)| *n == net);
    match (interface, host) {
        (None, _) if net == NOWHERE => Route::Unreachable,
        (None, _) => Route::NotForwarded, // no route at all
        (Some(_), 1) => Route::NotForwarded,
        (Some((index, _, _)), host) if HOSTS.contains(&host) => Route::Via(Hop {
            ifindex: *index,
            dmac: [2, 0, 0, 0, net, host],
            smac: [2, 0, 0, 0, net, 1],
            vlan: Port::default(),
            mtu: mtu(*index),
        }),
        _ => Route::NoNeighbour,
    }
}

/// Network and host number of who has that address, or routes towards it.
fn place(addr: Addr) -> (u8, u8) {
    match IpAddr::from(addr) {
        IpAddr::V4(v4) => match v4.octets() {
            [198, 51, 100, _] | [100, ..] => (1, 254),
            [10, net, 0, host] => (net, host),
            _ => (0, 0),
        },
        IpAddr::V6(v6) => match v6.segments() {
            [0x2001, 0xDB8, 0x100, 0, ..] => (1, 254),
            [net, 0, 0, 0, 0, 0, 0, host] if net >> 8 == 0xFD => (net as u8, decimal(host)),
            _ => (0, 0),
        },
    }
}

/// Where packets to an address go first, told by hand.
pub fn next_hop(addr: Addr) -> Option<(u32, Addr)> {
    let v6 = IpAddr::from(addr).is_ipv6();
    let router = || (CLIENTS, backend(v6, 1, 254).into());
    match place(addr) {
        (1, 254) => Some(router()),
        (net, _) => INTERFACES.iter().find(|(_, _, n)| *n == net).map(|(index, _, _)| (*index, addr)),
    }
}

pub fn mtu(interface: u32) -> u16 {
    match interface {
        SMALL => SMALL_MTU,
        TAGGED => LARGE_MTU,
        _ => MTU,
    }
}

/// `fd02::11` is written as `10.2.0.11` is.
fn decimal(segment: u16) -> u8 {
    format!("{segment:x}").parse().unwrap_or(0)
}

fn mac(net: u8, host: u8) -> String {
    format!("02:00:00:00:{net:02x}:{host:02x}")
}

/// Ours on an interface.
pub fn own_mac(interface: u32) -> [u8; 6] {
    let (_, _, net) = INTERFACES.iter().find(|(index, _, _)| *index == interface).expect("one of the interfaces");
    [2, 0, 0, 0, *net, 1]
}

/// Of virtual routers on every interface: one that this node has now, and one that it does not.
pub const HELD: [u8; 6] = [0, 0, 0x5E, 0, 1, 51];
pub const WAITING: [u8; 6] = [0, 0, 0x5E, 0, 2, 52];

pub fn macs() -> Macs {
    let of = |index: u32| {
        [(own_mac(index), mac_state::OURS), (HELD, mac_state::OURS), (WAITING, mac_state::STANDBY)]
            .map(|(mac, state)| (MacKey { ifindex: index, mac, zero: 0 }, state))
    };
    INTERFACES.iter().flat_map(|(index, _, _)| of(*index)).collect()
}

pub fn backend(v6: bool, net: u8, host: u8) -> IpAddr {
    let text = if v6 { format!("fd0{net}::{host}") } else { format!("10.{net}.0.{host}") };
    text.parse().expect("an address")
}

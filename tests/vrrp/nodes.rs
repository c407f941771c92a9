//! Two lb nodes on one wire: who has the address, whatever happens to them.

use nix::sys::signal::Signal;

use crate::harness::{Lan, Node, OWN, PEER, Setup, Wire, one, pair_config};
use crate::lan;
use crate::shared::poll;

const VIP: &str = Node::VIP;

#[test]
fn a_killed_node_is_replaced_and_takes_over_again_when_it_is_back() {
    let lan = lan!();
    let [a, b] = Node::pair(&lan, &one(""));
    a.end(Signal::SIGKILL);
    b.await_role("active");
    assert!(lan.lb.run("ip -o address show").contains(VIP), "the kernel keeps it");
    let a = Node::start(&lan.lb, "a", &one(""));
    a.await_role("active");
    b.await_role("backup");
    assert_eq!((a.changes_to("active"), b.changes_to("active")), (1, 1));
}

#[test]
fn what_a_killed_node_left_goes_away_though_the_file_has_other_addresses_now() {
    let lan = lan!();
    let [a, b] = Node::pair(&lan, &one(""));
    a.end(Signal::SIGKILL);
    b.await_role("active");
    let a = Node::start(&lan.lb, "a", &one("").replace(VIP, "10.0.0.200").replace("vrid: 51", "vrid: 52"));
    assert!(!a.has(VIP));
}

#[test]
fn a_node_that_is_stopped_hands_over_first_and_leaves_nothing() {
    let lan = lan!();
    let before = settings(&lan);
    let [a, b] = Node::pair(&lan, &one(""));
    assert_ne!(settings(&lan), before, "others on the interface stay when the first of a network goes");
    assert!(a.end(Signal::SIGTERM).success());
    assert_eq!(b.role(), "active", "before the process has ended");
    assert!(!lan.lb.run("ip -o address show").contains(VIP));
    assert_eq!(settings(&lan), before);
}

/// Routers of both families on one interface, in either order.
#[test]
fn the_first_of_a_network_takes_no_others_along_whichever_router_comes_first() {
    let v6 = "  v6: { interface: eth0, vrid: 52, interval: 100ms, addresses: ['2001:db8::100/64'] }\n";
    let v4 = "  v: { interface: eth0, vrid: 51, interval: 100ms, addresses: [10.0.0.100/24] }\n";
    for routers in [[v6, v4], [v4, v6]] {
        let lan = lan!();
        lan.lb.sysctl("ipv4/conf/eth0/promote_secondaries", "0");
        lan.lb.sysctl("ipv4/conf/all/promote_secondaries", "0");
        let a = Node::start(&lan.lb, "a", &pair_config(&routers.concat()));
        a.await_role("active");
        assert_eq!(settings(&lan).trim(), "1");
        assert!(a.end(Signal::SIGTERM).success());
        assert_eq!(settings(&lan).trim(), "0");
    }
}

fn settings(lan: &Lan) -> String {
    lan.lb.run("sysctl -n net.ipv4.conf.eth0.promote_secondaries")
}

#[test]
fn a_link_that_goes_down_is_a_fault_and_comes_back() {
    let lan = lan!();
    let [a, b] = Node::pair(&lan, &one(""));
    lan.switch.space.ip("link set lb-eth0 down");
    a.await_role("fault");
    b.await_role("active");
    lan.switch.space.ip("link set lb-eth0 up");
    a.await_role("active");
    b.await_role("backup");
}

#[test]
fn an_interface_that_goes_away_is_found_again() {
    let lan = lan!();
    let [a, b] = Node::pair(&lan, &one(""));
    lan.lb.ip("link del eth0");
    a.await_role("fault");
    b.await_role("active");
    lan.switch.port(&lan.lb, "eth0", "lan");
    lan.lb.ip(&format!("address add {}/24 dev eth0", OWN[0]));
    a.await_role("active");
    b.await_role("backup");
}

#[test]
fn a_handover_tells_how_it_ended_and_is_not_taken_back() {
    let lan = lan!();
    let [a, b] = Node::pair(&lan, &one(""));
    let said = a.lb.cli_ok(&["vrrp", "yield", "v"]);
    assert_eq!(said.trim(), format!("v: handed over to {}", PEER[0]));
    b.await_role("active");
    a.await_role("backup");
    let again = a.lb.cli(&["vrrp", "yield"]);
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(a.lb.cli(&["vrrp", "yield", "nobody"]).status.code(), Some(1));
    let until = b.router("v")["counts"]["adverts_sent"].as_u64().unwrap() + 10;
    poll("time passes", || (b.router("v")["counts"]["adverts_sent"].as_u64().unwrap() > until).then_some(()));
    assert_eq!((a.role().as_str(), b.role().as_str()), ("backup", "active"));
    assert!(a.lb.cli_ok(&["status"]).contains(&format!("handed over to {} as asked", PEER[0])));
}

#[test]
fn nobody_to_hand_over_to_changes_nothing() {
    let lan = lan!();
    let a = Node::start(&lan.lb, "a", &one(""));
    a.await_role("active");
    let refused = a.lb.cli(&["vrrp", "yield"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stdout).contains("nobody took over"));
    assert!(a.role() == "active" && a.has(VIP));
}

#[test]
fn who_may_not_preempt_stays_a_backup() {
    let lan = lan!();
    let config = one(", preempt_delay: never");
    let [a, b] = Node::pair(&lan, &config);
    a.end(Signal::SIGTERM);
    b.await_role("active");
    let a = Node::start(&lan.lb, "a", &config);
    poll("a follows b", || (a.router("v")["active_router"] == PEER[0]).then_some(()));
    assert_eq!((a.role().as_str(), b.role().as_str()), ("backup", "active"));
}

#[test]
fn an_address_that_is_removed_by_hand_comes_back() {
    let lan = lan!();
    let [a, b] = Node::pair(&lan, &one(""));
    let before = a.router("v")["counts"]["announcements"].as_u64().unwrap();
    lan.lb.ip(&format!("address del {VIP}/24 dev eth0"));
    poll("it is back", || a.has(VIP).then_some(()));
    poll("it is announced", || (a.router("v")["counts"]["announcements"].as_u64().unwrap() > before).then_some(()));
    assert_eq!((a.changes_to("backup"), b.changes_to("active")), (1, 0), "nobody noticed");
}

#[test]
fn a_node_that_was_frozen_does_not_fight() {
    let lan = lan!();
    let [a, b] = Node::pair(&lan, &one("").replace("100ms", "10ms"));
    let before = (a.changes_to("active"), a.changes_to("backup"));
    a.lb.signal(Signal::SIGSTOP);
    b.await_role("active");
    a.lb.signal(Signal::SIGCONT);
    a.await_role("backup");
    let until = a.router("v")["counts"]["adverts_received"].as_u64().unwrap() + 100;
    poll("a hears b", || (a.router("v")["counts"]["adverts_received"].as_u64().unwrap() > until).then_some(()));
    assert_eq!((a.changes_to("active"), a.changes_to("backup")), (before.0, before.1 + 1));
    assert_eq!(b.changes_to("active"), 1);
}

#[test]
fn a_reload_keeps_roles_and_applies_the_difference() {
    let lan = lan!();
    let [mut a, mut b] = Node::pair(&lan, &one(""));
    let two = |addresses: &str| {
        pair_config(&format!(
            "  v: {{ interface: eth0, vrid: 51, interval: 100ms, addresses: [{addresses}] }}\n  \
               w: {{ interface: eth0, vrid: 52, interval: 100ms, addresses: [10.0.0.200/24], priority: {{ b: 200 }} }}"
        ))
    };
    for node in [&mut a, &mut b] {
        node.lb.reload(&two("10.0.0.101/24, 10.0.0.100/24"));
    }
    poll("the new address", || a.has("10.0.0.101").then_some(()));
    poll("the other virtual router", || b.has("10.0.0.200").then_some(()));
    for node in [&mut a, &mut b] {
        node.lb.reload(&two("10.0.0.101/24"));
    }
    poll("the old address", || (!a.has(VIP)).then_some(()));
    assert!(a.has("10.0.0.101"));
    assert_eq!((a.changes_to("active"), b.changes_to("active")), (1, 0), "roles are kept");
    for node in [&mut a, &mut b] {
        node.lb.reload(&one(""));
    }
    poll("the other virtual router is gone", || (!b.has("10.0.0.200")).then_some(()));
    a.await_role("active");
    assert_eq!((a.changes_to("active"), b.changes_to("active")), (1, 0), "roles are kept");
}

#[test]
fn an_interface_that_is_not_there_is_warned_of_until_it_comes() {
    let lan = lan!();
    let mut a = Node::start(&lan.lb, "a", &one(""));
    a.await_role("active");
    let mistyped = one("").replace("eth0", "eth7");
    let report = a.lb.try_reload(&mistyped);
    let said = String::from_utf8_lossy(&report.stderr);
    assert!(report.status.success() && said.contains("there is no interface `eth7` here"), "{said}");
    a.await_role("fault");
    lan.lb.ip("link set eth0 down\nlink set eth0 name eth7\nlink set eth7 up");
    a.await_role("active");
}

#[test]
fn the_last_virtual_router_goes_and_the_first_comes_by_a_reload() {
    let lan = lan!();
    let mut a = Node::start(&lan.lb, "a", &one(""));
    a.await_role("active");
    let none = one("").replace("vrrp:", "log: { level: debug }\n#").replace("\n  v:", "\n#");
    a.lb.reload(&none);
    assert!(!a.has(VIP));
    assert!(a.lb.cli_ok(&["vrrp", "status"]).contains("no virtual router"));
    a.lb.reload(&one(""));
    a.await_role("active");
}

#[test]
fn a_thousand_addresses_move_without_a_false_takeover() {
    let lan = lan!();
    let all: Vec<String> = (0..1000).map(|n| format!("10.1.{}.{}/24", n / 200, 1 + n % 200)).collect();
    let config = one("").replace(&format!("{VIP}/24"), &format!("{VIP}/24, {}", all[..999].join(", ")));
    let [a, b] = Node::pair(&lan, &config);
    let held = |node: &Node| node.addresses().iter().filter(|ip| ip.starts_with("10.1.")).count();
    poll("all are there", || (held(&a) == 999).then_some(()));
    assert_eq!((a.changes_to("backup"), b.changes_to("active")), (1, 0));
    a.lb.cli_ok(&["vrrp", "yield"]);
    poll("all are on the other", || (held(&b) == 999 && held(&a) == 0).then_some(()));
    assert_eq!((a.changes_to("backup"), b.changes_to("active")), (2, 1));
}

#[test]
fn over_ipv6_the_address_moves_too() {
    let lan = lan!();
    let config = one("")
        .replace(&format!("{VIP}/24"), "\"2001:db8::100/64\"")
        .replace("interval:", "peers: multicast, interval:");
    let nodes = [Node::start(&lan.lb, "a", &config), Node::start(&lan.peer, "b", &config)];
    let [a, b] = &nodes;
    poll("a has it", || a.has("2001:db8::100").then_some(()));
    poll("b follows", || (!b.router("v")["active_router"].is_null()).then_some(()));
    a.lb.cli_ok(&["vrrp", "yield"]);
    poll("b has it", || (b.has("2001:db8::100") && !a.has("2001:db8::100")).then_some(()));
}

#[test]
fn with_a_virtual_mac_the_address_keeps_its_hardware_address() {
    let lan = lan!();
    let [a, b] = Node::pair(&lan, &one(", virtual_mac: true"));
    let interface = |node: &Node| node.host.run("ip -o link show type macvlan");
    assert!(interface(&a).contains("00:00:5e:00:01:33"), "{}", interface(&a));
    assert!(!interface(&b).contains(",UP"), "{}", interface(&b));
    a.lb.cli_ok(&["vrrp", "yield"]);
    b.await_role("active");
    poll("it is up there", || interface(&b).contains(",UP").then_some(()));
    let host = b.host;
    assert!(b.end(Signal::SIGTERM).success());
    assert_eq!(host.run("ip -o link show type macvlan"), "");
    a.await_role("active");
}

#[test]
fn adverts_may_go_another_way_than_the_addresses() {
    let lan = lan!();
    lan.switch.space.ip("link add front type bridge mcast_snooping 0\nlink set front up");
    for host in [&lan.lb, &lan.peer] {
        lan.switch.port(host, "eth1", "front");
    }
    let config = one("").replace("interface: eth0", "interface: eth1").replace(VIP, "192.0.2.100");
    let [a, b] = [Node::start(&lan.lb, "a", &config), Node::start(&lan.peer, "b", &config)];
    poll("a has it", || a.host.run("ip -o address show dev eth1").contains("192.0.2.100").then_some(()));
    poll("b follows a", || (b.router("v")["active_router"] == OWN[0]).then_some(()));
    a.end(Signal::SIGTERM);
    assert!(b.has("192.0.2.100"));
}

#[test]
fn a_second_lb_in_the_same_network_is_refused() {
    let lan = lan!();
    let a = Node::start(&lan.lb, "a", &one(""));
    a.await_role("active");
    let net = format!("--net={}", lan.lb.path());
    let mut second =
        crate::shared::Lb::spawn(tempfile::tempdir().unwrap(), &one(""), &[], &["nsenter", &net, "env", "LB_NODE=a"]);
    assert_eq!(second.wait_for_exit().code(), Some(1));
    assert!(second.stderr().contains("another lb drives the virtual routers"), "{}", second.stderr());
    assert!(a.has(VIP));
}

#[test]
fn a_second_signal_lets_go_without_a_successor() {
    let lan = lan!();
    let mut a = Node::start(
        &lan.lb,
        "a",
        &one("").replace("100ms", "10s").replace("vrid: 51", "vrid: 51, priority: { a: 255 }"),
    );
    a.await_role("active");
    a.lb.signal(Signal::SIGTERM);
    poll("it hands over", || (a.router("v")["leaving"] == true).then_some(()));
    a.lb.signal(Signal::SIGTERM);
    assert_eq!(a.lb.wait_for_exit().code(), Some(143));
    assert!(!lan.lb.run("ip -o address show").contains(VIP));
}

#[test]
fn every_metric_of_virtual_routers_is_moved_by_something() {
    let lan = lan!();
    lan.switch.space.ip("link add side type bridge mcast_snooping 0\nlink set side up");
    for host in [&lan.lb, &lan.peer] {
        lan.switch.port(host, "eth1", "side");
    }
    let config = one(", track: [{ interface: eth1, weight: -100 }]");
    let [a, b] = Node::pair(&lan, &config);
    let priority = || a.lb.metric("lb_vrrp_effective_priority", &[]);
    assert_eq!((priority(), a.lb.metric("lb_vrrp_active", &[])), (150.0, 1.0));
    lan.lb.ip("link set eth1 down");
    b.await_role("active");
    assert_eq!((priority(), a.lb.metric("lb_vrrp_active", &[])), (50.0, 0.0));
    assert_eq!(a.lb.stderr().matches("interface eth1 is down").count(), 1);
    lan.lb.ip("link set eth1 up");
    a.await_role("active");
    let wire = Wire::open(&lan);
    let good = Setup::V3Unicast.good(&lan, 90);
    wire.send(&crate::harness::Advert { ttl: 64, ..Setup::V3Unicast.good(&lan, 90) });
    wire.send(&crate::harness::Advert { vrid: 99, ..Setup::V3Unicast.good(&lan, 90) });
    // One of another interval, and with another address.
    wire.send(&crate::harness::Advert { timing: [0, 20], ..good });
    let still = || {
        let metrics = a.lb.metrics();
        let names = a.lb.metrics_text();
        let families = names.lines().filter_map(|line| line.strip_prefix("# TYPE lb_vrrp_")?.split(' ').next());
        let value = |name: &str| {
            let whole = format!("lb_vrrp_{name}");
            metrics.sum(&whole, &[]) + metrics.sum(&format!("{whole}_count"), &[])
        };
        // What takes a broken host is counted in the tests beside the code.
        let is_still = |name: &&str| !["active", "send_failures_total"].contains(name) && value(name) == 0.0;
        families.filter(is_still).map(str::to_owned).collect::<Vec<_>>()
    };
    poll("all have moved", || still().is_empty().then_some(()));
    assert_eq!(a.lb.metric("lb_vrrp_advert_errors_total", &[("reason", "ttl")]), 1.0);
}

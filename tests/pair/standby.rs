//! The node that waits: it knows what the other one knows, or says so.

use std::time::{Duration, Instant};

use crate::harness::{Looks, Node, Pair, nat};
use crate::hosts::{Talk, may_run};
use crate::shared::eventually;

fn backends_up(node: &Node) -> f64 {
    node.metric("lb_backend_up", &[("pool", "site")])
}

#[test]
fn a_standby_measures_health_itself() {
    if !may_run() {
        return;
    }
    let pair = Pair::start();
    let _web = pair.net.web();
    eventually("both see all backends", || backends_up(&pair.a) == 3.0 && backends_up(&pair.b) == 3.0);
    pair.net.backends[2].ip("link set eth0 down");
    eventually("the standby sees one less", || backends_up(&pair.b) == 2.0);
}

/// The router has only ever had to do with the active node.
fn new_connections_after_a_failover_to_a_node_that_never_met_the_router(attach: &'static str) {
    let mut pair = Pair::start_as(Looks { attach, virtual_mac: false });
    let _echoes = pair.net.echoes();
    let far = pair.net.far_client([&pair.a.host, &pair.b.host]);
    let mut old = Talk::open(&far, nat());
    old.say("by the active node");
    pair.wait_until_synchronised(1);
    eventually("the standby knows the router", || pair.b.host.space.knows("203.0.113.1", "eth0"));
    pair.lose_power_of_a();
    let begun = Instant::now();
    Talk::open(&far, nat()).say("by the standby");
    old.say("still there");
    assert!(begun.elapsed() < Duration::from_millis(2500), "{:?} after the failover", begun.elapsed());
}

#[test]
fn a_standby_that_never_met_the_router_serves_at_once_xdp() {
    if may_run() {
        new_connections_after_a_failover_to_a_node_that_never_met_the_router("xdp");
    }
}

#[test]
fn a_standby_that_never_met_the_router_serves_at_once_tc() {
    if may_run() {
        new_connections_after_a_failover_to_a_node_that_never_met_the_router("tc");
    }
}

#[test]
fn a_reload_on_one_node_only_is_noticed() {
    if !may_run() {
        return;
    }
    let mut pair = Pair::start();
    let matches = |node: &Node, other: &str| node.metric("lb_peer_config_matches", &[("node", other)]) == 1.0;
    eventually("the same file", || matches(&pair.a, "b") && matches(&pair.b, "a"));
    let other = pair.config().replace("flows: 65536", "flows: 65536, timeouts: { udp: 200s }");
    pair.a.reload(&other);
    eventually("another file", || !matches(&pair.a, "b") && !matches(&pair.b, "a"));
    for node in [&pair.a, &pair.b] {
        let text = node.cli_ok(&["status"]);
        assert!(text.contains("different config"), "{text}");
    }
    pair.b.reload(&other);
    eventually("the same again", || matches(&pair.a, "b") && matches(&pair.b, "a"));
    assert!(!pair.b.cli_ok(&["status"]).contains("different config"));
}

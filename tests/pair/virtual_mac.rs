//! Virtual MAC addresses below layer 4, on networks where both nodes see every frame: who has the address forwards, and
//! nobody else does.

use crate::harness::{Held, Looks, Node, Pair, dr, nat};
use crate::hosts::{Chatter, may_run};

/// Of vrid 51 and 52 (RFC 9568, section 7.3).
const MACS: [&str; 2] = ["00:00:5e:00:01:33", "00:00:5e:00:01:34"];

fn forwarded(node: &Node) -> f64 {
    node.metric("lb_frontend_packets_total", &[])
}

/// By what `then` does nothing is forwarded there.
fn forwards_nothing(node: &Node, then: impl FnOnce()) {
    let before = forwarded(node);
    then();
    assert_eq!(forwarded(node), before, "a node without the addresses forwards");
}

fn who_has_the_virtual_mac_forwards(attach: &'static str) {
    let pair = Pair::start_as(Looks { attach, virtual_mac: true });
    pair.net.flood();
    let _echoes = pair.net.echoes();
    let mut held = Held::open(&pair.net, 20, 10);
    for (host, mac) in [(&pair.net.client, MACS[0]), (&pair.net.backends[0], MACS[1])] {
        let neighbours = host.run("ip neighbour show");
        assert!(neighbours.contains(mac), "{mac} is not among\n{neighbours}");
    }
    forwards_nothing(&pair.b, || held.speak("by the active node"));
    assert_eq!(forwarded(&pair.b), 0.0);
    assert!(pair.b.metric("lb_l4_drops_total", &[("reason", "standby")]) > 0.0, "it has seen them");

    let chatters = [nat(), dr()].map(|to| Chatter::start(&pair.net, to));
    pair.wait_until_synchronised(held.count() + chatters.len() * Chatter::FLOWS);
    pair.a.cli_ok(&["vrrp", "yield"]);
    pair.wait_for("b");
    held.speak("by the other node");
    for chatter in chatters {
        chatter.finish("lb vrrp yield with virtual MACs");
    }
    forwards_nothing(&pair.a, || held.speak("by the other node alone"));
}

#[test]
fn who_has_the_virtual_mac_forwards_by_xdp() {
    if may_run() {
        who_has_the_virtual_mac_forwards("xdp");
    }
}

#[test]
fn who_has_the_virtual_mac_forwards_by_tc() {
    if may_run() {
        who_has_the_virtual_mac_forwards("tc");
    }
}

/// Where the VIP stands on a macvlan, that is not where packets are to be taken.
#[test]
fn a_reload_on_the_active_node_changes_nothing_of_it() {
    if !may_run() {
        return;
    }
    let mut pair = Pair::start_as(Looks { attach: "tc", virtual_mac: true });
    let _echoes = pair.net.echoes();
    let mut held = Held::open(&pair.net, 5, 5);
    let chatter = Chatter::start(&pair.net, nat());
    let other = pair.config().replace("flows: 65536", "flows: 65536, timeouts: { udp: 200s }");
    pair.a.reload(&other);
    held.speak("after the reload");
    chatter.finish_undisturbed("reload with virtual MACs");
    let status = pair.a.cli_ok(&["status"]);
    assert!(!status.contains("lb51.eth0"), "{status}");
}

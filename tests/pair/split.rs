//! The nodes do not hear each other, and both are active.

use crate::harness::{Node, Pair};
use crate::harness::{dr, nat};
use crate::hosts::{Chatter, may_run};
use crate::shared::eventually;

fn became_active(node: &Node) -> f64 {
    node.metric("lb_vrrp_transitions_total", &[("virtual_router", "front"), ("to", "active")])
}

#[test]
fn a_split_is_seen_reported_and_healed_once() {
    if !may_run() {
        return;
    }
    let pair = Pair::start();
    let _echoes = pair.net.echoes();
    let sees = |node: &Node, other: &str| node.metric("lb_peer_up", &[("node", other)]) == 1.0;
    eventually("they see each other", || sees(&pair.a, "b") && sees(&pair.b, "a"));
    let chatters = [nat(), dr()].map(|to| Chatter::start(&pair.net, to));
    pair.net.cut();
    eventually("both are active", || pair.a.holds_all() && pair.b.holds_all());
    eventually("both miss the other", || !sees(&pair.a, "b") && !sees(&pair.b, "a"));
    pair.net.heal();
    pair.wait_for("a");
    eventually("they see each other again", || sees(&pair.a, "b") && sees(&pair.b, "a"));
    for chatter in chatters {
        chatter.finish("split and healed");
    }
    assert_eq!([became_active(&pair.a), became_active(&pair.b)], [1.0, 1.0], "no storm");
    pair.wait_for("a");
}

/// As a firewall does it that knows UDP, and not VRRP.
#[test]
fn two_active_nodes_that_hear_each_other_say_so() {
    if !may_run() {
        return;
    }
    let pair = Pair::start();
    let split = |node: &Node, other: &str| node.metric("lb_peer_split_brain", &[("node", other)]);
    pair.net.cut_adverts();
    eventually("both tell of the other", || split(&pair.a, "b") > 0.0 && split(&pair.b, "a") > 0.0);
    let status = pair.b.cli_ok(&["status"]);
    assert!(status.contains("SPLIT BRAIN: peer a is active for front as well"), "{status}");
    pair.net.heal();
    pair.wait_for("a");
    eventually("only one is active", || split(&pair.a, "b") == 0.0 && split(&pair.b, "a") == 0.0);
    assert!(!pair.b.cli_ok(&["status"]).contains("SPLIT BRAIN"));
}

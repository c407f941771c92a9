//! The active node goes, by accident or by plan, and what its clients notice.

use std::net::SocketAddr;

use crate::harness::{Held, Pair, SITE, dr, nat};
use crate::hosts::{Chatter, may_run};
use crate::shared::{curl, eventually};

/// 10,000: this many by each of nat and dr.
const TCP: usize = 3500;
const UDP: usize = 1500;

#[test]
fn ten_thousand_flows_go_on_when_the_active_node_loses_its_power() {
    if !may_run() {
        return;
    }
    let mut pair = Pair::start();
    let _echoes = pair.net.echoes();
    let mut held = Held::open(&pair.net, TCP, UDP);
    let chatters = chatters(&pair);
    pair.wait_until_synchronised(held.count() + chatters.len() * Chatter::FLOWS);
    pair.lose_power_of_a();
    held.speak("on the other node");
    for chatter in chatters {
        chatter.finish("power of the active node lost");
    }
    // It remembers nothing, and must not take over before it has learnt all of it.
    pair.return_power_of_a();
    pair.wait_for("a");
    held.speak("on the first one again");
}

#[test]
fn flows_go_on_when_the_process_of_the_active_node_is_killed() {
    if !may_run() {
        return;
    }
    let mut pair = Pair::start();
    let _echoes = pair.net.echoes();
    let mut held = Held::open(&pair.net, 100, 50);
    let chatters = chatters(&pair);
    pair.wait_until_synchronised(held.count() + chatters.len() * Chatter::FLOWS);
    pair.a.kill();
    eventually("b takes over", || pair.b.holds_all());
    held.speak("after the kill");
    let config = pair.config();
    pair.a.start(&config);
    pair.wait_for("a");
    held.speak("after the return");
    for chatter in chatters {
        chatter.finish("process of the active node killed");
    }
}

#[test]
fn layer_7_connections_are_made_anew() {
    if !may_run() {
        return;
    }
    let mut pair = Pair::start();
    let _web = pair.net.web();
    let ca = pair.certificate();
    let ask = || curl(&["--cacert", &ca, "--connect-timeout", "1", SITE]).status() == 200;
    eventually("a serves", ask);
    pair.lose_power_of_a();
    eventually("b serves", ask);
    assert!(pair.b.metric("lb_frontend_http_requests_total", &[("frontend", "site"), ("code", "2xx")]) > 0.0);
}

/// By what is done to the active node.
fn nothing_is_lost(what: &str, hand_over: impl FnOnce(&mut Pair)) {
    let mut pair = Pair::start();
    let _echoes = pair.net.echoes();
    let mut held = Held::open(&pair.net, 50, 20);
    let chatters = chatters(&pair);
    hand_over(&mut pair);
    pair.wait_for("b");
    held.speak("on the other node");
    for chatter in chatters {
        chatter.finish_undisturbed(what);
    }
}

#[test]
fn nothing_is_lost_when_the_active_node_yields() {
    if may_run() {
        nothing_is_lost("lb vrrp yield", |pair| {
            pair.a.cli_ok(&["vrrp", "yield"]);
        });
    }
}

#[test]
fn nothing_is_lost_when_the_active_node_is_stopped() {
    if may_run() {
        nothing_is_lost("SIGTERM", |pair| pair.a.stop());
    }
}

fn chatters(pair: &Pair) -> Vec<Chatter> {
    [nat(), dr()].map(|to: SocketAddr| Chatter::start(&pair.net, to)).into()
}

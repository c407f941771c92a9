//! The interface of a virtual router is part of a VRF: it has routes of its own, and sockets see it only by name.

use nix::sys::signal::Signal;

use crate::harness::{Lan, Node, OWN, PEER, one};
use crate::lan;

/// On both hosts. IPv6 addresses do not survive the move.
fn move_into_vrf(lan: &Lan) {
    for (host, own) in [(&lan.lb, OWN), (&lan.peer, PEER)] {
        host.ip(&format!(
            "link add blue type vrf table 10\nlink set blue up\nlink set eth0 master blue\n\
             address replace {}/64 dev eth0 nodad",
            own[1]
        ));
    }
}

/// A new holder, whom others in the VRF reach.
fn changes_hands(more: &str) {
    let lan = lan!();
    move_into_vrf(&lan);
    let config = one(more);
    let [a, b] = Node::pair(&lan, &config);
    lan.peer.run(&format!("ping -c 1 -W 5 -I blue {}", Node::VIP));
    a.end(Signal::SIGTERM);
    b.await_role("active");
    lan.lb.run(&format!("ping -c 1 -W 5 -I blue {}", Node::VIP));
    let a = Node::start(&lan.lb, "a", &config);
    a.await_role("active");
    b.await_role("backup");
}

#[test]
#[ignore = "needs VRFs: tests/kernels/run"]
fn unicast_adverts_change_hands() {
    changes_hands(", peers: unicast");
}

#[test]
#[ignore = "needs VRFs: tests/kernels/run"]
fn multicast_adverts_change_hands() {
    changes_hands(", peers: multicast");
}

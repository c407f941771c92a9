//! Backends that deploy/real-server/lb-real-server makes ready: every test of `mode: dr` and `mode: tunnel` stands on
//! it, and here is what it says of itself.

use crate::forwards::pages;
use crate::harness::{Hook, Service, VIP, Way, may_run, real_server};

/// What it did, it sees, and takes back.
fn says_what_it_did(service: &Service) {
    let tunnel = service.way == Way::Tunnel;
    for backend in &service.net.backends {
        let said = real_server(backend, "status", tunnel);
        for part in [&format!("{}: on lo", VIP[0]), &format!("{}: on lo", VIP[1]), "arp_ignore = 1", "arp_announce = 2"]
        {
            assert!(said.contains(part), "{part} is not in:\n{said}");
        }
        real_server(backend, "stop", tunnel);
        let left = backend.run("ip -o address show dev lo");
        assert!(VIP.iter().all(|vip| !left.contains(&format!(" {vip}/"))), "{left}");
    }
}

#[test]
fn direct_routing_is_set_up_and_taken_back() {
    if may_run() {
        says_what_it_did(&Service::new(Way::Dr, Hook::Tc));
    }
}

#[test]
#[ignore = "needs ipip and ip6_tunnel: tests/kernels/run"]
fn the_kernel_takes_packets_out_of_the_tunnel() {
    let service = Service::new(Way::Tunnel, Hook::Tc);
    assert!(service.net.kernel_unwraps(), "there is no tunl0, or no ip6tnl0");
    pages(&service, &service.config(80, "", ""));
    says_what_it_did(&service);
}

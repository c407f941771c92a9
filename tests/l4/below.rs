//! lb's interfaces are VLANs, bonds and bridges. They are what this machine may not have: tests/kernels/run boots one
//! that has them.

use crate::forwards::pages;
use crate::harness::{Below, LEGS, Service, Talk, Way, vip};

const PORT: u16 = 7000;

/// By nat, which comes and goes by two of them, and by dr.
fn forwards(below: Below) {
    for way in [Way::Nat, Way::Dr] {
        let service = Service::upon(way, below);
        pages(&service, &auto(&service, 80));
    }
}

/// lb is to find out itself how it takes packets there.
fn auto(service: &Service, port: u16) -> String {
    let config = service.config(port, "", "").replace("attach: tc", "attach: auto");
    assert!(config.contains("attach: auto"));
    config
}

/// A connection goes on by the other leg.
fn loses_a_leg(mode: &'static str) {
    let service = Service::upon(Way::Nat, Below::Bond(mode));
    let _echoes = service.echoes(PORT);
    let _lb = service.start(&auto(&service, PORT));
    let mut talks = [0, 1].map(|family| Talk::open(&service.net, vip(family, PORT)));
    let switch = &service.net.switch.space;
    for leg in LEGS {
        for interface in ["eth0", "eth1"] {
            switch.ip(&format!("link set lb-{interface}-{leg} down"));
        }
        talks.iter_mut().for_each(|talk| talk.say("by the other leg"));
        assert_eq!(Talk::open(&service.net, vip(0, PORT)).backend.len(), 2, "a new one as well");
        for interface in ["eth0", "eth1"] {
            let legs = format!("cat /sys/class/net/{interface}/lower_{interface}-{leg}/carrier");
            switch.ip(&format!("link set lb-{interface}-{leg} up"));
            crate::shared::eventually("the leg is back", || service.net.lb.try_run(&legs).stdout == b"1\n");
        }
    }
}

#[test]
#[ignore = "needs VLANs: tests/kernels/run"]
fn vlans() {
    forwards(Below::Vlan);
}

#[test]
#[ignore = "needs bridges with lb's address: tests/kernels/run"]
fn bridges() {
    forwards(Below::Bridge);
}

#[test]
#[ignore = "needs bonds: tests/kernels/run"]
fn bonds_of_which_one_leg_works() {
    forwards(Below::Bond("active-backup"));
}

#[test]
#[ignore = "needs bonds: tests/kernels/run"]
fn bonds_of_which_all_legs_work() {
    forwards(Below::Bond("802.3ad"));
}

#[test]
#[ignore = "needs bonds: tests/kernels/run"]
fn a_bond_that_loses_a_leg_goes_on() {
    loses_a_leg("active-backup");
}

#[test]
#[ignore = "needs bonds: tests/kernels/run"]
fn a_bond_of_802_3ad_that_loses_a_leg_goes_on() {
    loses_a_leg("802.3ad");
}

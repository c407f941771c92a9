//! Where lb takes its packets, and what it says when it cannot.

use crate::harness::{Hook, Service, Talk, UNTIL_THE_TEST_ENDS, Way, may_run, vip};
use crate::shared::{Lb, eventually};

const PORT: u16 = 7000;

/// `l4` replaces what the configuration says of it.
fn config(service: &Service, l4: &str) -> String {
    let text = service.config(PORT, "", "");
    let rest = text.split_once('\n').unwrap().1;
    format!("l4: {{ {l4} }}\n{rest}")
}

/// lb ends by itself; what it said.
fn refused(config: &str) -> String {
    let mut lb = Lb::spawn(tempfile::tempdir().unwrap(), config, &[], &UNTIL_THE_TEST_ENDS);
    let status = lb.wait_for_exit();
    assert!(!status.success());
    lb.stderr()
}

#[test]
fn xdp_is_refused_where_packets_would_vanish() {
    if !may_run() {
        return;
    }
    let service = Service::new(Way::Dr, Hook::Tc);
    service.net.lb.ip("link add near type veth peer name far\nlink set near up\nlink set far up");
    let config = config(&service, "attach: xdp, interfaces: [near]");
    let said = refused(&config);
    for part in ["near", "checksum", "NAPI", "ethtool -K"] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
    service.net.lb.run("ethtool -K far tx off gro on");
    service.start(&config);
}

#[test]
fn xdp_is_warned_of_where_lb_cannot_look() {
    if !may_run() {
        return;
    }
    let service = Service::new(Way::Dr, Hook::Xdp);
    let lb = service.start(&config(&service, "attach: xdp"));
    eventually("lb warns", || lb.stderr().contains("another network namespace"));
}

#[test]
fn auto_takes_tc_where_xdp_is_not_safe_and_says_why() {
    if !may_run() {
        return;
    }
    let service = Service::new(Way::Nat, Hook::Tc);
    let _echoes = service.echoes(PORT);
    let lb = service.start(&config(&service, "attach: auto"));
    eventually("lb says why", || lb.stderr().contains("XDP is not safe on eth"));
    Talk::open(&service.net, vip(0, PORT)).say("it forwards");
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    if !may_run() {
        return;
    }
    let service = Service::new(Way::Dr, Hook::Tc);
    let said = refused(&config(&service, "attach: tc, interfaces: [eth0, eth9]"));
    assert!(said.contains("eth9"), "{said}");
}

fn goes_on_where_an_interface_returns(hook: Hook) {
    if !may_run() {
        return;
    }
    let service = Service::new(Way::Nat, hook);
    let _echoes = service.echoes(PORT);
    let _lb = service.start(&service.config(PORT, "", ""));
    Talk::open(&service.net, vip(0, PORT)).say("it forwards");
    service.net.lb.ip("link del eth1");
    service.net.plug_in_again();
    // Without a program there, nobody translates what backends answer.
    eventually("it forwards again", || [0, 1].iter().all(|f| Talk::try_open(&service.net, vip(*f, PORT)).is_ok()));
}

#[test]
fn an_interface_that_returns_is_taken_again_by_tc() {
    goes_on_where_an_interface_returns(Hook::Tc);
}

#[test]
fn an_interface_that_returns_is_taken_again_by_xdp() {
    goes_on_where_an_interface_returns(Hook::Xdp);
}

fn another_mac_is_followed(hook: Hook) {
    if !may_run() {
        return;
    }
    let service = Service::new(Way::Nat, hook);
    let _echoes = service.echoes(PORT);
    let _lb = service.start(&service.config(PORT, "", ""));
    Talk::open(&service.net, vip(0, PORT)).say("it forwards");
    service.net.lb.ip("link set eth0 address 02:00:00:00:00:77");
    service.net.router.ip("neighbour flush dev eth1");
    eventually("it forwards again", || [0, 1].iter().all(|f| Talk::try_open(&service.net, vip(*f, PORT)).is_ok()));
}

#[test]
fn another_mac_is_followed_by_tc() {
    another_mac_is_followed(Hook::Tc);
}

#[test]
fn another_mac_is_followed_by_xdp() {
    another_mac_is_followed(Hook::Xdp);
}

#[test]
fn a_second_lb_is_refused() {
    if !may_run() {
        return;
    }
    let service = Service::new(Way::Dr, Hook::Tc);
    let config = config(&service, "attach: tc");
    let _lb = service.start(&config);
    let said = refused(&config);
    assert!(said.contains("another lb"), "{said}");
}

//! A virtual router with a MAC address of its own, and one that accepts nothing.

use std::fs;

use nix::sys::signal::Signal;

use crate::harness::{Agent, Frame, Lan, Mac, Setup, VRID, mac_of};
use crate::lan;
use crate::shared::poll;

const MACS: [Mac; 2] = [[0, 0, 0x5e, 0, 1, VRID], [0, 0, 0x5e, 0, 2, VRID]];

fn virtual_mac(setup: Setup) -> Mac {
    MACS[usize::from(setup.is_v6())]
}

/// What the peer's kernel knows of an address, after it has asked for it.
fn neighbour(lan: &Lan, address: &str) -> String {
    lan.peer.run("ip neighbour flush dev eth0");
    lan.peer.try_run(&format!("ping -c 1 -W 1 {address}"));
    lan.peer.run(&format!("ip neighbour show to {address}"))
}

fn text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[test]
fn adverts_and_announcements_come_from_the_virtual_mac() {
    for setup in [Setup::V3, Setup::V3OverIpv6, Setup::V2] {
        let lan = lan!();
        let agent = Agent::start(&lan, setup, "virtual_mac: true");
        agent.await_active(true);
        let wanted = virtual_mac(setup);
        let heard = agent.await_frames("announcements", 5, |frame| frame.announces(setup.vip()));
        assert!(heard[0].is_advert(), "{heard:?}");
        for frame in heard {
            match frame {
                Frame::Advert { from, source, .. } => {
                    assert_eq!(from, wanted);
                    assert_eq!(source.is_ipv6(), setup.is_v6());
                }
                // As sender, and as the target's link-layer address.
                Frame::Arp(frame) if frame[28..32] == [10, 0, 0, 100] => {
                    assert_eq!((&frame[6..12], &frame[22..28]), (&wanted[..], &wanted[..]));
                }
                Frame::NeighbourAdvertisement(frame) if frame[..2] == [0x33, 0x33] => {
                    assert_eq!((&frame[6..12], &frame[80..86]), (&wanted[..], &wanted[..]));
                }
                Frame::Arp(_) | Frame::NeighbourAdvertisement(_) => (),
            }
        }
    }
}

#[test]
fn the_virtual_mac_answers_for_the_address_and_the_host_for_its_own() {
    for (setup, own) in [(Setup::V3, "10.0.0.2"), (Setup::V3OverIpv6, "2001:db8::2")] {
        let lan = lan!();
        let _agent = Agent::active(&lan, setup, "virtual_mac: true");
        let entry = neighbour(&lan, setup.vip());
        assert!(entry.contains(&text(virtual_mac(setup))), "{entry}");
        assert!(lan.peer.try_run(&format!("ping -c 1 -W 5 {}", setup.vip())).status.success());
        let entry = neighbour(&lan, own);
        assert!(entry.contains(&text(mac_of(&lan.lb))), "{entry}");
    }
}

#[test]
fn a_backup_is_silent_on_the_virtual_mac() {
    let lan = lan!();
    let (agent, rival) = Agent::backup(&lan, Setup::V3, "virtual_mac: true");
    let received = || agent.metric("lb_vrrp_adverts_received_total", &[]);
    poll("adverts", || (received() > 10.0).then_some(()));
    assert_eq!(agent.wire.heard(), []);
    drop(rival);
    agent.await_active(true);
}

#[test]
fn nothing_of_it_is_left_at_the_end() {
    let lan = lan!();
    let (links, before) = (lan.lb.run("ip -brief link show type macvlan"), sysctls(&lan));
    let mut agent = Agent::active(&lan, Setup::V3, "virtual_mac: true");
    assert_ne!(sysctls(&lan), before);
    agent.lb.signal(Signal::SIGTERM);
    assert!(agent.lb.wait_for_exit().success());
    assert_eq!(lan.lb.run("ip -brief link show type macvlan"), links);
    assert_eq!(sysctls(&lan), before);
}

fn sysctls(lan: &Lan) -> [String; 3] {
    let of = |name| lan.lb.enter(move || fs::read_to_string(format!("/proc/sys/net/ipv4/conf/eth0/{name}")).unwrap());
    ["arp_ignore", "arp_announce", "promote_secondaries"].map(of)
}

#[test]
fn nothing_of_it_is_left_after_a_kill_and_another_life() {
    let (lan, run) = (lan!(), tempfile::tempdir().unwrap());
    let before = sysctls(&lan);
    let start = || Agent::active_in(run.path(), &lan, Setup::V3, "virtual_mac: true");
    for _ in 0..2 {
        let mut agent = start();
        assert_ne!(sysctls(&lan), before);
        agent.lb.signal(Signal::SIGKILL);
        agent.lb.wait_for_exit();
    }
    let mut agent = start();
    agent.lb.signal(Signal::SIGTERM);
    assert!(agent.lb.wait_for_exit().success());
    assert_eq!(sysctls(&lan), before);
    assert!(!run.path().join("admin.sock.sysctls").exists());
}

#[test]
fn what_somebody_has_set_after_a_kill_stays() {
    let (lan, run) = (lan!(), tempfile::tempdir().unwrap());
    let start = || Agent::active_in(run.path(), &lan, Setup::V3, "virtual_mac: true");
    let mut agent = start();
    agent.lb.signal(Signal::SIGKILL);
    agent.lb.wait_for_exit();
    lan.lb.sysctl("ipv4/conf/eth0/arp_announce", "1");
    let mut agent = start();
    agent.lb.signal(Signal::SIGTERM);
    assert!(agent.lb.wait_for_exit().success());
    assert_eq!(sysctls(&lan), ["0\n", "1\n", "0\n"]);
}

#[test]
fn what_a_killed_process_left_is_replaced() {
    let lan = lan!();
    let agent = Agent::active(&lan, Setup::V3, "virtual_mac: true");
    agent.lb.signal(Signal::SIGKILL);
    drop(agent);
    // Without a virtual MAC now, so that nothing but the start removes it.
    let _agent = Agent::active(&lan, Setup::V3, "");
    assert_eq!(lan.lb.run("ip -brief link show type macvlan"), "");
}

#[test]
fn a_router_that_accepts_nothing_still_has_its_address() {
    for setup in [Setup::V3, Setup::V3OverIpv6] {
        let lan = lan!();
        let mut agent = Agent::active(&lan, setup, "accept: false");
        let ping = |address: &str| lan.peer.try_run(&format!("ping -c 1 -W 0.3 {address}")).status.success();
        assert!(!ping(setup.vip()), "it answers");
        let entry = neighbour(&lan, setup.vip());
        assert!(entry.contains(&text(mac_of(&lan.lb))), "{entry}");
        assert!(ping(if setup.is_v6() { "2001:db8::2" } else { "10.0.0.2" }));
        agent.lb.reload(&setup.config(""));
        poll("it answers", || ping(setup.vip()).then_some(()));
        agent.lb.reload(&setup.config("accept: false"));
        poll("it does not answer", || (!ping(setup.vip())).then_some(()));
        agent.lb.signal(Signal::SIGTERM);
        assert!(agent.lb.wait_for_exit().success());
        assert_eq!(lan.lb.run("nft list ruleset"), "");
    }
}

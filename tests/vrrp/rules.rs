//! What lb makes of good packets (RFC 9568 section 6.4, RFC 3768 section 6.4).

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{Advert, Agent, Frame, HIGHER, LOWER, Lan, Rival, Setup, Sum};
use crate::lan;
use crate::shared::poll;

const OFTEN: Duration = Duration::from_millis(100);

/// As backup, what was received and dropped so far.
fn received(agent: &Agent) -> (f64, f64) {
    (agent.metric("lb_vrrp_adverts_received_total", &[]), agent.metric("lb_vrrp_advert_errors_total", &[]))
}

/// Sends one, which must be taken as good.
fn send_good(agent: &Agent, advert: &Advert) {
    let (good, bad) = received(agent);
    agent.wire.send(advert);
    poll("the advert is received", || (received(agent).0 > good).then_some(()));
    assert_eq!(received(agent).1, bad, "nothing is dropped");
}

#[test]
fn a_good_advert_may_differ_in_what_does_not_matter() {
    let lan = lan!();
    let (agent, rival) = Agent::backup(&lan, Setup::V3, "");
    let good = Setup::V3.good(&lan, 200);
    drop(rival);
    for (what, advert) in [
        ("no pseudo-header in the checksum", Advert { sum: Sum::Plain, ..good.clone() }),
        ("reserved bits", Advert { timing: [0xf0, 10], ..good.clone() }),
        ("padding that the length counts", Advert { tail: vec![0; 14], sum: Sum::Plain, ..good.clone() }),
        ("another interval", Advert { timing: [0, 20], ..good.clone() }),
        ("other addresses", Advert { addresses: vec![LOWER.parse().unwrap()], ..good.clone() }),
        ("more addresses", Advert { addresses: vec![good.source, good.addresses[0]], ..good.clone() }),
    ] {
        send_good(&agent, &advert);
        assert!(!agent.is_active(), "{what}");
    }
    for notice in ["interval_differs", "addresses_differ"] {
        assert!(agent.metric("lb_vrrp_notices_total", &[("notice", notice)]) > 0.0, "{notice}");
    }
}

#[test]
fn a_backup_waits_by_the_interval_of_the_active_router() {
    let lan = lan!();
    let (agent, rival) = Agent::backup(&lan, Setup::V3, "");
    drop(rival);
    // One second, of which three are to pass.
    let slow = Advert { timing: [0, 100], ..Setup::V3.good(&lan, 200) };
    let begun = Instant::now();
    send_good(&agent, &slow);
    agent.await_active(true);
    assert!(begun.elapsed() > Duration::from_secs(3), "after {:?}", begun.elapsed());
}

#[test]
fn a_backup_takes_over_when_the_active_router_lets_go() {
    for setup in [Setup::V3, Setup::V3OverIpv6, Setup::V3Unicast, Setup::V2] {
        let lan = lan!();
        let (agent, rival) = Agent::backup(&lan, setup, "");
        drop(rival);
        // Two seconds, of which 156/256 are to pass after a farewell, and three times as much after anything else.
        let timing = if setup.is_v2() { setup.timing() } else { [0, 200] };
        let begun = Instant::now();
        send_good(&agent, &Advert { timing, ..setup.good(&lan, 200) });
        send_good(&agent, &Advert { timing, ..setup.good(&lan, 0) });
        agent.await_active(true);
        let silence = if setup.is_v2() { 3 } else { 6 };
        assert!(begun.elapsed() < Duration::from_secs(silence), "{setup:?}: after {:?}", begun.elapsed());
        let heard = agent.await_frames("announcements", 5, |frame| frame.announces(setup.vip()));
        assert!(heard[0].is_advert(), "the advert comes before the announcement: {heard:?}");
    }
}

#[test]
fn an_active_router_answers_a_farewell_at_once() {
    let lan = lan!();
    // Its own next advert is far away.
    let agent = Agent::active(&lan, Setup::V3, "interval: 10s, priority: { lb: 255 }").settled();
    agent.wire.send(&Setup::V3.good(&lan, 0));
    agent.await_frame("advert", Frame::is_advert);
    assert!(agent.is_active());
}

/// What an active router of priority 100 does when it hears one.
fn hears(advert: fn(&Lan) -> Advert) -> (Lan, Agent) {
    let lan = Lan::build();
    let agent = Agent::active(&lan, Setup::V3, "").settled();
    send_good(&agent, &advert(&lan));
    (lan, agent)
}

/// It stays, and says so to whoever believed the other one.
fn stays(advert: fn(&Lan) -> Advert) {
    if !crate::hosts::may_run() {
        return;
    }
    let (_lan, agent) = hears(advert);
    let heard = agent.await_frames("announcement", 1, |frame| frame.announces(agent.setup.vip()));
    assert!(heard[0].is_advert(), "{heard:?}");
    assert!(agent.is_active() && agent.has_vip());
    assert_eq!(agent.changes(), 2.0, "backup, active");
}

/// So many more adverts.
fn hear_the_rival(agent: &Agent, count: f64) {
    let before = received(agent).0;
    poll("more of the rival's adverts", || (received(agent).0 >= before + count).then_some(()));
}

fn yields(advert: fn(&Lan) -> Advert) {
    if !crate::hosts::may_run() {
        return;
    }
    let (lan, agent) = hears(advert);
    let _rival = Rival::start(&agent.wire, &advert(&lan), OFTEN);
    agent.await_active(false);
    agent.wire.take();
    hear_the_rival(&agent, 25.0);
    // A few times it says that it had the addresses, so that the rival announces them; it does not itself.
    let after = agent.wire.take();
    assert!(!after.iter().any(|frame| frame.announces(agent.setup.vip())), "{after:?}");
    assert!(after.len() <= 3, "{after:?}");
}

#[test]
fn a_lower_priority_does_not_win() {
    stays(|lan| Setup::V3.good(lan, 99));
}

#[test]
fn an_equal_priority_with_a_lower_address_does_not_win() {
    stays(|lan| Advert { source: LOWER.parse().unwrap(), ..Setup::V3.good(lan, 100) });
}

#[test]
fn an_equal_priority_with_a_higher_address_wins() {
    yields(|lan| Advert { source: HIGHER.parse().unwrap(), ..Setup::V3.good(lan, 100) });
}

#[test]
fn a_higher_priority_wins() {
    yields(|lan| Setup::V3.good(lan, 101));
}

#[test]
fn the_owner_of_the_addresses_wins() {
    yields(|lan| Setup::V3.good(lan, 255));
}

#[test]
fn an_advert_of_ones_own_that_comes_back_is_nothing() {
    let lan = lan!();
    let agent = Agent::active(&lan, Setup::V3, "").settled();
    let own = Advert { source: "10.0.0.2".parse().unwrap(), ..Setup::V3.good(&lan, 255) };
    for _ in 0..3 {
        agent.wire.send(&own);
    }
    // One that is answered shows that they were looked at.
    agent.wire.send(&Setup::V3.good(&lan, 99));
    agent.await_frame("announcement", |frame| frame.announces(agent.setup.vip()));
    assert_eq!(agent.changes(), 2.0);
}

#[test]
fn a_backup_preempts_a_lower_priority() {
    let lan = lan!();
    let wire = Arc::new(crate::harness::Wire::open(&lan));
    let _rival = Rival::start(&wire, &Setup::V3.good(&lan, 99), OFTEN);
    let agent = Agent::start_on(wire, Setup::V3, "");
    agent.await_active(true);
}

#[test]
fn a_backup_that_must_not_preempt_waits_for_silence() {
    let lan = lan!();
    let wire = Arc::new(crate::harness::Wire::open(&lan));
    let rival = Rival::start(&wire, &Setup::V3.good(&lan, 1), OFTEN);
    let agent = Agent::start_on(wire, Setup::V3, "preempt_delay: never");
    // Longer than it would wait for a router that is silent.
    poll("adverts", || (received(&agent).0 >= 10.0).then_some(()));
    assert!(!agent.is_active());
    drop(rival);
    agent.await_active(true);
}

#[test]
fn the_owner_is_active_at_once() {
    let lan = lan!();
    // Nobody would be, before three intervals have passed.
    let agent = Agent::start(&lan, Setup::V3, "interval: 10s, priority: { lb: 255 }");
    let begun = Instant::now();
    agent.await_active(true);
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn another_host_with_the_address_is_answered() {
    let lan = lan!();
    let agent = Agent::active(&lan, Setup::V3, "").settled();
    let vip = Setup::V3.vip().parse().unwrap();
    let frame = lb_vrrp::packet::announcement(vip, [2, 0, 0, 0, 0, 0x98], false);
    agent.wire.send_frame(&frame);
    agent.await_frame("announcement", |frame| frame.announces(Setup::V3.vip()));
    poll("notice", || (agent.metric("lb_vrrp_notices_total", &[("notice", "conflict")]) > 0.0).then_some(()));
    assert!(agent.is_active());
}

#[test]
fn an_address_that_somebody_removes_comes_back() {
    let lan = lan!();
    let agent = Agent::active(&lan, Setup::V3, "").settled();
    lan.lb.ip("address del 10.0.0.100/24 dev eth0");
    poll("address", || agent.has_vip().then_some(()));
    agent.await_frame("announcement", |frame| frame.announces(Setup::V3.vip()));
}

#[test]
fn the_address_stays_when_the_host_loses_its_own() {
    let lan = lan!();
    let agent = Agent::active(&lan, Setup::V3Unicast, "").settled();
    lan.lb.ip("address del 10.0.0.2/24 dev eth0\naddress add 10.0.0.2/24 dev eth0");
    poll("address", || agent.has_vip().then_some(()));
    assert!(agent.is_active() || agent.changes() > 2.0);
}

#[test]
fn a_frozen_router_looks_before_it_speaks() {
    let lan = lan!();
    let agent = Agent::active(&lan, Setup::V3, "").settled();
    agent.lb.signal(Signal::SIGSTOP);
    // Somebody takes over meanwhile.
    let rival = Rival::start(&agent.wire, &Setup::V3.good(&lan, 150), OFTEN);
    thread::sleep(Duration::from_secs(1));
    agent.wire.take();
    agent.lb.signal(Signal::SIGCONT);
    agent.await_active(false);
    hear_the_rival(&agent, 5.0);
    let said = agent.wire.take();
    assert!(!said.iter().any(|frame| frame.announces(agent.setup.vip())), "{said:?}");
    drop(rival);
    agent.await_active(true);
    assert_eq!(agent.changes(), 4.0, "backup, active, backup, active");
}

#[test]
fn an_interface_that_goes_away_and_comes_back_is_followed_by_its_name() {
    let lan = lan!();
    let agent = Agent::active(&lan, Setup::V3, "").settled();
    lan.lb.ip("link delete eth0");
    poll("not active", || (!agent.is_active()).then_some(()));
    lan.switch.port(&lan.lb, "eth0", "lan");
    lan.lb.ip("address add 10.0.0.2/24 dev eth0");
    agent.await_active(true);
    agent.await_frames("announcements", 5, |frame| frame.announces(agent.setup.vip()));
}

#[test]
fn over_ipv6_it_waits_for_an_address_to_send_from() {
    let lan = lan!();
    lan.lb.ip("link set eth0 down\nlink set eth0 addrgenmode none\nlink set eth0 up");
    let agent = Agent::start(&lan, Setup::V3OverIpv6, "");
    let role = || agent.lb.cli_ok(&["vrrp", "status"]);
    poll("waiting", || role().contains("waiting").then_some(()));
    assert_eq!(agent.wire.heard(), []);
    lan.lb.ip("address add fe80::2/64 dev eth0 nodad");
    agent.await_active(true);
}

#[test]
fn a_wire_that_is_cut_and_mended() {
    let lan = lan!();
    let agent = Agent::active(&lan, Setup::V3, "").settled();
    lan.switch.space.ip("link set lb-eth0 down");
    agent.await_active(false);
    lan.switch.space.ip("link set lb-eth0 up");
    agent.await_active(true);
}

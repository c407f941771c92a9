//! Packets that lb has to drop. Each is counted under its reason, once, and changes nothing: neither on a backup, for
//! which it says that the active router lets go, nor on an active router, for which it has the highest priority.

use std::collections::BTreeSet;

use crate::harness::{Advert, Agent, HIGHER, Lan, Setup, Sum, VRID};
use crate::lan;
use crate::shared::poll;

/// What is wrong with it, the reason under which it is counted, and how it is made from a good one.
type Probe = (&'static str, &'static str, fn(&mut Advert));

const OF_ALL: &[Probe] = &[
    ("TTL 254", "ttl", |a| a.ttl = 254),
    ("TTL 1", "ttl", |a| a.ttl = 1),
    ("version 0", "version", |a| a.version = 0),
    ("version 1", "version", |a| a.version = 1),
    ("version 4", "version", |a| a.version = 4),
    ("the other version", "version", |a| a.version = 5 - a.version),
    ("type 0", "type", |a| a.kind = 0),
    ("type 2", "type", |a| a.kind = 2),
    ("no address", "address_count", |a| {
        a.count = Some(0);
        a.addresses.clear();
    }),
    ("an address, and count 0", "address_count", |a| a.count = Some(0)),
    ("count 2, and one address", "length", |a| a.count = Some(2)),
    ("count 255, and one address", "length", |a| a.count = Some(255)),
    // Fewer could be the padding of a short Ethernet frame.
    ("count 1, and nine addresses", "length", |a| {
        a.addresses.extend([a.source; 8]);
        a.count = Some(1);
    }),
    ("half an address", "length", |a| a.cut = a.tail.len() + 2),
    ("bytes behind the end", "length", |a| a.tail.extend([1; 4])),
    ("seven bytes", "short", |a| a.cut = a.frame_length() - 7),
    ("two bytes", "short", |a| a.cut = a.frame_length() - 2),
    ("checksum wrong", "checksum", |a| a.sum = Sum::Wrong),
    ("interval 0", "interval", |a| a.timing[1] = 0),
];

const OF_V3: &[Probe] = &[("a password as in version 2", "length", |a| a.tail = b"sesame\0\0".to_vec())];

const OF_IPV6: &[Probe] = &[("checksum without pseudo-header", "checksum", |a| a.sum = Sum::Plain)];

const OF_V2: &[Probe] = &[
    ("checksum with pseudo-header", "checksum", |a| a.sum = Sum::WithPseudoHeader),
    ("another interval", "interval", |a| a.timing[1] = 2),
    ("an unknown authentication", "auth", |a| a.timing[0] = 3),
    ("AH", "auth", |a| a.timing[0] = 2),
    ("no room for a password", "length", |a| a.tail.clear()),
];

const OF_V2_WITHOUT_PASSWORD: &[Probe] = &[("a password", "auth", |a| {
    a.timing[0] = 1;
    a.tail = b"sesame\0\0".to_vec();
})];

const OF_V2_WITH_PASSWORD: &[Probe] = &[
    ("no password", "auth", |a| {
        a.timing[0] = 0;
        a.tail = vec![0; 8];
    }),
    ("another password", "auth", |a| a.tail = b"melon\0\0\0".to_vec()),
    ("a longer password", "auth", |a| a.tail = b"sesames\0".to_vec()),
];

const OF_MULTICAST: &[Probe] = &[("to lb itself", "destination", |a| a.destination = "10.0.0.2".parse().unwrap())];

const OF_UNICAST: &[Probe] = &[
    ("to the group", "destination", |a| {
        a.destination = "224.0.0.18".parse().unwrap();
        a.to = [1, 0, 0x5e, 0, 0, 0x12];
    }),
    ("from somebody who is no peer", "peer", |a| a.source = HIGHER.parse().unwrap()),
];

fn probes(setup: Setup) -> Vec<Probe> {
    let of_setup: &[&[Probe]] = match setup {
        Setup::V3 => &[OF_V3, OF_MULTICAST],
        Setup::V3OverIpv6 => &[OF_V3, OF_IPV6],
        Setup::V3Unicast => &[OF_V3, OF_UNICAST],
        Setup::V2 => &[OF_V2, OF_V2_WITHOUT_PASSWORD, OF_MULTICAST],
        Setup::V2Password => &[OF_V2, OF_V2_WITH_PASSWORD, OF_MULTICAST],
    };
    [&[OF_ALL], of_setup].concat().concat()
}

impl Advert {
    fn frame_length(&self) -> usize {
        let address = if self.source.is_ipv6() { 16 } else { 4 };
        8 + address * self.addresses.len() + self.tail.len()
    }
}

/// Sends each, and waits until it is counted.
fn probe_all(lan: &Lan, agent: &Agent, priority: u8) {
    let good = agent.setup.good(lan, priority);
    let before = agent.changes();
    for (name, reason, spoil) in probes(agent.setup) {
        let mut advert = good.clone();
        spoil(&mut advert);
        let counted = agent.drops(reason);
        agent.wire.send(&advert);
        poll(&format!("{name} counts as {reason}: {:?}", agent.setup), || {
            (agent.drops(reason) > counted).then_some(())
        });
        assert_eq!(agent.drops(reason), counted + 1.0, "{name}");
        assert_eq!(agent.changes(), before, "{name} changes the role");
    }
    foreign_vrid_is_none_of_ours(agent, &good);
    assert_eq!(agent.changes(), before, "something changed the role after a while");
}

/// It belongs to another virtual router, so it counts as nobody's error.
fn foreign_vrid_is_none_of_ours(agent: &Agent, good: &Advert) {
    let strangers = || agent.metric("lb_vrrp_strangers_total", &[]);
    let (before, errors) = (strangers(), agent.metric("lb_vrrp_advert_errors_total", &[]));
    agent.wire.send(&Advert { vrid: VRID + 1, ..good.clone() });
    poll("an advert of another virtual router", || (strangers() > before).then_some(()));
    assert_eq!(agent.metric("lb_vrrp_advert_errors_total", &[]), errors);
}

fn change_nothing_on_a_backup(setup: Setup) {
    let lan = lan!();
    let (agent, _rival) = Agent::backup(&lan, setup, "");
    probe_all(&lan, &agent, 0);
    assert!(!agent.has_vip());
    assert_eq!(agent.wire.heard(), [], "a backup is silent");
}

fn change_nothing_on_an_active_router(setup: Setup) {
    let lan = lan!();
    let agent = Agent::active(&lan, setup, "");
    probe_all(&lan, &agent, 255);
    assert!(agent.has_vip());
    assert!(agent.wire.heard().iter().filter(|frame| frame.is_advert()).all(|frame| frame.priority() == Some(100)));
}

macro_rules! of_each_setup {
    ($($name:ident: $setup:ident,)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn change_nothing_on_a_backup() {
                super::change_nothing_on_a_backup(Setup::$setup);
            }

            #[test]
            fn change_nothing_on_an_active_router() {
                super::change_nothing_on_an_active_router(Setup::$setup);
            }
        }
    )*};
}

of_each_setup! {
    v3: V3,
    v3_over_ipv6: V3OverIpv6,
    v3_unicast: V3Unicast,
    v2: V2,
    v2_with_a_password: V2Password,
}

#[test]
fn every_probe_has_a_name_of_its_own() {
    for setup in Setup::ALL {
        let names: Vec<_> = probes(setup).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }
}

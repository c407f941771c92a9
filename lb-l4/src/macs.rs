//! Whom frames are for: the MAC addresses that this host has on the interfaces that the program is on. Its own, and
//! those of what stands on top: VLANs, bridges and bonds with an address of their own, virtual routers.

use std::collections::{BTreeMap, BTreeSet};

use crate::abi::{MAC_SLOTS, MacKey, mac_state};
use crate::host::Host;
use crate::netlink::{Kind, Link};

/// With what `enum mac_state` says of each.
pub type Macs = BTreeMap<MacKey, u32>;

/// Of these interfaces.
pub fn of(host: &Host, interfaces: impl Iterator<Item = u32>) -> Macs {
    let links: Vec<&Link> = host.links().collect();
    collect(&links, interfaces)
}

fn collect(links: &[&Link], interfaces: impl Iterator<Item = u32>) -> Macs {
    let mut macs = Macs::new();
    for interface in interfaces {
        for link in with_those_on_top(links, interface) {
            let Some(state) = state_of(link, interface) else { continue };
            for ifindex in itself_and_members(links, interface) {
                let known = macs.entry(MacKey { ifindex, mac: link.mac, zero: 0 }).or_insert(state);
                // Of two that share an address, one that is up decides.
                *known = state.min(*known);
            }
        }
    }
    macs
}

/// A driver may run an interface's XDP program where a member of it receives: netvsc_vf_setxdp() of
/// drivers/net/hyperv, bond_xdp_set() of drivers/net/bonding.
fn itself_and_members(links: &[&Link], interface: u32) -> impl Iterator<Item = u32> {
    links.iter().filter(move |l| l.index == interface || l.master == Some(interface)).map(|l| l.index)
}

/// A virtual router's macvlan is down while another node is active; of anything else that is down, nothing comes.
fn state_of(link: &Link, interface: u32) -> Option<u32> {
    match link.up && link.carrier {
        _ if link.index == interface => Some(mac_state::OURS),
        true => Some(mac_state::OURS),
        false => (link.kind == Kind::Macvlan).then_some(mac_state::STANDBY),
    }
}

fn with_those_on_top<'l>(links: &[&'l Link], interface: u32) -> Vec<&'l Link> {
    let mut found: Vec<&Link> = links.iter().copied().filter(|link| link.index == interface).collect();
    let mut seen = BTreeSet::from([interface]);
    let mut next = 0;
    while let Some(lower) = found.get(next).copied() {
        found.extend(links.iter().copied().filter(|link| is_on_top(link, lower) && seen.insert(link.index)));
        next += 1;
    }
    found
}

/// Does `upper` receive frames that come to `lower`?
fn is_on_top(upper: &Link, lower: &Link) -> bool {
    match upper.kind {
        Kind::Vlan { .. } | Kind::Macvlan => upper.lower == Some(lower.index) && !upper.lower_is_elsewhere,
        Kind::Bridge | Kind::Bond | Kind::Team => lower.master == Some(upper.index),
        _ => false,
    }
}

/// Where the program finds the addresses that are ours without a look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slots {
    pub factor: u64,
    pub words: [u64; MAC_SLOTS],
}

/// Enough for sixteen addresses to have a slot each, nearly always.
const TRIES: u64 = 256;

impl Slots {
    /// With the factor by which most have one.
    pub fn of(macs: &Macs) -> Self {
        let ours: Vec<u64> =
            macs.iter().filter(|(_, state)| **state == mac_state::OURS).map(|(k, _)| word(k)).collect();
        let mut best = Self::with(1, &[]);
        let mut most = 0;
        for factor in factors() {
            let slots = Self::with(factor, &ours);
            let held = slots.words.iter().filter(|word| **word != 0).count();
            if held > most {
                (best, most) = (slots, held);
            }
            if most == ours.len() {
                break;
            }
        }
        best
    }

    fn with(factor: u64, ours: &[u64]) -> Self {
        let mut words = [0; MAC_SLOTS];
        for word in ours {
            words[slot(*word, factor)] = *word;
        }
        Self { factor, words }
    }
}

/// Odd numbers without a pattern (those of splitmix64).
fn factors() -> impl Iterator<Item = u64> {
    (1..=TRIES).map(|n| {
        let x = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x | 1
    })
}

/// As mac_word() of bpf/mac.h.
fn word(key: &MacKey) -> u64 {
    let [a, b, c, d, e, f] = key.mac;
    u64::from_le_bytes([0, 0, a, b, c, d, e, f]) ^ u64::from(key.ifindex)
}

fn slot(word: u64, factor: u64) -> usize {
    (word.wrapping_mul(factor) >> (64 - MAC_SLOTS.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIRTUAL: [u8; 6] = [0, 0, 0x5E, 0, 1, 51];

    fn link(index: u32, kind: Kind, last: u8) -> Link {
        Link {
            index,
            name: format!("i{index}"),
            kind,
            up: true,
            carrier: true,
            loopback: false,
            ethernet: true,
            mac: [2, 0, 0, 0, 0, last],
            mtu: 1500,
            master: None,
            lower: None,
            lower_is_elsewhere: false,
        }
    }

    fn macvlan(index: u32, lower: u32) -> Link {
        Link { lower: Some(lower), mac: VIRTUAL, ..link(index, Kind::Macvlan, 0) }
    }

    fn key(ifindex: u32, mac: [u8; 6]) -> MacKey {
        MacKey { ifindex, mac, zero: 0 }
    }

    fn collected(links: &[Link], interfaces: &[u32]) -> Macs {
        collect(&links.iter().collect::<Vec<_>>(), interfaces.iter().copied())
    }

    #[test]
    fn an_interface_has_its_own_address_up_or_not() {
        let down = Link { up: false, ..link(2, Kind::Device, 2) };
        let macs = collected(&[down, link(3, Kind::Device, 3)], &[2]);
        assert_eq!(macs, [(key(2, [2, 0, 0, 0, 0, 2]), mac_state::OURS)].into());
    }

    #[test]
    fn a_virtual_mac_is_ours_while_its_macvlan_is_up() {
        let ours = |links: &[Link]| collected(links, &[2]).get(&key(2, VIRTUAL)).copied();
        let lower = link(2, Kind::Device, 2);
        assert_eq!(ours(&[lower.clone(), macvlan(5, 2)]), Some(mac_state::OURS));
        let down = Link { up: false, ..macvlan(5, 2) };
        assert_eq!(ours(&[lower.clone(), down.clone()]), Some(mac_state::STANDBY));
        assert_eq!(ours(&[lower.clone(), Link { carrier: false, ..macvlan(5, 2) }]), Some(mac_state::STANDBY));
        assert_eq!(ours(&[lower.clone(), down, macvlan(6, 2)]), Some(mac_state::OURS), "one of two is up");
        assert_eq!(ours(&[lower.clone(), macvlan(5, 3)]), None, "of another interface");
        let elsewhere = Link { lower_is_elsewhere: true, ..macvlan(5, 2) };
        assert_eq!(ours(&[lower, elsewhere]), None, "of an interface of another namespace");
    }

    #[test]
    fn what_stands_on_top_counts_however_high() {
        let port = Link { master: Some(4), ..link(2, Kind::Veth, 2) };
        let vlan = Link { lower: Some(4), ..link(5, Kind::Vlan { id: 7 }, 5) };
        let links = [port, link(3, Kind::Veth, 3), link(4, Kind::Bridge, 4), vlan, macvlan(6, 5)];
        let expected = [[2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 4], [2, 0, 0, 0, 0, 5], VIRTUAL];
        assert_eq!(collected(&links, &[2]), expected.map(|mac| (key(2, mac), mac_state::OURS)).into());
        let peer = Link { lower: Some(2), ..link(7, Kind::Veth, 7) };
        assert_eq!(collected(&[link(2, Kind::Veth, 2), peer], &[2]).len(), 1, "the other end of a veth is not on top");
    }

    #[test]
    fn what_comes_to_a_member_counts_as_well() {
        let member = Link { master: Some(2), ..link(3, Kind::Device, 2) };
        let macs = collected(&[link(2, Kind::Device, 2), member], &[2]);
        assert_eq!(macs, [2, 3].map(|index| (key(index, [2, 0, 0, 0, 0, 2]), mac_state::OURS)).into());
    }

    #[test]
    fn each_of_sixteen_has_a_slot() {
        let all = |n: u8| (key(2, [0, 0, 0x5E, 0, 1, n]), mac_state::OURS);
        let macs: Macs = (0..16).map(all).collect();
        let slots = Slots::of(&macs);
        for word in macs.keys().map(word) {
            assert_eq!(slots.words[slot(word, slots.factor)], word);
        }
    }

    #[test]
    fn more_than_there_are_slots_have_some() {
        let all = |n: u32| (key(n, [2, 0, 0, 0, 0, 1]), if n == 7 { mac_state::STANDBY } else { mac_state::OURS });
        let macs: Macs = (1..=1000).map(all).collect();
        let slots = Slots::of(&macs);
        assert!(slots.words.iter().filter(|word| **word != 0).count() > 60);
        assert!(!slots.words.contains(&word(&key(7, [2, 0, 0, 0, 0, 1]))), "only what is ours");
        assert_eq!(Slots::of(&Macs::new()).words, [0; MAC_SLOTS]);
    }
}

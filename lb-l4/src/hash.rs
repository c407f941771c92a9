//! The hashes, as the program computes them: which entry of a ring a client gets, where a flow
//! stands in the table, and which bit of `settings.vip_bits` belongs to an address.

use crate::abi::{Addr, FlowKey, Port};

/// Of the whole 5-tuple: with `ring_seed` it chooses a destination.
pub fn hash_flow(key: &FlowKey, seed: u64) -> u64 {
    let [a, b] = words(&key.src);
    let [c, d] = words(&key.dst);
    finish([a, b, c, d, ports_and_protocol(key)].into_iter().fold(seed, mix))
}

/// Of the 5-tuple in fewer rounds, with `flow_seed`: it chooses the bucket.
pub fn hash_table(key: &FlowKey, seed: u64) -> u64 {
    let [a, b] = words(&key.src);
    let [c, d] = words(&key.dst);
    let rest: &[u64] = if a == 0 { &[] } else { &[a, c, d] };
    let hash = rest.iter().copied().fold(mix(seed, b ^ d >> 32), mix);
    finish(mix(hash, ports_and_protocol(key)))
}

/// Of the client's address alone (ip-hash).
pub fn hash_src(src: &Addr, seed: u64) -> u64 {
    finish(words(src).into_iter().fold(seed, mix))
}

/// Which of the 4,096 bits of `settings.vip_bits` stands for an address.
pub fn addr_bit(addr: &Addr) -> usize {
    (hash_src(addr, 0) & 0xFFF) as usize
}

/// The entry of a ring of `size` that a hash falls on: the upper half, scaled.
pub fn ring_index(hash: u64, size: u32) -> u32 {
    (((hash >> 32) * u64::from(size)) >> 32) as u32
}

/// Where a flow may stand in a table of `mask + 1` buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Never 0, which marks an empty way.
    pub tag: u32,
    pub first: u32,
    /// Differs from `first` where there is more than one bucket.
    pub second: u32,
}

impl Place {
    pub fn new(hash: u64, mask: u32) -> Self {
        let tag = (hash >> 32) as u32 | 1;
        let first = hash as u32 & mask;
        let second = (first ^ tag.wrapping_mul(0x5BD1_E995)) & mask;
        let second = if second == first { (first ^ 1) & mask } else { second };
        Self { tag, first, second }
    }
}

fn words(addr: &Addr) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, rest @ ..] = addr.0;
    [u64::from_ne_bytes([a, b, c, d, e, f, g, h]), u64::from_ne_bytes(rest)]
}

/// The last eight bytes of the key.
fn ports_and_protocol(key: &FlowKey) -> u64 {
    let wire = |port: Port| u16::from(port).to_be_bytes();
    let ([s0, s1], [d0, d1]) = (wire(key.sport), wire(key.dport));
    u64::from_ne_bytes([s0, s1, d0, d1, key.proto, 0, 0, 0])
}

fn mix(hash: u64, word: u64) -> u64 {
    let hash = (hash ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    hash ^ hash >> 32
}

fn finish(hash: u64) -> u64 {
    let hash = (hash ^ hash >> 33).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    hash ^ hash >> 33
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;

    fn key(client: u32, sport: u16) -> FlowKey {
        FlowKey {
            src: IpAddr::from(Ipv4Addr::from(0x0A00_0000 | client)).into(),
            dst: IpAddr::from(Ipv4Addr::new(192, 0, 2, 1)).into(),
            sport: sport.into(),
            dport: 80.into(),
            proto: 6,
            zero: [0; 3],
        }
    }

    #[test]
    fn values_stay_what_running_programs_have_in_their_tables() {
        assert_eq!(hash_flow(&key(1, 1024), 7), 0x85C6_BBB3_05E9_AB0A);
        assert_eq!(hash_src(&key(1, 1024).src, 7), 0x488D_A69A_6A2E_72D4);
        assert_eq!(hash_table(&key(1, 1024), 7), 0x77BD_7BCD_7361_02D1);
        let [src, dst] = [1, 2].map(|n| IpAddr::from(Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, n)).into());
        assert_eq!(hash_table(&FlowKey { src, dst, ..key(1, 1024) }, 7), 0xE26D_03F4_1B36_4E5A);
        assert_eq!(addr_bit(&key(1, 1024).dst), 3166);
    }

    #[test]
    fn every_part_of_the_key_matters() {
        let first = key(1, 1024);
        let other = [
            FlowKey { src: key(2, 0).src, ..first },
            FlowKey { dst: first.src, ..first },
            FlowKey { sport: 1025.into(), ..first },
            FlowKey { dport: 81.into(), ..first },
            FlowKey { proto: 17, ..first },
        ];
        let hashes: HashSet<u64> = other.iter().chain([&first]).map(|key| hash_flow(key, 7)).collect();
        assert_eq!(hashes.len(), 6);
        assert_ne!(hash_flow(&first, 7), hash_flow(&first, 8));
        let places: HashSet<u64> = other.iter().chain([&first]).map(|key| hash_table(key, 7)).collect();
        assert_eq!(places.len(), 6);
    }

    #[test]
    fn rings_are_hit_evenly_by_neighbouring_ports() {
        let mut hits = [0_u32; 10];
        for port in 1024..21024 {
            hits[ring_index(hash_flow(&key(1, port), 1), 10) as usize] += 1;
        }
        assert!(hits.iter().all(|&n| (1800..2200).contains(&n)), "{hits:?}");
    }

    #[test]
    fn a_ring_index_stays_inside() {
        assert_eq!(ring_index(u64::MAX, 3), 2);
        assert_eq!(ring_index(0, 3), 0);
        assert_eq!(ring_index(u64::MAX, 1), 0);
    }

    #[test]
    fn a_flow_has_two_places() {
        for port in 0..10_000 {
            let place = Place::new(hash_table(&key(1, port), 3), 0xFF);
            assert_ne!(place.tag, 0);
            assert_ne!(place.first, place.second);
            assert!(place.first <= 0xFF && place.second <= 0xFF);
        }
    }
}

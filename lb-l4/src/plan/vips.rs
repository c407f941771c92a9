//! Which addresses lead to which frontend, and the bits by which the program sees that one leads nowhere.

use std::collections::HashMap;

use super::Layout;
use super::change::{Change, Operation, VipBits};
use crate::abi::{Addr, Port, VipKey};
use crate::desired::Desired;
use crate::hash::addr_bit;

impl Layout {
    pub(super) fn insert_vips(&mut self, desired: &Desired, places: &[u32], change: &mut Change) {
        let mut wanted = HashMap::new();
        for (key, frontend) in targets(desired) {
            wanted.entry(key).or_insert(places[frontend]);
        }
        // The bits first: a set bit only makes the program look.
        let mut bits = self.vip_bits.clone();
        wanted.keys().for_each(|key| set_bit(&mut bits, &key.addr));
        self.put_vip_bits(bits, change);
        // Old keys before new ones, since the map may not hold both. What they lead to goes later.
        let old: Vec<VipKey> = self.vips.keys().filter(|key| !wanted.contains_key(key)).copied().collect();
        for key in old {
            self.vips.remove(&key);
            change.push(Operation::RemoveVip { key });
        }
        for (key, index) in &wanted {
            if self.vips.insert(*key, *index) != Some(*index) {
                change.push(Operation::InsertVip { key: *key, index: *index });
            }
        }
    }

    pub(super) fn forget_vip_bits(&mut self, desired: &Desired, change: &mut Change) {
        let mut bits = Box::new([0; 64]);
        desired.frontends.iter().for_each(|f| set_bit(&mut bits, &f.key.addr));
        self.put_vip_bits(bits, change);
    }

    fn put_vip_bits(&mut self, bits: Box<VipBits>, change: &mut Change) {
        if self.vip_bits != bits {
            self.vip_bits = bits.clone();
            change.push(Operation::WriteVipBits(bits));
        }
    }
}

/// All keys of `vips`, each with the index of a frontend; the first one of a key counts. For each
/// address there is one under which echo requests are answered.
pub(super) fn targets(desired: &Desired) -> impl Iterator<Item = (VipKey, usize)> {
    let echo = |key: &VipKey| {
        let is_v4 = std::net::IpAddr::from(key.addr).is_ipv4();
        let proto = if is_v4 { libc::IPPROTO_ICMP } else { libc::IPPROTO_ICMPV6 };
        VipKey { port: Port::default(), proto: proto as u8, ..*key }
    };
    desired.frontends.iter().enumerate().flat_map(move |(i, f)| [(f.key, i), (echo(&f.key), i)])
}

fn set_bit(bits: &mut VipBits, addr: &Addr) {
    let bit = addr_bit(addr);
    bits[bit >> 6] |= 1 << (bit & 63);
}

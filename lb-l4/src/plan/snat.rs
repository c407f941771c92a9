//! Where the lists of addresses stand that stand in for clients (`snat`).

use std::collections::{HashMap, HashSet};

use super::{Change, Layout, Operation};
use crate::abi::Addr;
use crate::desired::Desired;

impl Layout {
    /// Lists of addresses that are the same share their entries; new ones stand behind all old ones
    /// while there is room, so that what frontends use is not overwritten.
    pub(super) fn snat_bases(&mut self, desired: &Desired, change: &mut Change) -> HashMap<Vec<Addr>, u32> {
        let mut lists: Vec<&Vec<Addr>> = vec![];
        for frontend in &desired.frontends {
            if !lists.contains(&&frontend.snat) {
                lists.push(&frontend.snat);
            }
        }
        let bases = self.place_snat(&lists).unwrap_or_else(|| packed(&lists));
        for (list, base) in &bases {
            self.write_snat(list, *base, change);
        }
        bases
    }

    fn write_snat(&mut self, list: &[Addr], base: u32, change: &mut Change) {
        for (index, address) in (base..).zip(list) {
            if self.snat.len() <= index as usize {
                self.snat.resize(index as usize + 1, Addr::default());
            }
            if self.snat[index as usize] != *address {
                self.snat[index as usize] = *address;
                change.push(Operation::WriteSnat { index, address: *address });
            }
        }
    }

    /// Where frontends have the lists already, and free entries for the others. `None`: there are not enough in a
    /// row.
    fn place_snat(&self, lists: &[&Vec<Addr>]) -> Option<HashMap<Vec<Addr>, u32>> {
        let mut taken = self.snat_in_use();
        let mut bases = HashMap::new();
        for list in lists {
            let base = self.find_snat(list).or_else(|| self.free_snat(list.len() as u32, &taken))?;
            taken.extend(base..base + list.len() as u32);
            bases.insert((*list).clone(), base);
        }
        Some(bases)
    }

    fn snat_in_use(&self) -> HashSet<u32> {
        let used = self.frontends.values().filter(|f| f.used != 0);
        used.flat_map(|f| f.snat_base..f.snat_base.saturating_add(f.snat_count)).collect()
    }

    fn find_snat(&self, list: &[Addr]) -> Option<u32> {
        let holds = |base: u32| self.snat.get(base as usize..).is_some_and(|rest| rest.starts_with(list));
        let used = self.frontends.values().filter(|f| f.used != 0 && f.snat_count as usize == list.len());
        used.map(|f| f.snat_base).filter(|base| holds(*base)).min()
    }

    fn free_snat(&self, size: u32, taken: &HashSet<u32>) -> Option<u32> {
        let last = self.capacity.snat.saturating_sub(size);
        (0..=last).find(|base| (*base..*base + size).all(|i| !taken.contains(&i)))
    }
}

/// One behind the other from the first entry on: all that [`Layout::check`] lets through fits, but until its frontend is
/// written a flow may get an address of another list.
fn packed(lists: &[&Vec<Addr>]) -> HashMap<Vec<Addr>, u32> {
    let mut next = 0;
    let place = |list: &&Vec<Addr>| {
        let base = next;
        next += list.len() as u32;
        ((*list).clone(), base)
    };
    lists.iter().map(place).collect()
}

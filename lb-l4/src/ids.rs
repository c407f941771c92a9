//! Which place in the maps a frontend or a destination has: the same for as long as anybody may know it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

/// Places of an array, by the identity of what stands there.
///
/// What is retired keeps its place, for flows still name it, and gets it back when it returns. A place
/// is given to somebody else once it is forgotten, or, where all are taken, the longest retired first.
#[derive(Debug, Clone)]
pub struct Places<K> {
    capacity: u32,
    by_key: HashMap<K, u32>,
    slots: Vec<Slot<K>>,
    /// By the order in which they were retired.
    retired: BTreeMap<u64, u32>,
    free: BTreeSet<u32>,
    retirements: u64,
}

#[derive(Debug, Clone)]
enum Slot<K> {
    Free,
    Used(K),
    Retired(K, u64),
}

/// Every place is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl<K: Copy + Eq + Hash> Places<K> {
    pub fn new(capacity: u32) -> Self {
        Self {
            capacity,
            by_key: HashMap::new(),
            slots: Vec::new(),
            retired: BTreeMap::new(),
            free: BTreeSet::new(),
            retirements: 0,
        }
    }

    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// What was found in the maps at the start. `false`: the place or the key is taken, and nothing was done.
    pub fn restore(&mut self, index: u32, key: K, used: bool) -> bool {
        if index >= self.capacity || self.by_key.contains_key(&key) {
            return false;
        }
        while self.slots.len() as u32 <= index {
            self.free.insert(self.slots.len() as u32);
            self.slots.push(Slot::Free);
        }
        if !self.free.remove(&index) {
            return false;
        }
        self.by_key.insert(key, index);
        self.slots[index as usize] = Slot::Used(key);
        if !used {
            self.retire(&key);
        }
        true
    }

    /// The place of what is in use.
    pub fn used(&self, key: &K) -> Option<u32> {
        self.by_key.get(key).copied().filter(|index| matches!(self.slots[*index as usize], Slot::Used(_)))
    }

    pub fn is_retired(&self, index: u32) -> bool {
        matches!(self.slots.get(index as usize), Some(Slot::Retired(..)))
    }

    /// Everything that is in use, in no order.
    pub fn all_used(&self) -> impl Iterator<Item = (K, u32)> {
        self.by_key.iter().map(|(k, i)| (*k, *i)).filter(|(_, i)| matches!(self.slots[*i as usize], Slot::Used(_)))
    }

    /// The place of `key`, from now on in use: the one that it has or had, else a free one.
    pub fn take(&mut self, key: K) -> Result<u32, Full> {
        let index = match self.by_key.get(&key) {
            Some(index) => *index,
            None => self.vacant().ok_or(Full)?,
        };
        if let Slot::Retired(_, order) = self.slots[index as usize] {
            self.retired.remove(&order);
        }
        self.by_key.insert(key, index);
        self.slots[index as usize] = Slot::Used(key);
        Ok(index)
    }

    /// No longer in use, but not forgotten.
    pub fn retire(&mut self, key: &K) {
        let Some(index) = self.used(key) else { return };
        self.retirements += 1;
        self.slots[index as usize] = Slot::Retired(*key, self.retirements);
        self.retired.insert(self.retirements, index);
    }

    /// Nobody names this place any more. Only what is retired is forgotten.
    pub fn forget(&mut self, index: u32) {
        if let Some(Slot::Retired(key, order)) = self.slots.get(index as usize) {
            let (key, order) = (*key, *order);
            self.by_key.remove(&key);
            self.retired.remove(&order);
            self.slots[index as usize] = Slot::Free;
            self.free.insert(index);
        }
    }

    /// The lowest free place, a new one, or that of the longest retired.
    fn vacant(&mut self) -> Option<u32> {
        if let Some(index) = self.free.pop_first() {
            return Some(index);
        }
        if (self.slots.len() as u32) < self.capacity {
            self.slots.push(Slot::Free);
            return Some(self.slots.len() as u32 - 1);
        }
        let (_, index) = self.retired.pop_first()?;
        if let Slot::Retired(key, _) = self.slots[index as usize] {
            self.by_key.remove(&key);
        }
        self.slots[index as usize] = Slot::Free;
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn who_returns_gets_its_place_back() {
        let mut places = Places::new(3);
        let a = places.take('a').unwrap();
        places.take('b').unwrap();
        places.retire(&'a');
        assert_eq!(places.used(&'a'), None);
        places.take('c').unwrap();
        assert_eq!(places.take('a'), Ok(a));
    }

    #[test]
    fn the_longest_retired_goes_first() {
        let mut places = Places::new(2);
        for key in ['a', 'b'] {
            places.take(key).unwrap();
        }
        places.retire(&'b');
        places.retire(&'a');
        assert_eq!(places.take('c'), Ok(1));
        assert_eq!(places.take('d'), Ok(0));
        assert_eq!(places.take('e'), Err(Full));
    }

    #[test]
    fn the_forgotten_go_before_the_retired() {
        let mut places = Places::new(2);
        for key in ['a', 'b'] {
            places.take(key).unwrap();
            places.retire(&key);
        }
        places.forget(1);
        assert_eq!(places.take('c'), Ok(1));
        assert!(places.is_retired(0));
    }

    #[test]
    fn what_was_found_is_taken_up() {
        let mut places = Places::new(8);
        assert!(places.restore(5, 'f', true));
        assert!(places.restore(2, 'c', false));
        assert!(!places.restore(5, 'g', true), "one place, two keys");
        assert!(!places.restore(3, 'f', true), "one key, two places");
        assert!(!places.restore(8, 'i', true), "beyond the map");
        assert_eq!(places.take('c'), Ok(2));
        assert_eq!(places.take('x'), Ok(0));
        assert_eq!(places.used(&'f'), Some(5));
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Take(u8),
        Retire(u8),
        Forget(u32),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..12u8).prop_map(Step::Take),
            (0..12u8).prop_map(Step::Retire),
            (0..6u32).prop_map(Step::Forget),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn a_used_place_belongs_to_one_and_never_moves(steps in steps()) {
            let mut places = Places::new(6);
            let mut model = HashMap::new();
            for step in steps {
                match step {
                    Step::Take(key) => match places.take(key) {
                        Ok(index) => {
                            prop_assert!(index < 6);
                            prop_assert!(model.insert(key, index).is_none_or(|old| old == index));
                        }
                        Err(Full) => prop_assert_eq!(model.len(), 6),
                    },
                    Step::Retire(key) => {
                        places.retire(&key);
                        model.remove(&key);
                    }
                    Step::Forget(index) => places.forget(index),
                }
                let used: BTreeSet<u32> = model.values().copied().collect();
                prop_assert_eq!(used.len(), model.len());
                prop_assert_eq!(places.all_used().collect::<HashMap<_, _>>(), model.clone());
            }
        }
    }
}

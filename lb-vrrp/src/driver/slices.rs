//! A virtual router may have a thousand addresses. What is to be done with all of them is done a slice at a time, and
//! between two slices adverts go out and come in.

use std::ops::Range;

/// Addresses handled without a look at anything else: about a millisecond.
pub const SLICE: usize = 64;

/// What is still to be done with the addresses of one virtual router; they go by their index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pending {
    change: Option<Change>,
    announce: Option<Announce>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    adds: bool,
    next: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Announce {
    rounds: u8,
    next: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slice {
    Add(Range<usize>),
    Remove(Range<usize>),
    Announce(Range<usize>),
}

impl Pending {
    pub fn is_empty(&self) -> bool {
        self.change.is_none() && self.announce.is_none()
    }

    /// Are addresses to be added or removed?
    pub fn changes(&self) -> bool {
        self.change.is_some()
    }

    /// From the first one on, whatever was under way.
    pub fn add(&mut self) {
        self.change = Some(Change { adds: true, next: 0 });
    }

    /// What is not ours any more is not announced either.
    pub fn remove(&mut self) {
        *self = Self { change: Some(Change { adds: false, next: 0 }), announce: None };
    }

    /// So many frames for each address, round by round; not before all addresses are there. A round that is under way
    /// comes to its end first: with many addresses, spaced, there may be others before that.
    pub fn announce(&mut self, rounds: u8) {
        if rounds == 0 {
            return;
        }
        let Announce { rounds: before, next } = self.announce.take().unwrap_or(Announce { rounds: 0, next: 0 });
        let rounds = rounds.saturating_add(u8::from(next > 0));
        self.announce = Some(Announce { rounds: rounds.max(before), next });
    }

    /// The last slice was not announced from there on.
    pub fn announce_from(&mut self, index: usize) {
        match &mut self.announce {
            // It was the last one of its round.
            Some(announce) if announce.next == 0 => {
                announce.rounds = announce.rounds.saturating_add(1);
                announce.next = index;
            }
            Some(announce) => announce.next = index,
            None => self.announce = Some(Announce { rounds: 1, next: index }),
        }
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// What comes next, of `count` addresses. The caller does it at once.
    pub fn next(&mut self, count: usize) -> Option<Slice> {
        self.next_change(count).or_else(|| self.next_announcement(count))
    }

    fn next_change(&mut self, count: usize) -> Option<Slice> {
        let change = self.change.as_mut()?;
        let (adds, range) = (change.adds, advance(&mut change.next, count));
        if change.next >= count {
            self.change = None;
        }
        Some(if adds { Slice::Add(range) } else { Slice::Remove(range) })
    }

    fn next_announcement(&mut self, count: usize) -> Option<Slice> {
        let announce = self.announce.as_mut()?;
        let range = advance(&mut announce.next, count);
        if announce.next >= count {
            announce.rounds = announce.rounds.saturating_sub(1);
            announce.next = 0;
        }
        if announce.rounds == 0 {
            self.announce = None;
        }
        Some(Slice::Announce(range))
    }
}

fn advance(next: &mut usize, count: usize) -> Range<usize> {
    let start = (*next).min(count);
    *next = (start + SLICE).min(count);
    start..*next
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pending: &mut Pending, count: usize) -> Vec<Slice> {
        std::iter::from_fn(|| pending.next(count)).collect()
    }

    #[test]
    fn addresses_are_added_before_they_are_announced() {
        let mut pending = Pending::default();
        pending.add();
        pending.announce(2);
        let expected = [
            Slice::Add(0..64),
            Slice::Add(64..100),
            Slice::Announce(0..64),
            Slice::Announce(64..100),
            Slice::Announce(0..64),
            Slice::Announce(64..100),
        ];
        assert_eq!(all(&mut pending, 100), expected);
        assert!(pending.is_empty());
    }

    #[test]
    fn letting_go_ends_what_was_under_way() {
        let mut pending = Pending::default();
        pending.add();
        pending.announce(5);
        assert_eq!(pending.next(100), Some(Slice::Add(0..64)));
        pending.remove();
        assert_eq!(all(&mut pending, 100), [Slice::Remove(0..64), Slice::Remove(64..100)]);
    }

    #[test]
    fn a_second_announcement_forgets_no_round_and_does_not_begin_anew() {
        let mut pending = Pending::default();
        pending.announce(3);
        assert_eq!(pending.next(100), Some(Slice::Announce(0..64)));
        pending.announce(1);
        assert_eq!(all(&mut pending, 100).len(), 5);
        pending.announce(1);
        assert_eq!(pending.next(100), Some(Slice::Announce(0..64)));
        pending.announce(1);
        let rest = [Slice::Announce(64..100), Slice::Announce(0..64), Slice::Announce(64..100)];
        assert_eq!(all(&mut pending, 100), rest);
    }

    #[test]
    fn what_was_not_sent_is_sent_later() {
        let mut pending = Pending::default();
        pending.announce(1);
        assert_eq!(pending.next(100), Some(Slice::Announce(0..64)));
        pending.announce_from(10);
        assert_eq!(all(&mut pending, 100), [Slice::Announce(10..74), Slice::Announce(74..100)]);
        pending.announce(2);
        assert_eq!(pending.next(20), Some(Slice::Announce(0..20)));
        pending.announce_from(5);
        assert_eq!(all(&mut pending, 20), [Slice::Announce(5..20), Slice::Announce(0..20)]);
        pending.announce_from(19);
        assert_eq!(all(&mut pending, 20), [Slice::Announce(19..20)]);
    }

    #[test]
    fn no_addresses_end_at_once() {
        let mut pending = Pending::default();
        pending.add();
        pending.announce(1);
        assert!(all(&mut pending, 0).len() <= 2);
    }
}

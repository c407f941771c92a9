//! The effective priority: what is configured, less what is down.

use std::fmt;

/// What a node has to offer at the moment ([`crate::machine::Event::Tracked`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Effective {
    pub priority: u8,
    /// Something without a weight is down: this node cannot be active at all.
    pub fault: bool,
}

/// One thing that is tracked: an interface, a pool, a script.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tracker {
    /// As logs and status name it.
    pub name: String,
    pub weight: Weight,
    /// As last observed; the caller says what that means and how often it has to be seen.
    pub is_up: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Weight {
    /// Down is Fault.
    Fault,
    /// Below zero: added while it is down. Above zero: added while it is up. As keepalived has it.
    Add(i16),
}

/// All that one virtual router tracks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tracking {
    base: u8,
    trackers: Vec<Tracker>,
}

impl Tracking {
    /// `base` is the configured priority of this node, 1 to 255.
    pub fn new(base: u8, trackers: Vec<Tracker>) -> Self {
        Self { base, trackers }
    }

    pub fn trackers(&self) -> &[Tracker] {
        &self.trackers
    }

    /// What was observed of the tracker at `index`; the effect, if it is another than before.
    pub fn observe(&mut self, index: usize, is_up: bool) -> Option<Effective> {
        let before = self.effective();
        self.trackers.get_mut(index)?.is_up = is_up;
        Some(self.effective()).filter(|after| *after != before)
    }

    pub fn effective(&self) -> Effective {
        let change: i32 = self.trackers.iter().map(Tracker::adds).sum();
        Effective { priority: self.clamped(change), fault: self.trackers.iter().any(Tracker::is_fault) }
    }

    /// 255 is the owner of the addresses (RFC 9568 section 5.2.4), whatever is tracked, and nobody else becomes it; 0
    /// is a farewell.
    fn clamped(&self, change: i32) -> u8 {
        if self.base == 255 {
            return 255;
        }
        let priority = i32::from(self.base).saturating_add(change).clamp(1, 254);
        u8::try_from(priority).unwrap_or(self.base)
    }
}

impl Tracker {
    fn adds(&self) -> i32 {
        match self.weight {
            Weight::Add(weight) if self.is_up == (weight > 0) => weight.into(),
            Weight::Add(_) | Weight::Fault => 0,
        }
    }

    fn is_fault(&self) -> bool {
        self.weight == Weight::Fault && !self.is_up
    }
}

impl fmt::Display for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.name, if self.is_up { "up" } else { "down" })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tracker(weight: Weight, is_up: bool) -> Tracker {
        Tracker { name: "eth1".into(), weight, is_up }
    }

    #[test]
    fn a_pool_without_healthy_backends_takes_its_weight_away() {
        let mut tracking = Tracking::new(150, vec![tracker(Weight::Add(-60), true)]);
        assert_eq!(tracking.observe(0, false), Some(Effective { priority: 90, fault: false }));
        assert_eq!(tracking.observe(0, false), None, "nothing new");
        assert_eq!(tracking.observe(0, true), Some(Effective { priority: 150, fault: false }));
    }

    #[test]
    fn a_weight_above_zero_is_added_while_it_is_up() {
        let mut tracking = Tracking::new(100, vec![tracker(Weight::Add(20), true)]);
        assert_eq!(tracking.effective().priority, 120);
        assert_eq!(tracking.observe(0, false), Some(Effective { priority: 100, fault: false }));
    }

    #[test]
    fn what_is_down_without_a_weight_is_a_fault() {
        let mut tracking = Tracking::new(100, vec![tracker(Weight::Fault, true), tracker(Weight::Add(-10), false)]);
        assert_eq!(tracking.observe(0, false), Some(Effective { priority: 90, fault: true }));
        assert_eq!(tracking.observe(7, false), None, "there is no such tracker");
    }

    proptest! {
        /// DESIGN: trackers never cross 254/255, nor do they say farewell.
        #[test]
        fn trackers_never_make_an_owner_or_unmake_one(
            base in 1_u8..=255, weights in prop::collection::vec((-254_i16..=254, any::<bool>()), 0..20),
        ) {
            let trackers = weights.iter().map(|(weight, up)| tracker(Weight::Add(*weight), *up)).collect();
            let priority = Tracking::new(base, trackers).effective().priority;
            prop_assert!(priority >= 1);
            prop_assert_eq!(priority == 255, base == 255);
        }
    }
}

//! Which sequence numbers of a session have come: each counts once, late ones within reach included, as in RFC 4303
//! section 3.4.3.

/// So many numbers below the highest are remembered.
const REACH: u64 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    highest: u64,
    /// Bit `n`: `highest - n` has come.
    seen: u64,
}

/// That one has come, and nothing before it counts.
impl From<u64> for Window {
    fn from(sequence: u64) -> Self {
        Self { highest: sequence, seen: u64::MAX }
    }
}

impl Window {
    /// `false`: it came before, or it is too old to tell.
    pub fn take(&mut self, sequence: u64) -> bool {
        if sequence > self.highest {
            let ahead = sequence - self.highest;
            self.seen = if ahead < REACH { self.seen << ahead | 1 } else { 1 };
            self.highest = sequence;
            return true;
        }
        let behind = self.highest - sequence;
        if behind >= REACH || self.seen >> behind & 1 == 1 {
            return false;
        }
        self.seen |= 1 << behind;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn late_ones_count_once_and_old_ones_never() {
        let mut window = Window::from(0);
        assert!(window.take(5));
        assert!(window.take(3));
        assert!(!window.take(3));
        assert!(!window.take(5));
        assert!(window.take(5 + REACH));
        assert!(!window.take(5));
        assert!(window.take(6));
        assert!(!window.take(0));
        assert!(window.take(u64::MAX));
        assert!(!window.take(u64::MAX));
    }

    proptest! {
        #[test]
        fn nothing_counts_twice_and_what_is_in_order_always_does(steps in prop::collection::vec(0u64..200, 1..300)) {
            let (mut window, mut counted, mut highest) = (Window::from(0), HashSet::new(), 0);
            for sequence in steps {
                let is_new = window.take(sequence);
                prop_assert!(!is_new || counted.insert(sequence));
                prop_assert!(is_new || sequence <= highest);
                highest = highest.max(sequence);
            }
        }
    }
}

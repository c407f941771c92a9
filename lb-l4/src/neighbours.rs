//! Which of the next hops that the program has met the kernel is asked for: pure, with the time passed in.
//!
//! Packets make them, so strangers can: with the addresses of a network of this host as their own. An address that
//! nobody has costs an entry of the kernel's table and broadcasts on that network, and is asked for within a budget; what
//! the kernel knows already costs neither.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::abi;

/// An address on an interface.
pub type Neighbour = (u32, IpAddr);

/// Each is asked for this often at most.
const AGAIN: Duration = Duration::from_secs(3);
/// Those among them that the kernel does not know. It gives up after three seconds, and goes through its table for what
/// has failed every fifteen: so these stay below its `gc_thresh2` of 512.
const UNKNOWN: usize = 48;

/// What was asked for lately.
#[derive(Default)]
pub struct Asked(HashMap<Neighbour, Ask>);

struct Ask {
    at: Instant,
    known: bool,
}

impl Asked {
    /// Is this one to be asked for now? `known`: the kernel has an address for it.
    pub fn admits(&mut self, neighbour: Neighbour, known: bool, now: Instant) -> bool {
        self.0.retain(|_, ask| now.saturating_duration_since(ask.at) < AGAIN);
        let unknown = self.0.values().filter(|ask| !ask.known).count();
        if self.0.contains_key(&neighbour) || (!known && unknown >= UNKNOWN) {
            return false;
        }
        self.0.insert(neighbour, Ask { at: now, known });
        true
    }
}

impl From<abi::Neighbour> for Neighbour {
    fn from(asked: abi::Neighbour) -> Self {
        (asked.ifindex, asked.addr.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(n: u32) -> Neighbour {
        (2, IpAddr::from(n.to_be_bytes()))
    }

    #[expect(clippy::disallowed_methods, reason = "a point to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn each_is_asked_for_once_in_a_while() {
        let (mut asked, now) = (Asked::default(), start());
        assert!(asked.admits(host(1), false, now));
        assert!(!asked.admits(host(1), false, now + AGAIN / 2));
        assert!(!asked.admits(host(1), true, now + AGAIN / 2), "whatever became of it");
        assert!(asked.admits(host(1), false, now + AGAIN));
    }

    #[test]
    fn addresses_that_nobody_has_are_asked_for_within_a_budget() {
        let (mut asked, now) = (Asked::default(), start());
        let admitted = (0..1000).filter(|n| asked.admits(host(*n), false, now)).count();
        assert_eq!(admitted, UNKNOWN);
        assert!(asked.admits(host(5000), true, now), "what the kernel knows is verified all the same");
        let later = (1000..2000).filter(|n| asked.admits(host(*n), false, now + AGAIN)).count();
        assert_eq!(later, UNKNOWN);
    }
}

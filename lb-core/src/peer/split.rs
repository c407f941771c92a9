//! A split brain that shows: another node says that it is active for a virtual router for which this one is too. The
//! nodes hear each other here, but not each other's adverts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::machine::PeerId;

/// Of a failover both are active for moments. Where adverts get through, one of them lets go long before this.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
pub struct Splits(Vec<Split>);

#[derive(Debug)]
struct Split {
    peer: PeerId,
    router: Arc<str>,
    since: Instant,
    is_told: bool,
}

/// To be logged.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    Split { peer: PeerId, router: Arc<str> },
    Healed { peer: PeerId, router: Arc<str> },
}

impl Splits {
    /// `both`: for which virtual routers this node is active now, and which other node says that it is too.
    pub fn observe(&mut self, now: Instant, both: &[(PeerId, Arc<str>)]) -> Vec<Change> {
        let mut changes = self.end(both);
        for (peer, router) in both {
            if !self.0.iter().any(|split| split.is(*peer, router)) {
                self.0.push(Split { peer: *peer, router: router.clone(), since: now, is_told: false });
            }
        }
        let is_due = |split: &&mut Split| !split.is_told && now.saturating_duration_since(split.since) >= PATIENCE;
        changes.extend(self.0.iter_mut().filter(is_due).map(|split| {
            split.is_told = true;
            Change::Split { peer: split.peer, router: split.router.clone() }
        }));
        changes
    }

    fn end(&mut self, both: &[(PeerId, Arc<str>)]) -> Vec<Change> {
        let goes_on = |split: &mut Split| both.iter().any(|(peer, router)| split.is(*peer, router));
        let ended = self.0.extract_if(.., |split| !goes_on(split)).filter(|split| split.is_told);
        ended.map(|split| Change::Healed { peer: split.peer, router: split.router }).collect()
    }

    /// The virtual routers that this node and another one have both been active for, for a while.
    pub fn with(&self, peer: PeerId) -> impl Iterator<Item = &Arc<str>> {
        self.0.iter().filter(move |split| split.is_told && split.peer == peer).map(|split| &split.router)
    }
}

impl Split {
    fn is(&self, peer: PeerId, router: &str) -> bool {
        self.peer == peer && *self.router == *router
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a virtual clock has to begin somewhere")]
mod tests {
    use super::*;

    fn public() -> [(PeerId, Arc<str>); 1] {
        [(0, "public".into())]
    }

    #[test]
    fn a_split_is_told_once_when_it_lasts_and_once_when_it_ends() {
        let (begin, mut splits) = (Instant::now(), Splits::default());
        let router: Arc<str> = "public".into();
        for ms in [0, 1000, 2999] {
            assert_eq!(splits.observe(begin + Duration::from_millis(ms), &public()), []);
        }
        assert_eq!(splits.with(0).count(), 0);
        let begun = [Change::Split { peer: 0, router: router.clone() }];
        assert_eq!(splits.observe(begin + PATIENCE, &public()), begun);
        assert_eq!(splits.observe(begin + 2 * PATIENCE, &public()), []);
        assert_eq!((splits.with(0).count(), splits.with(1).count()), (1, 0));
        assert_eq!(splits.observe(begin + 3 * PATIENCE, &[]), [Change::Healed { peer: 0, router }]);
        assert_eq!(splits.with(0).count(), 0);
    }

    #[test]
    fn a_failover_is_none() {
        let (begin, mut splits) = (Instant::now(), Splits::default());
        for n in 0..10 {
            assert_eq!(splits.observe(begin + n * PATIENCE / 2, &public()), []);
            assert_eq!(splits.observe(begin + n * PATIENCE / 2 + PATIENCE / 3, &[]), []);
        }
    }
}

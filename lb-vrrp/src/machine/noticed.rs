//! What RFC 9568 section 7.1 wants logged, not dropped: each difference once.

use std::net::IpAddr;
use std::time::Duration;

use smallvec::SmallVec;

use super::{Action, Actions, Notice, Settings};
use crate::packet::Advert;

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Noticed {
    intervals: Reported<Duration>,
    addresses: Reported<()>,
    owners: Reported<()>,
}

impl Noticed {
    pub fn compare(&mut self, settings: &Settings, from: IpAddr, advert: &Advert, out: &mut Actions) {
        // A farewell says nothing but that.
        if advert.priority == 0 {
            return;
        }
        let (ours, theirs) = (settings.interval, advert.interval);
        if self.intervals.is_news(from, (theirs != ours).then_some(theirs)) {
            out.push(Action::Notice(Notice::IntervalDiffers { from, ours, theirs }));
        }
        if self.addresses.is_news(from, (!advert.lists(&settings.addresses)).then_some(())) {
            out.push(Action::Notice(Notice::AddressesDiffer { from }));
        }
        // Erratum 8298: an owner that hears others logs it, and goes on.
        if self.owners.is_news(from, (settings.is_owner() && advert.priority == 255).then_some(())) {
            out.push(Action::Notice(Notice::SecondOwner { from }));
        }
    }
}

/// By sender; of the last few, so that strangers cannot fill the memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Reported<T>(SmallVec<[(IpAddr, T); 2]>);

const SENDERS: usize = 8;

impl<T: PartialEq> Reported<T> {
    /// `difference`: what is odd about `from` now, if anything.
    fn is_news(&mut self, from: IpAddr, difference: Option<T>) -> bool {
        let known = self.0.iter().position(|(sender, _)| *sender == from);
        let before = known.map(|at| self.0.remove(at).1);
        let is_news = difference.is_some() && difference != before;
        if self.0.len() >= SENDERS {
            self.0.remove(0);
        }
        self.0.extend(difference.map(|difference| (from, difference)));
        is_news
    }
}

impl<T> Default for Reported<T> {
    fn default() -> Self {
        Self(SmallVec::new())
    }
}

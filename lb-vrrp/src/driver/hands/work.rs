//! Addresses, a slice at a time: adding, removing and announcing a thousand of them holds nobody up for long.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Hands;
use crate::driver::holding::Holding;
use crate::driver::kernel::Kernel;
use crate::driver::letters::{Charge, Doing};
use crate::driver::slices::{SLICE, Slice};
use crate::net::Link;
use crate::packet::{Frame, announcement};
use crate::routers::RouterId;

/// How long the queue of an interface that is full is left alone.
const FULL: Duration = Duration::from_millis(5);

impl<K: Kernel> Hands<K> {
    pub(super) fn work(&mut self) {
        let count = self.holdings.len();
        let mut order = (0..count).map(|step| (self.turn + step) % count);
        let may_work = |at: &usize| self.holdings[*at].next_work().is_some_and(|work| work <= self.now);
        if let Some(at) = order.find(may_work) {
            self.turn = at + 1;
            self.work_on(at);
        }
    }

    fn work_on(&mut self, at: usize) {
        let holding = &mut self.holdings[at];
        holding.pause = None;
        let Some(link) = holding.ground().cloned() else {
            // With the interface, its addresses are gone.
            return holding.forget_work();
        };
        let id = holding.charge.id;
        if !holding.dropped.is_empty() {
            let rest = holding.dropped.split_off(holding.dropped.len().min(SLICE));
            let slice = std::mem::replace(&mut holding.dropped, rest);
            let done = self.kernel.remove(link.index, &slice);
            self.check(id, Doing::Remove, done);
            return;
        }
        match holding.pending.next(holding.charge.addresses.len()) {
            Some(Slice::Add(range)) => {
                let done = self.kernel.add(link.index, &holding.charge.addresses[range]);
                self.check(id, Doing::Add, done);
            }
            Some(Slice::Remove(range)) => {
                let done = self.kernel.remove(link.index, &holding.charge.addresses[range]);
                self.check(id, Doing::Remove, done);
                self.lower(id);
            }
            Some(Slice::Announce(range)) => self.announce(at, &link, range),
            None => {}
        }
    }

    /// When all addresses are gone.
    fn lower(&mut self, id: RouterId) {
        let is_done = |holding: &mut Holding<K::Socket>| !holding.holds && holding.pending.is_empty();
        if self.holding(id).is_some_and(|holding| is_done(holding) && holding.view.virtual_door.is_some()) {
            let done = self.kernel.lower_virtual(id);
            self.check(id, Doing::VirtualMac, done);
            self.show(id, |view| view.virtual_door = None);
        }
    }

    fn announce(&mut self, at: usize, link: &Link, range: Range<usize>) {
        let holding = &mut self.holdings[at];
        let (Some(mac), family) = (link.mac, holding.charge.place.family) else { return };
        if !holding.charge.board.are_ours.load(Ordering::Acquire) {
            return;
        }
        let forwards = self.kernel.forwards(link, family);
        let Charge { addresses, spacing, .. } = &holding.charge;
        let (addresses, spacing) = (addresses.get(range.clone()).unwrap_or_default(), *spacing);
        let most = if spacing.is_zero() { SLICE } else { 1 };
        let announced = addresses.iter().take(most).map(|ip| announcement(ip.addr(), mac, forwards));
        let (frames, count) = (announced.collect::<Vec<Frame>>(), addresses.len());
        match self.kernel.announce(link, &frames) {
            Ok(sent) => {
                holding.charge.board.counters.announcements.add(sent as u64);
                if sent < count {
                    holding.pending.announce_from(range.start + sent);
                }
                let wait = if sent < frames.len() { FULL.max(spacing) } else { spacing };
                holding.pause = (!wait.is_zero()).then(|| self.now + wait);
            }
            Err(errno) => {
                let id = holding.charge.id;
                self.check::<()>(id, Doing::Announce, Err(errno));
            }
        }
    }
}

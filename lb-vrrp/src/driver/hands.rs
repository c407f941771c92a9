//! What is done with interfaces and addresses. The kernel makes everybody who changes or lists them wait for one lock,
//! which others hold for as long as they want; so this has a thread of its own, and adverts go on meanwhile.

//!
//! | file | what it does |
//! |---|---|
//! | this one | orders of the head, and what becomes of them |
//! | `hands/look.rs` | interfaces, and what stands on them |
//! | `hands/work.rs` | addresses, a slice at a time |
//! | `hands/mend.rs` | what others do to them |

mod look;
mod mend;
mod work;

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use nix::errno::Errno;

use super::holding::Holding;
use super::kernel::Kernel;
use super::letters::{Charge, Doing, Entry, Finding, Order};
use super::mailbox::Mailbox;
use crate::net::Change;
use crate::routers::RouterId;
use crate::time::Time;

pub struct Hands<K: Kernel> {
    pub kernel: K,
    holdings: Vec<Holding<K::Socket>>,
    journal: Arc<Mailbox<Entry>>,
    /// What the head is to be told.
    pub findings: Vec<Finding<K::Socket>>,
    /// Interfaces whose addresses somebody else changed.
    touched: Vec<u32>,
    /// Of these, somebody removed an address.
    robbed: Vec<RouterId>,
    /// Whose addresses are worked on next.
    turn: usize,
    now: Time,
    has_ended: bool,
}

/// What happens.
impl<K: Kernel> Hands<K> {
    /// Everything up to the next call happens now.
    pub fn begin(&mut self, now: Time) {
        self.now = now;
    }

    pub fn obey(&mut self, order: Order) {
        match order {
            Order::Keep(charge) => self.keep(*charge),
            Order::Hold(id) => self.hold(id),
            Order::LetGo(id) => self.let_go(id),
            Order::Announce { id, repeat } => {
                if let Some(holding) = self.holding(id) {
                    holding.pending.announce(repeat);
                }
            }
            Order::Release(id) => {
                if let Some(holding) = self.holding(id) {
                    holding.is_released = true;
                }
            }
            Order::End => self.has_ended = true,
        }
    }

    pub fn changed(&mut self, change: Change) {
        match change {
            Change::Link(link) => self.follow_link(&link),
            Change::LinkGone { index, name } => self.follow_loss(index, &name),
            Change::Address { index, address, added } => self.follow_address(index, &address, added),
            Change::Overrun => self.look_at_everything(),
        }
    }

    /// Another host announces an address of a virtual router.
    pub fn contested(&mut self, id: RouterId) {
        if self.holding(id).is_some_and(|holding| holding.holds) {
            self.findings.push(Finding::Contested(id));
        }
    }

    /// After everything else: what was learned of addresses, and a slice of the work.
    pub fn settle(&mut self) {
        self.look_where_touched();
        self.look_for_missing();
        self.work();
        self.release();
    }

    /// Without orders: whoever gives them is gone.
    pub fn abandon(&mut self) {
        let all: Vec<RouterId> = self.holdings.iter().map(|holding| holding.charge.id).collect();
        for id in all {
            self.let_go(id);
            self.obey(Order::Release(id));
        }
        while !self.holdings.is_empty() {
            self.settle();
        }
    }
}

impl<K: Kernel> Hands<K> {
    pub fn new(kernel: K, journal: Arc<Mailbox<Entry>>) -> Self {
        Self {
            kernel,
            holdings: Vec::new(),
            journal,
            findings: Vec::new(),
            touched: Vec::new(),
            robbed: Vec::new(),
            turn: 0,
            now: Time::ZERO,
            has_ended: false,
        }
    }

    /// When there is something to do, and be it at once.
    pub fn next_work(&self) -> Option<Time> {
        self.holdings.iter().filter_map(Holding::next_work).min()
    }

    pub fn now(&self) -> Time {
        self.now
    }

    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    fn holding(&mut self, id: RouterId) -> Option<&mut Holding<K::Socket>> {
        self.holdings.iter_mut().find(|holding| holding.charge.id == id)
    }

    /// What goes wrong again and again is told once in a while.
    fn check<T>(&mut self, id: RouterId, doing: Doing, done: Result<T, Errno>) -> Option<T> {
        let now = self.now;
        match done {
            Ok(value) => Some(value),
            Err(errno) => {
                if self.holding(id).is_some_and(|holding| holding.complaints.may(now, doing)) {
                    // One that does not fit is counted by the mailbox.
                    let _ = self.journal.put(Entry::Trouble { id, doing, errno });
                }
                None
            }
        }
    }
}

/// Orders.
impl<K: Kernel> Hands<K> {
    fn keep(&mut self, charge: Charge) {
        let id = charge.id;
        self.tell_interfaces(&charge.tracked);
        let is_new = self.holding(id).is_none();
        if is_new {
            self.holdings.push(Holding::new(charge));
        } else {
            self.change(charge);
        }
        self.filter(id);
        self.look(id);
        if is_new {
            let charge = self.holding(id).map(|holding| holding.charge.addresses.clone()).unwrap_or_default();
            let leftovers = charge.iter().any(|address| self.kernel.was_left(address));
            self.findings.push(Finding::Looked { id, leftovers });
        }
    }

    fn change(&mut self, charge: Charge) {
        let id = charge.id;
        let Some(holding) = self.holding(id) else { return };
        if holding.replace(charge) {
            self.eavesdrop(id);
        }
    }

    fn filter(&mut self, id: RouterId) {
        let refused = self.holdings.iter().filter(|holding| !holding.charge.accept);
        let refused: Vec<IpAddr> = refused.flat_map(|holding| &holding.charge.addresses).map(IpNet::addr).collect();
        let done = self.kernel.refuse(&refused);
        self.check(id, Doing::Filter, done);
    }

    fn hold(&mut self, id: RouterId) {
        let Some(holding) = self.holding(id) else { return };
        holding.holds = true;
        holding.pending.add();
        self.raise(id);
    }

    /// The interface with the virtual MAC is up only while its addresses are there.
    fn raise(&mut self, id: RouterId) {
        let Some(holding) = self.holdings.iter().find(|holding| holding.charge.id == id) else { return };
        if holding.virtual_link.is_some() && holding.view.virtual_door.is_none() {
            let raised = self.kernel.raise_virtual(id, &holding.charge.place);
            let door = self.check(id, Doing::VirtualMac, raised);
            self.show(id, |view| view.virtual_door = door);
        }
    }

    fn let_go(&mut self, id: RouterId) {
        if let Some(holding) = self.holding(id) {
            holding.holds = false;
            holding.pending.remove();
        }
    }

    /// Of those that have ended, and have nothing left.
    fn release(&mut self) {
        while let Some(at) = self.holdings.iter().position(Holding::is_gone) {
            let id = self.holdings[at].charge.id;
            self.detach(id);
            let holding = self.holdings.remove(at);
            if !holding.charge.accept {
                self.filter(id);
            }
            self.findings.push(Finding::Released(id));
        }
    }
}

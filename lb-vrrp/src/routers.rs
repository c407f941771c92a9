//! All virtual routers of a node. What happens to one can concern others: those of a sync group are active together or
//! not at all.

use smallvec::SmallVec;

use crate::machine::{Action, Actions, Event, Machine, Notice, Role, RoleChange, Settings};
use crate::time::Time;

/// Given by the driver.
pub type RouterId = u32;
pub type GroupId = u32;
/// In order; those of one virtual router may be interleaved with those of others in its group.
pub type Outputs = SmallVec<[(RouterId, Action); 8]>;

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Routers(Vec<Router>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Router {
    id: RouterId,
    group: Option<GroupId>,
    machine: Machine,
}

impl Routers {
    /// Replaces the one with the same id, if any. It does nothing before [`Event::Started`].
    pub fn insert(&mut self, id: RouterId, group: Option<GroupId>, settings: Settings) {
        let machine = if group.is_some() { Machine::grouped(settings) } else { Machine::new(settings) };
        self.remove(id);
        self.0.push(Router { id, group, machine });
    }

    /// One that was stopped.
    pub fn remove(&mut self, id: RouterId) {
        self.0.retain(|router| router.id != id);
    }

    /// A reload moved it.
    pub fn set_group(&mut self, id: RouterId, group: Option<GroupId>) {
        if let Some(router) = self.0.iter_mut().find(|router| router.id == id) {
            router.group = group;
            router.machine.set_grouped(group.is_some());
        }
    }

    pub fn get(&self, id: RouterId) -> Option<&Machine> {
        self.0.iter().find(|router| router.id == id).map(|router| &router.machine)
    }

    pub fn iter(&self) -> impl Iterator<Item = (RouterId, &Machine)> {
        self.0.iter().map(|router| (router.id, &router.machine))
    }

    pub fn next_deadline(&self) -> Option<Time> {
        self.0.iter().filter_map(|router| router.machine.next_deadline()).min()
    }

    /// Something happened to one virtual router.
    pub fn handle(&mut self, now: Time, id: RouterId, event: Event<'_>) -> Outputs {
        let mut out = Outputs::new();
        if let Some(at) = self.0.iter().position(|router| router.id == id) {
            self.tell(now, at, event, &mut out);
        }
        out
    }

    /// Something happened to all: the node was away, is to end, ...
    pub fn handle_all(&mut self, now: Time, event: Event<'_>) -> Outputs {
        let mut out = Outputs::new();
        for at in 0..self.0.len() {
            self.tell(now, at, event, &mut out);
        }
        out
    }

    /// It is [`Routers::next_deadline`] or later.
    pub fn expire(&mut self, now: Time) -> Outputs {
        let mut out = Outputs::new();
        for at in 0..self.0.len() {
            if self.0[at].machine.next_deadline().is_some_and(|deadline| deadline <= now) {
                self.tell(now, at, Event::Timer, &mut out);
            }
        }
        out
    }

    fn tell(&mut self, now: Time, at: usize, event: Event<'_>, out: &mut Outputs) {
        let actions = self.pass_on(now, at, event, out);
        if let Some(group) = self.0[at].group {
            self.spread_faults(now, group, out);
            if actions.iter().any(|action| self.lets_go(group, action)) {
                self.tell_group(now, group, Event::GroupRelease, out);
            }
            if self.may_claim(group) {
                self.tell_group(now, group, Event::GroupClaim, out);
            }
        }
    }

    fn pass_on(&mut self, now: Time, at: usize, event: Event<'_>, out: &mut Outputs) -> Actions {
        let router = &mut self.0[at];
        let actions = router.machine.handle(now, event);
        out.extend(actions.iter().map(|action| (router.id, *action)));
        actions
    }

    fn tell_group(&mut self, now: Time, group: GroupId, event: Event<'_>, out: &mut Outputs) {
        for at in 0..self.0.len() {
            if self.0[at].group == Some(group) {
                self.pass_on(now, at, event, out);
            }
        }
    }

    /// Where one is in Fault, all are.
    fn spread_faults(&mut self, now: Time, group: GroupId, out: &mut Outputs) {
        let faulty: SmallVec<[RouterId; 4]> =
            self.members(group).filter(|router| router.machine.has_fault()).map(|router| router.id).collect();
        for at in 0..self.0.len() {
            let Router { id, group: its_group, machine } = &self.0[at];
            let fault = faulty.iter().any(|faulty| faulty != id);
            if *its_group == Some(group) && machine.has_group_fault() != fault {
                self.pass_on(now, at, Event::GroupFault(fault), out);
            }
        }
    }

    /// Whether all members have to let go: one has lost its election, or would keep what the others gave away.
    fn lets_go(&self, group: GroupId, action: &Action) -> bool {
        match action {
            Action::RoleChanged(RoleChange { from: Role::Active, to: Role::Backup, .. }) => true,
            Action::Notice(Notice::NobodyTookOver) => {
                self.members(group).any(|router| router.machine.role() == Role::Backup)
            }
            _ => false,
        }
    }

    /// When all would, and one of them is not active yet.
    fn may_claim(&self, group: GroupId) -> bool {
        let is_willing = |router: &Router| {
            router.machine.wants() || router.machine.role() == Role::Active && !router.machine.is_leaving()
        };
        self.members(group).any(|router| router.machine.wants()) && self.members(group).all(is_willing)
    }

    /// Those that run.
    fn members(&self, group: GroupId) -> impl Iterator<Item = &Router> {
        self.0.iter().filter(move |router| router.group == Some(group) && router.machine.role() != Role::Initialize)
    }
}

#[cfg(test)]
mod tests;

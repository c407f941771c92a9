//! The ordinary thread behind the other one: it logs what happens, and tells those who wait for it.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::{error, info, warn};

use super::letters::Entry;
use super::mailbox::Mailbox;
use crate::machine::{Notice, Reason, Role, RoleChange};
use crate::report::Outcome;
use crate::routers::RouterId;

/// Entries that may wait for their reader.
pub const SIZE: usize = 4096;

/// What both ends of the log know.
#[derive(Default)]
pub struct Registry {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    names: HashMap<RouterId, Names>,
    waiting: Vec<(RouterId, Sender<Outcome>)>,
}

#[derive(Clone)]
struct Names {
    router: Arc<str>,
    tracked: Vec<String>,
}

/// Of a change of role, for hooks.
#[derive(Debug, Clone)]
pub struct RoleEvent {
    pub router: Arc<str>,
    pub change: RoleChange,
    pub priority: u8,
}

pub type Hook = Box<dyn FnMut(&RoleEvent) + Send>;

impl Registry {
    /// `tracked`: in the order of the file.
    pub fn name(&self, id: RouterId, router: Arc<str>, tracked: Vec<String>) {
        self.lock().names.insert(id, Names { router, tracked });
    }

    /// What becomes of the role of a virtual router from now on.
    pub fn wait_for(&self, id: RouterId) -> Receiver<Outcome> {
        let (sender, receiver) = channel();
        self.lock().waiting.push((id, sender));
        receiver
    }

    fn name_of(&self, id: RouterId) -> Arc<str> {
        self.lock().names.get(&id).map_or_else(|| "?".into(), |names| names.router.clone())
    }

    fn tracked(&self, id: RouterId, index: usize) -> String {
        self.lock().names.get(&id).and_then(|names| names.tracked.get(index)).cloned().unwrap_or_default()
    }

    /// Whether a reload has put another one in its place.
    fn is_replaced(&self, id: RouterId) -> bool {
        let names = &self.lock().names;
        let name = names.get(&id).map(|names| &names.router);
        names.iter().any(|(other, names)| *other != id && Some(&names.router) == name)
    }

    fn tell(&self, id: RouterId, outcome: &Outcome) {
        self.lock().waiting.retain(|(waiting, sender)| {
            let is_meant = *waiting == id;
            if is_meant {
                // Who has lost patience does not listen any more.
                let _ = sender.send(outcome.clone());
            }
            !is_meant
        });
    }

    fn forget(&self, id: RouterId) {
        self.lock().names.remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads until the mailbox is closed.
pub fn read(journal: &Mailbox<Entry>, registry: &Registry, mut hook: Option<Hook>) {
    let mut lost = 0;
    loop {
        journal.listen();
        let is_last = journal.is_closed();
        while let Some(entry) = journal.take() {
            enter(entry, registry, hook.as_mut());
        }
        let refused = journal.refused();
        if refused > lost {
            warn!(entries = refused - lost, "more happened to virtual routers than could be written down");
            lost = refused;
        }
        if is_last {
            return;
        }
    }
}

fn enter(entry: Entry, registry: &Registry, hook: Option<&mut Hook>) {
    match entry {
        Entry::RoleChanged { id, change, priority } => {
            let event = RoleEvent { router: registry.name_of(id), change, priority };
            if change.to == Role::Initialize && registry.is_replaced(id) {
                // What is known by the name is the other one's from now on.
                info!(router = %event.router, "{} as it was before the reload has ended", event.router);
            } else {
                log_role(&event);
                hook.into_iter().for_each(|hook| hook(&event));
            }
            end_of_wait(change).into_iter().for_each(|outcome| registry.tell(id, &outcome));
        }
        Entry::Notice { id, notice } => {
            log_notice(&registry.name_of(id), notice);
            outcome_of(notice).into_iter().for_each(|outcome| registry.tell(id, &outcome));
        }
        Entry::Tracked { id, index, is_up, effect } => {
            let (router, tracked) = (registry.name_of(id), registry.tracked(id, index));
            let (is, priority) = (if is_up { "up" } else { "down" }, effect.priority);
            info!(%router, priority, fault = effect.fault, "{tracked} is {is}");
        }
        Entry::Dropped { id, from, error } => {
            let router = registry.name_of(id);
            warn!(%router, %from, "an advert is dropped: {error}; more of the kind are only counted for a while");
        }
        Entry::Trouble { id, doing, errno } => {
            error!(router = %registry.name_of(id), "cannot {doing}: {}", std::io::Error::from(errno));
        }
        Entry::Stopped { id } => registry.forget(id),
    }
}

fn log_role(event: &RoleEvent) {
    let RoleEvent { router, change: RoleChange { from, to, reason }, priority } = event;
    let (from, to) = (from.label(), to.label());
    match event.change.to {
        Role::Fault => warn!(%router, from, to, priority, "{router} is {to}: {reason}"),
        _ => info!(%router, from, to, priority, "{router} is {to}: {reason}"),
    }
}

fn log_notice(router: &str, notice: Notice) {
    match notice {
        // Who asked is told.
        Notice::NothingToYield => info!(router, "{notice}"),
        _ => warn!(router, "{notice}"),
    }
}

/// What a change of role means to whoever asked for a handover.
fn end_of_wait(change: RoleChange) -> Option<Outcome> {
    (change.from == Role::Active).then(|| match change.reason {
        Reason::Yielded { to } => Outcome::HandedOver { to },
        reason => Outcome::Ended { reason: reason.to_string() },
    })
}

fn outcome_of(notice: Notice) -> Option<Outcome> {
    match notice {
        Notice::NobodyTookOver => Some(Outcome::NobodyTookOver),
        Notice::NothingToYield => Some(Outcome::NotActive),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(entries: &[Entry], registry: &Registry) -> Vec<RoleEvent> {
        let journal = Mailbox::new(SIZE, true).unwrap();
        entries.iter().for_each(|entry| journal.put(*entry).unwrap());
        journal.close();
        let (sender, events) = channel();
        read(&journal, registry, Some(Box::new(move |event| sender.send(event.clone()).unwrap())));
        events.try_iter().collect()
    }

    fn changed(id: RouterId, to: Role, reason: Reason) -> Entry {
        Entry::RoleChanged { id, change: RoleChange { from: Role::Active, to, reason }, priority: 100 }
    }

    #[test]
    fn who_waits_for_a_handover_learns_of_that_one() {
        let registry = Registry::default();
        let (first, second) = (registry.wait_for(1), registry.wait_for(2));
        let to = "192.0.2.7".parse().unwrap();
        let third = registry.wait_for(3);
        reader(
            &[
                changed(1, Role::Backup, Reason::Yielded { to }),
                Entry::Notice { id: 2, notice: Notice::Conflict },
                Entry::Notice { id: 2, notice: Notice::NobodyTookOver },
                changed(3, Role::Fault, Reason::LinkDown),
            ],
            &registry,
        );
        assert_eq!(first.try_recv(), Ok(Outcome::HandedOver { to }));
        assert_eq!(second.try_recv(), Ok(Outcome::NobodyTookOver));
        assert_eq!(third.try_recv(), Ok(Outcome::Ended { reason: "interface is down".to_owned() }));
    }

    /// Else its end would be the last word on the one that has come in its place.
    #[test]
    fn the_end_of_what_a_reload_replaced_is_none_of_the_hooks_business() {
        let registry = Registry::default();
        registry.name(4, "public".into(), Vec::new());
        registry.name(5, "public".into(), Vec::new());
        let end = |id| changed(id, Role::Initialize, Reason::Stopped);
        let events =
            reader(&[end(4), changed(5, Role::Backup, Reason::Started), Entry::Stopped { id: 4 }, end(5)], &registry);
        let roles: Vec<Role> = events.iter().map(|event| event.change.to).collect();
        assert_eq!(roles, [Role::Backup, Role::Initialize]);
    }

    #[test]
    fn hooks_hear_of_roles_by_name() {
        let registry = Registry::default();
        registry.name(4, "public".into(), Vec::new());
        let events = reader(&[changed(4, Role::Backup, Reason::Group)], &registry);
        assert_eq!(events.len(), 1);
        assert_eq!((&*events[0].router, events[0].change.to), ("public", Role::Backup));
    }
}

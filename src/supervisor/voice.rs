//! What this node says to the others of its virtual routers, while there are others.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lb_core::peer::Speaker;
use lb_vrrp::driver::RoleEvent;
use lb_vrrp::machine::Role;

#[derive(Default)]
pub struct Voice(Mutex<Said>);

#[derive(Default)]
struct Said {
    /// The virtual routers that are active here.
    active: BTreeSet<Arc<str>>,
    speaker: Option<Speaker>,
}

impl Voice {
    pub fn tell(&self, event: &RoleEvent) {
        let mut said = self.lock();
        let router = event.router.clone();
        let is_new = match event.change.to {
            Role::Active => said.active.insert(router),
            _ => said.active.remove(&router),
        };
        if is_new {
            said.say();
        }
    }

    /// From now on over this link.
    pub fn begin(&self, speaker: Speaker) {
        let mut said = self.lock();
        said.speaker = Some(speaker);
        said.say();
    }

    /// There is nobody to tell any more.
    pub fn end(&self) {
        self.lock().speaker = None;
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Said {
    fn say(&self) {
        let Some(speaker) = &self.speaker else { return };
        speaker.set_state(|state| state.active = self.active.iter().cloned().collect());
    }
}

//! Hooks: a program of the operator's own is told of each change of role.
//!
//! One run at a time for each virtual router. What changes while one runs is told in one run after it, of the role that
//! it came to: who moves an address at a cloud's API wants to know how things stand, not how they came about.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use lb_core::config::{Config, VirtualRouter};
use lb_core::script;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::machine::{Role, RoleChange};

/// A hook that takes longer is killed.
const LONGEST: Duration = Duration::from_secs(30);

/// The hooks of all virtual routers. Told by any thread; they run on tokio.
pub struct Hooks {
    runtime: Handle,
    /// By virtual router.
    hooks: Mutex<HashMap<Arc<str>, Hook>>,
}

struct Hook {
    settings: Settings,
    /// Its virtual router is to stop, which is the last that it is told.
    is_last: bool,
    /// `None` until the first change.
    news: watch::Sender<Option<News>>,
    /// Ends when `news` is dropped and the last of them was told.
    task: JoinHandle<()>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Settings {
    command: Arc<[String]>,
    addresses: Arc<[IpNet]>,
}

/// What a run is to tell.
#[derive(Clone)]
struct News {
    settings: Settings,
    change: RoleChange,
    priority: u8,
}

impl Hooks {
    pub fn new(runtime: Handle) -> Self {
        Self { runtime, hooks: Mutex::default() }
    }

    /// From now on, these hooks. Those of virtual routers that are no more hear the end of them.
    pub fn apply(&self, config: &Config) {
        let mut hooks = self.lock();
        hooks.values_mut().for_each(|hook| hook.is_last = true);
        for router in config.vrrp.iter().filter(|router| !router.notify.is_empty()) {
            let settings = Settings::of(router);
            match hooks.get_mut(&router.name) {
                Some(hook) => (hook.settings, hook.is_last) = (settings, false),
                None => {
                    hooks.insert(router.name.clone(), self.start(router.name.clone(), settings));
                }
            }
        }
        // One that lost its hook goes on without.
        hooks.retain(|name, hook| !hook.is_last || config.vrrp.iter().all(|router| router.name != *name));
    }

    /// The role of a virtual router has changed. Returns at once.
    pub fn tell(&self, router: &str, change: RoleChange, priority: u8) {
        let mut hooks = self.lock();
        let Some(hook) = hooks.get(router) else { return };
        hook.news.send_replace(Some(News { settings: hook.settings.clone(), change, priority }));
        if hook.is_last && change.to == Role::Initialize {
            hooks.remove(router);
        }
    }

    /// The last hooks, of virtual routers that have stopped, may take so long.
    pub async fn finish(&self, longest: Duration) {
        let tasks: Vec<_> = std::mem::take(&mut *self.lock()).into_values().map(|hook| hook.task).collect();
        let all = async {
            for task in tasks {
                // One that panicked has ended as well.
                let _ = task.await;
            }
        };
        if timeout(longest, all).await.is_err() {
            warn!("a hook still runs, and is killed");
        }
    }

    fn start(&self, router: Arc<str>, settings: Settings) -> Hook {
        let (news, told) = watch::channel(None);
        let task = self.runtime.spawn(follow(router, told));
        Hook { settings, is_last: false, news, task }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Hook>> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Settings {
    fn of(router: &VirtualRouter) -> Self {
        Self { command: router.notify.clone().into(), addresses: router.addresses.clone().into() }
    }
}

/// Until the virtual router is no more, and its last change was told.
async fn follow(router: Arc<str>, mut news: watch::Receiver<Option<News>>) {
    let mut previous = None;
    while news.changed().await.is_ok() {
        let latest = news.borrow_and_update().clone();
        let Some(latest) = latest else { continue };
        let from = previous.unwrap_or(latest.change.from);
        if from == latest.change.to {
            // It went and came back while the last run went on.
            continue;
        }
        run(&router, from, &latest).await;
        previous = Some(latest.change.to);
    }
}

async fn run(router: &str, from: Role, news: &News) {
    let command = &news.settings.command;
    let program = command.first().map_or("", String::as_str);
    match timeout(LONGEST, script::run(command, &environment(router, from, news))).await {
        Ok(Ok(ended)) if ended.status.success() => debug!(router, program, "the hook was told"),
        Ok(Ok(ended)) => warn!(router, program, "the hook failed: {ended}"),
        Ok(Err(error)) => warn!(router, program, "the hook did not start: {error}"),
        Err(_) => warn!(router, program, "the hook was killed: it took longer than {LONGEST:?}"),
    }
}

fn environment(router: &str, from: Role, news: &News) -> [(&'static str, String); 6] {
    let addresses: Vec<_> = news.settings.addresses.iter().map(IpNet::to_string).collect();
    [
        ("LB_VIRTUAL_ROUTER", router.to_owned()),
        ("LB_ROLE", news.change.to.label().to_owned()),
        ("LB_PREVIOUS_ROLE", from.label().to_owned()),
        ("LB_REASON", news.change.reason.to_string()),
        ("LB_PRIORITY", news.priority.to_string()),
        ("LB_ADDRESSES", addresses.join(" ")),
    ]
}

#[cfg(test)]
mod tests;

//! What virtual routers track besides interfaces: whether a pool has backends left, and what a program says. What is
//! observed goes to who drives the machines; what follows from it is [`crate::priority`]'s.
//!
//! | file | what it looks at |
//! |---|---|
//! | `pool.rs` | backends that are available |
//! | `script.rs` | exit codes of a program |

mod pool;
mod script;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use lb_core::config::{Config, TrackScript, Tracked};
use lb_core::snapshot::Snapshot;

use pool::PoolTask;
use script::ScriptTask;

/// Told the name of a virtual router, a place in its `track`, and whether what stands there is up.
pub type Observe = Arc<dyn Fn(&str, usize, bool) + Send + Sync>;

/// A place in the `track` of a virtual router.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Target {
    router: Arc<str>,
    index: usize,
}

/// Everything that is tracked. Needs a runtime of tokio; who drops it ends it.
pub struct Trackers {
    observe: Observe,
    pools: PoolTask,
    scripts: Vec<ScriptTask>,
}

impl Trackers {
    pub fn start(snapshot: &Arc<Snapshot>, observe: Observe) -> Self {
        let pools = PoolTask::start(snapshot.clone(), observe.clone());
        let mut trackers = Self { observe, pools, scripts: Vec::new() };
        trackers.follow_scripts(&snapshot.config);
        trackers
    }

    /// After a reload. What was known of a script stays known, and everything is told anew.
    pub fn apply(&mut self, snapshot: &Arc<Snapshot>) {
        self.pools.apply(snapshot.clone());
        self.follow_scripts(&snapshot.config);
    }

    fn follow_scripts(&mut self, config: &Config) {
        let wanted = scripts(config);
        self.scripts.retain(|task| wanted.iter().any(|(script, _)| task.runs(script)));
        for (script, targets) in wanted {
            match self.scripts.iter().find(|task| task.runs(script)) {
                Some(task) => task.retarget(targets),
                None => self.scripts.push(ScriptTask::start(script.clone(), targets, self.observe.clone())),
            }
        }
    }
}

/// Every program once, with all that ask for it in the same words.
fn scripts(config: &Config) -> Vec<(&TrackScript, Vec<Target>)> {
    let mut scripts: Vec<(&TrackScript, Vec<Target>)> = Vec::new();
    for (target, tracked) in targets(config) {
        let Tracked::Script(script) = tracked else { continue };
        match scripts.iter_mut().find(|(known, _)| *known == script) {
            Some((_, targets)) => targets.push(target),
            None => scripts.push((script, vec![target])),
        }
    }
    scripts
}

fn targets(config: &Config) -> impl Iterator<Item = (Target, &Tracked)> {
    config.vrrp.iter().flat_map(|router| {
        let place = |index| Target { router: router.name.clone(), index };
        router.track.iter().enumerate().map(move |(index, track)| (place(index), &track.what))
    })
}

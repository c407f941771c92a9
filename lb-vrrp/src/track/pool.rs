use std::collections::HashMap;
use std::sync::Arc;

use lb_core::config::Tracked;
use lb_core::snapshot::Snapshot;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::{info, warn};

use super::{Observe, Target, targets};

/// Looks whenever a backend may have become available or unavailable.
pub(super) struct PoolTask {
    snapshots: watch::Sender<Arc<Snapshot>>,
    task: AbortHandle,
}

impl PoolTask {
    pub fn start(snapshot: Arc<Snapshot>, observe: Observe) -> Self {
        let (snapshots, seen) = watch::channel(snapshot);
        let task = tokio::spawn(follow(seen, observe)).abort_handle();
        Self { snapshots, task }
    }

    pub fn apply(&self, snapshot: Arc<Snapshot>) {
        self.snapshots.send_replace(snapshot);
    }
}

impl Drop for PoolTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(mut snapshots: watch::Receiver<Arc<Snapshot>>, observe: Observe) {
    let mut changes = snapshots.borrow().changes.listen();
    let mut known = HashMap::new();
    loop {
        let snapshot = snapshots.borrow_and_update().clone();
        let looks = look(&snapshot);
        known.retain(|target, _| looks.iter().any(|look| look.target == *target));
        for look in looks {
            if known.insert(look.target.clone(), look.is_up()) != Some(look.is_up()) {
                look.log();
            }
            observe(&look.target.router, look.target.index, look.is_up());
        }
        tokio::select! {
            () = changes.heard() => {}
            changed = snapshots.changed() => if changed.is_err() { return },
        }
    }
}

/// One tracked pool.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub target: Target,
    pub pool: Arc<str>,
    pub below: usize,
    /// Backends, with those of `backup`.
    pub available: usize,
}

pub(super) fn look(snapshot: &Snapshot) -> Vec<Look> {
    let looks = targets(&snapshot.config).filter_map(|(target, tracked)| {
        let Tracked::Pool { pool, below } = tracked else { return None };
        Some(Look { target, pool: pool.clone(), below: *below, available: available(snapshot, pool) })
    });
    looks.collect()
}

fn available(snapshot: &Snapshot, pool: &str) -> usize {
    let backends = snapshot.pool(pool).into_iter().flat_map(|pool| pool.backends.iter().chain(&pool.backup));
    backends.filter(|backend| backend.is_available()).count()
}

impl Look {
    pub fn is_up(&self) -> bool {
        self.available >= self.below
    }

    fn log(&self) {
        let Self { target: Target { router, .. }, pool, below, available } = self;
        match self.is_up() {
            true => info!(%router, %pool, available, below, "the tracked pool `{pool}` has enough backends"),
            false => warn!(%router, %pool, available, below, "the tracked pool `{pool}` has too few backends"),
        }
    }
}

//! A request's place at a backend: chosen, waited for where all are taken, given back at its end.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use lb_core::pool::{Backend, Pool};
use lb_core::scheduler::Choice;

use super::Scene;
use super::answer::Answer;
use super::trail::Trail;
use crate::upstream::Upstream;
use crate::worker::PoolView;

/// One request in flight at one backend.
#[derive(Debug)]
pub struct Slot<'v> {
    pub index: usize,
    pub upstream: Rc<Upstream>,
    /// Of the request's own view: whether it counts its slots may differ from one plan to the next.
    backend: &'v Arc<Backend>,
    pool: &'v Pool,
    worker: usize,
}

impl<'v> Slot<'v> {
    fn take(scene: &Scene<'_>, pool: &'v PoolView, index: usize, backend: &'v Arc<Backend>) -> Self {
        let counters = backend.live.counters.shard(scene.worker.index);
        counters.requests_active.add(1);
        counters.requests_total.inc();
        Self {
            index,
            upstream: pool.upstream(&scene.worker.upstreams, index, backend),
            backend,
            pool: &pool.plan.pool,
            worker: scene.worker.index,
        }
    }

    pub fn backend(&self) -> &'v Arc<Backend> {
        self.backend
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.backend.live.counters.shard(self.worker).requests_active.add(-1);
        if self.backend.config.max_connections.is_none() {
            return;
        }
        self.backend.release_slot();
        // Against [`Queued::enter`]: either we see the waiter, or it sees the slot.
        fence(Ordering::SeqCst);
        if self.pool.live.queued.load(Ordering::Relaxed) > 0 {
            self.pool.live.slot_freed.notify_one();
        }
    }
}

/// Why there is no slot.
pub enum NoSlot {
    Answer(Answer),
    /// A reload has changed the pool: the newest view may have more of them.
    Outdated,
}

/// What a waiting request takes along into a newer view.
#[derive(Default)]
pub struct Turn {
    queued: Option<Queued>,
    waited: Duration,
}

/// Chooses a backend that this request has not failed at, waiting for a slot if it must.
pub async fn acquire<'v>(
    scene: &Scene<'_>,
    pool: &'v PoolView,
    tried: &[usize],
    turn: &mut Turn,
    trail: &mut Trail,
) -> Result<Slot<'v>, NoSlot> {
    // Whoever waits already comes first.
    if pool.plan.pool.live.queued.load(Ordering::Relaxed) == 0 {
        match pool.choose(scene.worker.key(scene.peer.hash), tried) {
            Choice::Backend { index, backend } => return Ok(Slot::take(scene, pool, index, backend)),
            Choice::NoneAvailable => return Err(none_available(scene, pool)),
            Choice::Full => {}
        }
    }
    let before = trail.elapsed();
    let slot = Box::pin(wait(scene, pool, tried, turn)).await;
    let waited = trail.elapsed().saturating_sub(before);
    trail.queue = Some(waited + trail.queue.unwrap_or_default());
    match slot {
        Err(NoSlot::Outdated) => turn.waited += waited,
        _ => *turn = Turn::default(),
    }
    slot
}

fn none_available(scene: &Scene<'_>, pool: &PoolView) -> NoSlot {
    pool.plan.pool.live.counters.shard(scene.worker.index).no_backend.inc();
    NoSlot::Answer(Answer::lb(503, "no backend is available", "no_backend"))
}

async fn wait<'v>(scene: &Scene<'_>, pool: &'v PoolView, tried: &[usize], turn: &mut Turn) -> Result<Slot<'v>, NoSlot> {
    let config = &pool.plan.pool.config;
    let counters = pool.plan.pool.live.counters.shard(scene.worker.index);
    let comes_back = turn.queued.as_ref().is_some_and(|queued| queued.is_in(&pool.plan.pool));
    if !comes_back {
        turn.queued = None;
        let queued = turn.queued.insert(Queued::enter(&pool.plan.pool));
        if queued.before >= config.max_queue {
            counters.queue_overflows.inc();
            return Err(NoSlot::Answer(Answer::lb(503, "every backend is busy and the queue is full", "queue_full")));
        }
    }
    let my_turn = comes_back || turn.queued.as_ref().is_some_and(|queued| queued.before == 0);
    let waiting = wait_for_slot(scene, pool, tried, my_turn);
    let slot = scene.timer.within(config.timeouts.queue.saturating_sub(turn.waited), waiting).await;
    slot.unwrap_or_else(|_| {
        counters.queue_timeouts.inc();
        Err(NoSlot::Answer(Answer::lb(503, "every backend is busy", "queue_timeout")))
    })
}

async fn wait_for_slot<'v>(
    scene: &Scene<'_>,
    pool: &'v PoolView,
    tried: &[usize],
    mut my_turn: bool,
) -> Result<Slot<'v>, NoSlot> {
    let live = &pool.plan.pool.live;
    loop {
        let mut freed = pin!(live.slot_freed.notified());
        let mut reloaded = pin!(scene.worker.plan_changed.notified());
        // From here on no wake-up is missed.
        freed.as_mut().enable();
        reloaded.as_mut().enable();
        if is_outdated(scene, pool) {
            return Err(NoSlot::Outdated);
        }
        if my_turn {
            match pool.choose(scene.worker.key(scene.peer.hash), tried) {
                Choice::Backend { index, backend } => return Ok(Slot::take(scene, pool, index, backend)),
                Choice::NoneAvailable => return Err(none_available(scene, pool)),
                Choice::Full => {}
            }
        }
        tokio::select! {
            biased;
            () = freed => my_turn = true,
            () = reloaded => {}
        }
    }
}

/// Is there a newer one of that name?
fn is_outdated(scene: &Scene<'_>, pool: &PoolView) -> bool {
    let newest = scene.worker.view();
    let newest = newest.plan.snapshot.pool(&pool.plan.pool.config.name);
    newest.is_some_and(|newest| !Arc::ptr_eq(newest, &pool.plan.pool))
}

/// Counts a waiting request, also when it gives up.
struct Queued {
    pool: Arc<Pool>,
    before: usize,
}

impl Queued {
    fn enter(pool: &Arc<Pool>) -> Self {
        let before = pool.live.queued.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        Self { pool: pool.clone(), before }
    }

    fn is_in(&self, pool: &Pool) -> bool {
        Arc::ptr_eq(&self.pool.live, &pool.live)
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.pool.live.queued.fetch_sub(1, Ordering::Relaxed);
    }
}

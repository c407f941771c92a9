//! A request's place at a backend: chosen, waited for where all are taken, given back at its end.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

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

/// Chooses a backend that this request has not failed at, waiting for a slot if it must.
pub async fn acquire<'v>(
    scene: &Scene<'_>,
    pool: &'v PoolView,
    tried: &[usize],
    trail: &mut Trail,
) -> Result<Slot<'v>, Answer> {
    // Whoever waits already comes first.
    if pool.plan.pool.live.queued.load(Ordering::Relaxed) == 0 {
        match pool.choose(scene.worker.key(scene.peer.hash), tried) {
            Choice::Backend { index, backend } => return Ok(Slot::take(scene, pool, index, backend)),
            Choice::NoneAvailable => return Err(none_available(scene, pool)),
            Choice::Full => {}
        }
    }
    let before = trail.elapsed();
    let slot = Box::pin(wait(scene, pool, tried)).await;
    trail.queue = Some(trail.elapsed().saturating_sub(before) + trail.queue.unwrap_or_default());
    slot
}

fn none_available(scene: &Scene<'_>, pool: &PoolView) -> Answer {
    pool.plan.pool.live.counters.shard(scene.worker.index).no_backend.inc();
    Answer::lb(503, "no backend is available", "no_backend")
}

async fn wait<'v>(scene: &Scene<'_>, pool: &'v PoolView, tried: &[usize]) -> Result<Slot<'v>, Answer> {
    let config = &pool.plan.pool.config;
    let counters = pool.plan.pool.live.counters.shard(scene.worker.index);
    let queued = Queued::enter(&pool.plan.pool);
    if queued.before >= config.max_queue {
        counters.queue_overflows.inc();
        return Err(Answer::lb(503, "every backend is busy and the queue is full", "queue_full"));
    }
    let waiting = wait_for_slot(scene, pool, tried, queued.before == 0);
    let slot = scene.timer.within(config.timeouts.queue, waiting).await;
    slot.unwrap_or_else(|_| {
        counters.queue_timeouts.inc();
        Err(Answer::lb(503, "every backend is busy", "queue_timeout"))
    })
}

async fn wait_for_slot<'v>(
    scene: &Scene<'_>,
    pool: &'v PoolView,
    tried: &[usize],
    first: bool,
) -> Result<Slot<'v>, Answer> {
    let live = &pool.plan.pool.live;
    let mut my_turn = first;
    loop {
        let mut freed = pin!(live.slot_freed.notified());
        // From here on no wake-up is missed.
        freed.as_mut().enable();
        if my_turn {
            match pool.choose(scene.worker.key(scene.peer.hash), tried) {
                Choice::Backend { index, backend } => return Ok(Slot::take(scene, pool, index, backend)),
                Choice::NoneAvailable => return Err(none_available(scene, pool)),
                Choice::Full => {}
            }
        }
        freed.await;
        my_turn = true;
    }
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
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.pool.live.queued.fetch_sub(1, Ordering::Relaxed);
    }
}

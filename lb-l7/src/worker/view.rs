//! One worker's view of the current plan: what it knows of each pool besides, made when first needed.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use lb_core::pool::Backend;
use lb_core::scheduler::{Choice, Key, PoolCursor, choose};

use crate::plan::{Plan, PoolPlan};
use crate::upstream::{Upstream, Upstreams};

#[derive(Debug)]
pub struct View {
    pub plan: Arc<Plan>,
    worker: usize,
    pools: Box<[OnceCell<PoolView>]>,
}

/// One pool as one worker uses it.
#[derive(Debug)]
pub struct PoolView {
    pub plan: Arc<PoolPlan>,
    cursor: RefCell<PoolCursor>,
    upstreams: Box<[OnceCell<Rc<Upstream>>]>,
    retry_tokens: Cell<f32>,
    generation: u64,
}

/// Retries that are always allowed, and the most that can be saved up.
const RETRY_RESERVE: f32 = 10.0;

impl View {
    pub fn new(plan: Arc<Plan>, worker: usize) -> Self {
        let pools = plan.pools.iter().map(|_| OnceCell::new()).collect();
        Self { plan, worker, pools }
    }

    /// A place in the plan's list of pools.
    pub fn pool_position(&self, name: &str) -> Option<usize> {
        self.plan.snapshot.pool_position(name)
    }

    /// `index` is a place in the plan's list of pools.
    pub fn pool(&self, index: usize) -> &PoolView {
        self.pools[index]
            .get_or_init(|| PoolView::new(self.plan.pools[index].clone(), self.worker, self.plan.snapshot.generation))
    }
}

impl PoolView {
    fn new(plan: Arc<PoolPlan>, worker: usize, generation: u64) -> Self {
        let backends = plan.pool.backends.len() + plan.pool.backup.len();
        Self {
            cursor: RefCell::new(PoolCursor::for_worker(worker)),
            upstreams: (0..backends).map(|_| OnceCell::new()).collect(),
            retry_tokens: Cell::new(if plan.pool.config.retry.budget_percent == 0 { 0.0 } else { RETRY_RESERVE }),
            plan,
            generation,
        }
    }

    pub fn choose(&self, key: Key, tried: &[usize]) -> Choice<'_> {
        choose(&self.plan.pool, &mut self.cursor.borrow_mut(), key, tried)
    }

    /// This worker's connections to the backend at that place in the pool.
    pub fn upstream(&self, all: &Upstreams, index: usize, backend: &Arc<Backend>) -> Rc<Upstream> {
        self.upstreams[index].get_or_init(|| all.of(backend, &self.plan, self.generation)).clone()
    }

    /// Every request earns a share of a retry.
    pub fn earn_retry(&self) {
        let share = self.plan.pool.config.retry.budget_percent as f32 / 100.0;
        self.retry_tokens.set((self.retry_tokens.get() + share).min(RETRY_RESERVE));
    }

    /// `false` when retries have used up their share of the pool's requests.
    pub fn spend_retry(&self) -> bool {
        let left = self.retry_tokens.get() - 1.0;
        if left < 0.0 {
            return false;
        }
        self.retry_tokens.set(left);
        true
    }
}

//! What a worker does 20 times a second besides serving.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use tokio::time::MissedTickBehavior;

use super::Worker;
use crate::io::{date, deadline};

/// Ticks between two looks at idle upstream connections.
const SWEEP_EVERY: u64 = 10;
/// Ticks between two flushes of the access log.
const FLUSH_EVERY: u64 = 2;

#[expect(clippy::disallowed_methods, reason = "the worker's own clock")]
pub async fn run(worker: Rc<Worker>) {
    let start = Instant::now();
    let mut interval = tokio::time::interval(deadline::TICK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for tick in 0u64.. {
        interval.tick().await;
        step(&worker, tick, start.elapsed(), SystemTime::now());
    }
}

fn step(worker: &Worker, tick: u64, since_start: Duration, now: SystemTime) {
    date::update(now);
    worker.deadlines.sweep(u64::try_from(since_start.as_millis()).unwrap_or(u64::MAX));
    worker.heartbeat.fetch_add(1, Ordering::Relaxed);
    if tick.is_multiple_of(FLUSH_EVERY) {
        worker.flush_log();
    }
    if tick.is_multiple_of(SWEEP_EVERY) {
        worker.upstreams.sweep(worker.deadlines.now_ms(), &worker.view().plan.snapshot);
    }
}

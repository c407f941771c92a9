//! Timeouts for a great many connections at next to no cost each.
//!
//! To arm a timer is to store a number. A sweep, 20 times a second, wakes the tasks whose number
//! has passed; it does not look at all while even the earliest number is ahead. A timeout is
//! therefore up to two ticks late, and never early.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;

/// How often [`Deadlines::sweep`] is called.
pub const TICK: Duration = Duration::from_millis(50);

const NEVER: u64 = u64::MAX;

/// All timers of one worker.
#[derive(Debug, Default)]
pub struct Deadlines {
    /// Milliseconds since the worker started, as of the last sweep.
    now: Cell<u64>,
    /// No timer is due before this.
    earliest: Cell<u64>,
    timers: RefCell<Slab<Entry>>,
}

#[derive(Debug)]
struct Entry {
    due: Cell<u64>,
    /// Wake the task once, whenever it is due.
    soon: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// One connection's timer; off until it is set.
#[derive(Debug)]
pub struct Timer {
    owner: Rc<Deadlines>,
    key: usize,
}

/// The time for something ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedOut;

impl Deadlines {
    pub fn timer(self: &Rc<Self>) -> Timer {
        let entry = Entry { due: Cell::new(NEVER), soon: Cell::new(false), waker: RefCell::new(None) };
        let key = self.timers.borrow_mut().insert(entry);
        Timer { owner: self.clone(), key }
    }

    /// Milliseconds since the worker started, a tick old at most.
    pub fn now_ms(&self) -> u64 {
        self.now.get()
    }

    /// Moves the clock and wakes whoever is due.
    pub fn sweep(&self, now_ms: u64) {
        self.now.set(now_ms);
        if now_ms < self.earliest.get() {
            return;
        }
        let mut earliest = NEVER;
        for (_, entry) in self.timers.borrow().iter() {
            let is_due = entry.due.get() <= now_ms;
            if entry.soon.replace(false) || is_due {
                entry.wake();
            }
            if !is_due {
                earliest = earliest.min(entry.due.get());
            }
        }
        self.earliest.set(earliest);
    }

    /// Wakes every task that waits under a timer, so that it looks at what has changed.
    pub fn wake_all(&self) {
        for (_, entry) in self.timers.borrow().iter() {
            entry.wake();
        }
    }
}

impl Entry {
    fn remember(&self, task: &Waker) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|w| w.will_wake(task)) {
            *waker = Some(task.clone());
        }
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

impl Timer {
    pub fn set(&self, after: Duration) {
        // Our clock may be a tick behind: never early, at most two ticks late.
        let after = u64::try_from((after + TICK).as_millis()).unwrap_or(NEVER);
        let due = self.owner.now.get().saturating_add(after);
        self.with_entry(|entry| entry.due.set(due));
        if due < self.owner.earliest.get() {
            self.owner.earliest.set(due);
        }
    }

    /// Has the task look around once when the clock next moves, however far the deadline is.
    pub fn wake_at_next_sweep(&self) {
        self.with_entry(|entry| entry.soon.set(true));
        self.owner.earliest.set(0);
    }

    /// Remembers the task, and tells whether the time has run out.
    pub fn poll_expired(&self, cx: &Context<'_>) -> bool {
        self.with_entry(|entry| {
            let is_due = entry.due.get() <= self.owner.now.get();
            if !is_due {
                entry.remember(cx.waker());
            }
            is_due
        })
    }

    fn with_entry<T>(&self, look: impl FnOnce(&Entry) -> T) -> T {
        look(&self.owner.timers.borrow()[self.key])
    }

    /// Waits for `future` as long as the timer allows.
    pub fn limit<F: Future>(&self, future: F) -> Limit<'_, F> {
        Limit { timer: self, arm: None, future }
    }

    /// As [`Self::limit`], once [`Self::set`]; which is only done if there is something to wait for.
    pub fn within<F: Future>(&self, after: Duration, future: F) -> Limit<'_, F> {
        Limit { timer: self, arm: Some(after), future }
    }
}

pin_project_lite::pin_project! {
    /// A future, or [`TimedOut`]. Written out, as an `async fn` would hold its future twice.
    #[derive(Debug)]
    pub struct Limit<'t, F> {
        timer: &'t Timer,
        arm: Option<Duration>,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Limit<'_, F> {
    type Output = Result<F::Output, TimedOut>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        if let Some(after) = this.arm.take() {
            this.timer.set(after);
        }
        if this.timer.poll_expired(cx) { Poll::Ready(Err(TimedOut)) } else { Poll::Pending }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let entry = self.owner.timers.borrow_mut().remove(self.key);
        // Not before the timers are free to be used again: to drop a waker may be to drop a task.
        drop(entry);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::pin::pin;

    use super::*;

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_timer_fires_once_its_time_has_passed_and_can_be_moved() {
        let deadlines = Rc::new(Deadlines::default());
        let timer = deadlines.timer();
        timer.set(Duration::from_millis(100) - TICK);
        let mut wait = pin!(timer.limit(pending::<()>()));
        deadlines.sweep(99);
        assert_eq!(poll(wait.as_mut()), Poll::Pending);
        timer.set(Duration::ZERO);
        deadlines.sweep(120);
        assert_eq!(poll(wait.as_mut()), Poll::Pending);
        deadlines.sweep(149);
        assert_eq!(poll(wait.as_mut()), Poll::Ready(Err(TimedOut)));
    }

    #[test]
    fn a_task_can_be_woken_by_the_next_sweep_alone() {
        struct Count(std::sync::atomic::AtomicUsize);
        impl std::task::Wake for Count {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let count = std::sync::Arc::new(Count(0.into()));
        let deadlines = Rc::new(Deadlines::default());
        let timer = deadlines.timer();
        timer.set(Duration::from_secs(60));
        timer.wake_at_next_sweep();
        assert!(!timer.poll_expired(&Context::from_waker(&count.clone().into())));
        for now in [50, 100, 150] {
            deadlines.sweep(now);
        }
        assert_eq!(count.0.load(std::sync::atomic::Ordering::Relaxed), 1);
    }

    #[test]
    fn what_is_ready_wins_over_a_time_that_ran_out() {
        let deadlines = Rc::new(Deadlines::default());
        let timer = deadlines.timer();
        timer.set(Duration::ZERO);
        deadlines.sweep(1000);
        assert_eq!(poll(pin!(timer.limit(async { 7 }))), Poll::Ready(Ok(7)));
    }

    #[test]
    fn timers_leave_with_their_owner() {
        let deadlines = Rc::new(Deadlines::default());
        drop(deadlines.timer());
        assert!(deadlines.timers.borrow().is_empty());
    }
}

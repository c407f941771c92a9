//! Tasks that are used again. A new one allocates its whole future and moves it there, a few KiB
//! that are in no cache; that is a good part of what a short request costs.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

/// Idle tasks that are kept.
const MAX_IDLE: usize = 512;

/// Something to be done in a task of its own.
pub trait Job: 'static {
    async fn run(&mut self);
}

/// The idle tasks of one kind of job.
#[derive(Debug)]
pub struct Lanes<J>(Idle<J>);

/// The last one is the warmest. A task that was ended from outside is gone from here, too.
type Idle<J> = Rc<RefCell<Vec<Weak<Lane<J>>>>>;

/// Where a task waits for its next job.
#[derive(Debug)]
struct Lane<J> {
    job: RefCell<Option<J>>,
    /// Of the task, which never changes.
    waker: RefCell<Option<Waker>>,
}

impl<J> Default for Lanes<J> {
    fn default() -> Self {
        Self(Rc::default())
    }
}

impl<J: Job> Lanes<J> {
    pub fn spawn(&self, job: J) {
        match self.take_idle() {
            Some(lane) => lane.give(job),
            None => drop(tokio::task::spawn_local(run(self.0.clone(), job))),
        }
    }

    fn take_idle(&self) -> Option<Rc<Lane<J>>> {
        let mut idle = self.0.borrow_mut();
        while let Some(last) = idle.pop() {
            if let Some(lane) = last.upgrade() {
                return Some(lane);
            }
        }
        None
    }
}

/// One task: a job, and others as long as it is worth waiting for them.
async fn run<J: Job>(idle: Idle<J>, first: J) {
    let lane = Rc::new(Lane { job: RefCell::new(Some(first)), waker: RefCell::new(None) });
    loop {
        {
            let mut job = poll_fn(|cx| lane.poll_job(cx)).await;
            job.run().await;
        }
        if idle.borrow().len() >= MAX_IDLE {
            return;
        }
        idle.borrow_mut().push(Rc::downgrade(&lane));
    }
}

impl<J> Lane<J> {
    fn give(&self, job: J) {
        *self.job.borrow_mut() = Some(job);
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    fn poll_job(&self, cx: &Context<'_>) -> Poll<J> {
        match self.job.borrow_mut().take() {
            Some(job) => Poll::Ready(job),
            None => {
                self.waker.borrow_mut().get_or_insert_with(|| cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::{LocalSet, yield_now};

    use super::*;

    /// Tells which task ran it.
    struct Note(Rc<RefCell<Vec<tokio::task::Id>>>);

    impl Job for Note {
        async fn run(&mut self) {
            yield_now().await;
            self.0.borrow_mut().push(tokio::task::id());
        }
    }

    fn in_a_local_set(work: impl AsyncFnOnce()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        LocalSet::new().block_on(&runtime, work());
    }

    async fn until_done(notes: &Rc<RefCell<Vec<tokio::task::Id>>>, count: usize) {
        while notes.borrow().len() < count {
            yield_now().await;
        }
    }

    #[test]
    fn one_after_the_other_share_a_task_and_those_at_once_do_not() {
        let (lanes, notes) = (Lanes::default(), Rc::default());
        in_a_local_set(async || {
            for count in 1..=2 {
                lanes.spawn(Note(Rc::clone(&notes)));
                until_done(&notes, count).await;
                yield_now().await;
            }
            lanes.spawn(Note(Rc::clone(&notes)));
            lanes.spawn(Note(Rc::clone(&notes)));
            until_done(&notes, 4).await;
        });
        let ids = notes.borrow();
        assert_eq!(ids[0], ids[1]);
        assert_ne!(ids[2], ids[3]);
    }

    #[test]
    fn a_task_that_has_ended_gets_no_job() {
        let (lanes, notes) = (Lanes::default(), Rc::default());
        for count in 1..=2 {
            in_a_local_set(async || {
                lanes.spawn(Note(Rc::clone(&notes)));
                until_done(&notes, count).await;
                yield_now().await;
            });
        }
        assert_eq!(notes.borrow().len(), 2);
    }
}

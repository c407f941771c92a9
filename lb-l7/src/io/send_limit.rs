//! How long a receiver may take nothing. One that takes its bytes slowly may take them for ever.
//!
//! That our socket took no bytes from us tells little: a kernel that has megabytes to send wakes us only when a third
//! of them are gone. So whenever a part of the time is over, the receiver's side is asked how far it has come.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use super::deadline::Timer;
use crate::body::SinkError;

/// Looks per limit. A receiver is given up at the latest one part of the limit after it.
const PARTS: u32 = 4;

#[derive(Debug, Clone, Copy)]
pub struct SendLimit<'t> {
    pub timer: &'t Timer,
    pub idle: Duration,
}

/// One wait for a receiver.
#[derive(Debug)]
pub struct Watch<'t> {
    limit: SendLimit<'t>,
    /// Parts in a row in which nothing was taken; `None` before the wait begins.
    silent: Option<u32>,
    taken: u64,
}

impl<'t> SendLimit<'t> {
    pub fn watch(self) -> Watch<'t> {
        Watch { limit: self, silent: None, taken: 0 }
    }
}

impl Watch<'_> {
    /// Passes on what became of sending. While that is pending, `taken` is asked now and then: a number that grows
    /// for as long as the receiver takes something.
    pub fn check<T>(
        &mut self,
        cx: &Context<'_>,
        sending: Poll<io::Result<T>>,
        taken: impl Fn() -> u64,
    ) -> Poll<Result<T, SinkError>> {
        if let Poll::Ready(sent) = sending {
            return Poll::Ready(sent.map_err(SinkError::Io));
        }
        let timer = self.limit.timer;
        if self.silent.is_none() {
            self.silent = Some(0);
            timer.set(self.limit.idle / PARTS);
        }
        while timer.poll_expired(cx) {
            if self.is_over(taken()) {
                return Poll::Ready(Err(SinkError::Stalled));
            }
            timer.set(self.limit.idle / PARTS);
        }
        Poll::Pending
    }

    /// The first look only tells what was taken before.
    fn is_over(&mut self, taken: u64) -> bool {
        let silent = if taken > self.taken { 0 } else { self.silent.unwrap_or(0) + 1 };
        self.taken = self.taken.max(taken);
        self.silent = Some(silent);
        silent >= PARTS
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::task::Waker;

    use super::*;
    use crate::io::deadline::Deadlines;

    /// How many milliseconds a receiver is waited for that takes something every `pause` until `until`.
    fn waited(pause: u64, until: u64) -> Option<u64> {
        let deadlines = Rc::new(Deadlines::default());
        let timer = deadlines.timer();
        let mut watch = SendLimit { timer: &timer, idle: Duration::from_millis(1000) }.watch();
        let taken = Cell::new(7);
        (0..100_000).step_by(10).find(|now| {
            if *now < until && now % pause == 0 {
                taken.set(taken.get() + 1);
            }
            deadlines.sweep(*now);
            let cx = Context::from_waker(Waker::noop());
            matches!(watch.check::<()>(&cx, Poll::Pending, || taken.get()), Poll::Ready(Err(SinkError::Stalled)))
        })
    }

    #[test]
    fn who_takes_nothing_is_given_up_in_time() {
        let end = waited(1, 0).expect("given up");
        assert!((1000..1600).contains(&end), "{end}");
    }

    #[test]
    fn who_takes_a_little_now_and_then_is_waited_for() {
        assert_eq!(waited(900, u64::MAX), None);
        let end = waited(500, 50_000).expect("given up in the end");
        assert!((50_500..51_800).contains(&end), "{end}");
    }

    #[test]
    fn what_is_sent_is_sent() {
        let deadlines = Rc::new(Deadlines::default());
        let timer = deadlines.timer();
        let mut watch = SendLimit { timer: &timer, idle: Duration::ZERO }.watch();
        let cx = Context::from_waker(Waker::noop());
        assert!(matches!(watch.check(&cx, Poll::Ready(Ok(3)), || 0), Poll::Ready(Ok(3))));
    }
}

//! Sleeping until something can be read or a moment comes.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::clock;
use crate::time::Time;

/// Descriptors that are told of in one go.
const EVENTS: usize = 256;
const TIMER: u64 = u64::MAX;

pub struct Waiter {
    epoll: Epoll,
    timer: TimerFd,
    armed: Option<Time>,
    events: Vec<EpollEvent>,
}

impl Waiter {
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let timer = TimerFd::new(clock::TIMERS, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        let waiter = Self { epoll, timer, armed: None, events: vec![EpollEvent::empty(); EVENTS] };
        waiter.watch(&waiter.timer, TIMER)?;
        Ok(waiter)
    }

    /// Until it is closed. `token` is given back when it can be read.
    pub fn watch(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        Ok(self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, token))?)
    }

    pub fn forget(&self, fd: impl AsFd) {
        // Only what is watched is forgotten.
        let _ = self.epoll.delete(fd);
    }

    /// Until `deadline`, or without waiting where there is none to wait for: `Wait::No`.
    pub fn wait(&mut self, until: Wait) -> io::Result<impl Iterator<Item = u64>> {
        let timeout = match until {
            Wait::No => EpollTimeout::ZERO,
            Wait::Until(deadline) => {
                self.arm(deadline)?;
                EpollTimeout::NONE
            }
        };
        let count = match self.epoll.wait(&mut self.events, timeout) {
            Err(Errno::EINTR) => 0,
            count => count?,
        };
        if self.events[..count].iter().any(|event| event.data() == TIMER) {
            self.armed = None;
            let _ = self.timer.wait();
        }
        Ok(self.events[..count].iter().map(EpollEvent::data).filter(|token| *token != TIMER))
    }

    fn arm(&mut self, deadline: Option<Time>) -> io::Result<()> {
        if self.armed == deadline {
            return Ok(());
        }
        match deadline {
            // Zero would switch it off.
            Some(deadline) => {
                let at = TimeSpec::from_duration(std::time::Duration::from_nanos(deadline.as_nanos().max(1)));
                self.timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
            }
            None => self.timer.unset()?,
        }
        self.armed = deadline;
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// There is something to do at once.
    No,
    /// `None`: for as long as nothing happens.
    Until(Option<Time>),
}

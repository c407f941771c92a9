//! A queue between the thread and the others, on which neither side waits for the other.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_queue::ArrayQueue;
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Bounded: what does not fit is given back and counted.
pub struct Mailbox<T> {
    queue: ArrayQueue<T>,
    bell: EventFd,
    refused: AtomicU64,
    is_closed: AtomicBool,
}

impl<T> Mailbox<T> {
    /// `blocks`: whether who listens to the bell waits in [`Mailbox::listen`]; otherwise it polls the descriptor.
    pub fn new(size: usize, blocks: bool) -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | if blocks { EfdFlags::empty() } else { EfdFlags::EFD_NONBLOCK };
        let bell = EventFd::from_flags(flags)?;
        Ok(Self { queue: ArrayQueue::new(size), bell, refused: AtomicU64::new(0), is_closed: AtomicBool::new(false) })
    }

    pub fn put(&self, letter: T) -> Result<(), T> {
        let done = self.queue.push(letter);
        if done.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        // A bell that cannot ring more often has rung.
        let _ = self.bell.write(1);
        done
    }

    pub fn take(&self) -> Option<T> {
        self.queue.pop()
    }

    /// Resets the bell; waits for it where the mailbox was made so.
    pub fn listen(&self) {
        let _ = self.bell.read();
    }

    /// Nothing more will come.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        let _ = self.bell.write(1);
    }

    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Letters that did not fit.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl<T> AsFd for Mailbox<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_given_back_and_counted() {
        let mailbox = Mailbox::new(2, false).unwrap();
        assert_eq!((mailbox.put(1), mailbox.put(2), mailbox.put(3)), (Ok(()), Ok(()), Err(3)));
        assert_eq!(mailbox.refused(), 1);
        assert_eq!([mailbox.take(), mailbox.take(), mailbox.take()], [Some(1), Some(2), None]);
    }

    #[test]
    fn who_listens_hears_of_every_letter() {
        let mailbox = std::sync::Arc::new(Mailbox::new(8, true).unwrap());
        let theirs = mailbox.clone();
        let reader = std::thread::spawn(move || {
            let mut sum = 0;
            while sum < 6 {
                theirs.listen();
                sum += std::iter::from_fn(|| theirs.take()).sum::<u32>();
            }
            sum
        });
        (1..=3).for_each(|n| mailbox.put(n).unwrap());
        assert_eq!(reader.join().unwrap(), 6);
    }
}

//! Buffers that are lent for as long as there are bytes in them. Whoever waits owns none.

use std::cell::RefCell;

use crate::body::Lent;

/// Holds any head within the default limits, and a good piece of a body.
const SIZE: usize = 32 * 1024;
/// For long bodies: an eighth of the system calls.
const LARGE_SIZE: usize = 256 * 1024;
/// Free buffers that a worker keeps.
const MAX_FREE: usize = 128;
/// Large buffers that a worker has at all; beyond, long bodies make do with small ones.
const MAX_LARGE: usize = 64;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { small: Vec::new(), large: Vec::new(), large_made: 0 }) };
}

struct Pool {
    small: Vec<Box<[u8]>>,
    large: Vec<Box<[u8]>>,
    large_made: usize,
}

/// Bytes from `start` to `end` wait to be used; room follows them.
#[derive(Debug)]
pub struct Buffer {
    data: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub fn lend() -> Self {
        let data = POOL.with_borrow_mut(|pool| pool.small.pop()).unwrap_or_else(|| vec![0; SIZE].into());
        Self { data, start: 0, end: 0 }
    }

    /// A large one while there are any, else an ordinary one.
    pub fn lend_large() -> Self {
        let large = POOL.with_borrow_mut(|pool| {
            if pool.large.is_empty() && pool.large_made < MAX_LARGE {
                pool.large_made += 1;
                return Some(vec![0; LARGE_SIZE].into());
            }
            pool.large.pop()
        });
        large.map_or_else(Self::lend, |data| Self { data, start: 0, end: 0 })
    }

    pub fn is_large(&self) -> bool {
        self.data.len() == LARGE_SIZE
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub fn filled(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    pub fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.data[self.start..self.end]
    }

    /// Where the next bytes go; empty when the buffer is full and was not grown.
    pub fn room(&mut self) -> &mut [u8] {
        if self.is_empty() {
            self.start = 0;
            self.end = 0;
        }
        &mut self.data[self.end..]
    }

    pub fn advance(&mut self, received: usize) {
        self.end = (self.end + received).min(self.data.len());
    }

    pub fn consume(&mut self, used: usize) {
        self.start = (self.start + used).min(self.end);
    }

    /// Uses up `used` bytes and lends the first `length` of them, until the next change.
    pub fn consume_lending(&mut self, length: usize, used: usize) -> Lent<'_> {
        let at = self.start;
        self.consume(used);
        Lent::new(&mut self.data[..at + length], at)
    }

    pub fn extend(&mut self, bytes: &[u8]) {
        self.ensure_room(bytes.len());
        self.data[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// Makes room for `more` bytes, by moving what is there to the front or to a larger home.
    pub fn ensure_room(&mut self, more: usize) {
        if self.data.len() - self.end >= more {
            return;
        }
        self.data.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.data.len() - self.end < more {
            let mut larger = vec![0; (self.end + more).next_power_of_two()];
            larger[..self.end].copy_from_slice(&self.data[..self.end]);
            give_back(std::mem::replace(&mut self.data, larger.into()));
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        give_back(std::mem::take(&mut self.data));
    }
}

fn give_back(data: Box<[u8]>) {
    // At the end of a thread the pool may be gone before its last buffers.
    let _ = POOL.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        match data.len() {
            LARGE_SIZE if pool.large.len() < MAX_LARGE => pool.large.push(data),
            SIZE if pool.small.len() < MAX_FREE => pool.small.push(data),
            _ => {}
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_moves_and_grows_without_losing_bytes() {
        let mut buffer = Buffer::lend();
        buffer.extend(b"abcdef");
        buffer.consume(3);
        buffer.ensure_room(SIZE - 3);
        assert_eq!(buffer.filled(), b"def");
        assert_eq!(buffer.room().len(), SIZE - 3);
        buffer.ensure_room(SIZE);
        assert_eq!(buffer.filled(), b"def");
        assert!(buffer.room().len() >= SIZE);
    }

    #[test]
    fn large_buffers_are_bounded() {
        let lent: Vec<_> = (0..=MAX_LARGE).map(|_| Buffer::lend_large()).collect();
        assert_eq!(lent.iter().filter(|b| b.is_large()).count(), MAX_LARGE);
        drop(lent);
        assert!(Buffer::lend_large().is_large());
    }
}

//! Heads that a worker lends to one request after the other, so that their buffers are not made anew.

use std::cell::RefCell;

use crate::proxy::Heads;

/// Free heads that a worker keeps.
const MAX_FREE: usize = 512;
/// Larger ones were grown by one large request and are let go.
const MAX_BYTES: usize = 64 * 1024;

thread_local! {
    #[expect(clippy::vec_box, reason = "lent to requests, and moved as one pointer")]
    static FREE: RefCell<Vec<Box<Heads>>> = const { RefCell::new(Vec::new()) };
}

/// They still hold what the last request left in them.
pub fn lend() -> Box<Heads> {
    FREE.with_borrow_mut(Vec::pop).unwrap_or_default()
}

pub fn give_back(heads: Box<Heads>) {
    FREE.with_borrow_mut(|free| {
        if free.len() < MAX_FREE && heads.bytes() < MAX_BYTES {
            free.push(heads);
        }
    });
}

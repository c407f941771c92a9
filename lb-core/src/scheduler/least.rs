//! Least-connections: the fewest requests in flight per weight.

use std::sync::Arc;

use super::ring::Ring;
use super::{Cursor, lighter};
use crate::pool::Backend;

/// Usable backends that one choice compares. Reading the load of a whole large pool would cost more than
/// the request; the best of 64, another 64 each time, is as good.
const LOOK: usize = 64;

/// Equals take turns by weight: the walk starts with the backend whose turn it is in the ring.
pub fn pick(
    ring: &Ring,
    backends: &[Arc<Backend>],
    cursor: &mut Cursor,
    usable: impl Fn(usize) -> bool,
) -> Option<usize> {
    let start = ring.at(cursor.advance())?;
    (start..backends.len())
        .chain(0..start)
        .filter(|i| usable(*i))
        .take(LOOK)
        .reduce(|best, i| if lighter(&backends[i], &backends[best]) { i } else { best })
}

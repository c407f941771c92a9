//! Least-connections: the fewest requests in flight per weight.

use std::sync::Arc;

use super::ring::Ring;
use super::{Cursor, Load};
use crate::pool::Backend;

/// Usable backends that one choice compares. Reading the load of a whole large pool would cost more than
/// the request; the best of 32, from a place that moves on with each choice, is as good.
const LOOK: usize = 32;

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
        .map(|i| (i, Load::of(&backends[i])))
        .reduce(|best, next| if next.1.is_below(best.1) { next } else { best })
        .map(|(i, _)| i)
}

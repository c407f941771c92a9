//! Smooth round-robin as a table: one period of turns, computed once and walked by each worker.

use super::Cursor;
use super::hash::scale;
use super::turns::period;

/// Each backend as often as its weight says, as evenly spread as can be.
#[derive(Debug)]
pub struct Ring(Box<[u32]>);

/// After so many turns of unusable backends it is looked whether there is a usable one at all.
const PATIENCE: usize = 16;

impl Ring {
    pub fn new(weights: &[u16]) -> Self {
        Self(period(weights, longest_ring(weights.len())).collect())
    }

    /// The next usable backend; passing over the others keeps the rest smooth.
    pub fn next(&self, cursor: &mut Cursor, backends: usize, usable: impl Fn(usize) -> bool) -> Option<usize> {
        for step in 0..self.0.len().min(PATIENCE + backends) {
            let index = self.at(cursor.advance())?;
            if usable(index) {
                return Some(index);
            }
            if step == PATIENCE && !(0..backends).any(&usable) {
                return None;
            }
        }
        // Nearly all are unusable: rather any of the others now than the right one after a long walk.
        let start = self.at(cursor.next)?;
        (start..backends).chain(0..start).find(|i| usable(*i))
    }

    /// The backend whose turn is at this position; the ring has no end.
    pub fn at(&self, position: u64) -> Option<usize> {
        let turn = position.checked_rem(self.0.len() as u64)?;
        Some(self.0[turn as usize] as usize)
    }

    /// A backend drawn by its weight.
    pub fn draw(&self, random: u64) -> Option<usize> {
        self.0.get(scale(random, self.0.len())).map(|index| *index as usize)
    }
}

/// 32 turns for the average backend keep its share true to a few percent; 10,000 backends then cost
/// about a megabyte and a few milliseconds.
fn longest_ring(backends: usize) -> u64 {
    (backends as u64 * 32).max(2048)
}

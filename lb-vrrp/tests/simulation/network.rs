//! Who reaches whom, how late, how often.

use std::time::Duration;

use crate::random::Random;

pub const MOST_NODES: usize = 5;

/// Ends are the nodes, and after them the client.
pub struct Network {
    /// From, to.
    cut: [[bool; MOST_NODES + 1]; MOST_NODES + 1],
    pub loss: u32,
    pub duplicates: u32,
    pub slowest: Duration,
}

impl Network {
    pub fn whole(slowest: Duration) -> Self {
        Self { cut: Default::default(), loss: 0, duplicates: 0, slowest }
    }

    pub fn cut_one_way(&mut self, from: usize, to: usize) {
        self.cut[from][to] = true;
    }

    /// Ends with a bit on one side, those without on the other.
    pub fn split(&mut self, side: usize) {
        for from in 0..=MOST_NODES {
            for to in 0..=MOST_NODES {
                self.cut[from][to] = (side >> from) & 1 != (side >> to) & 1;
            }
        }
    }

    pub fn heal(&mut self) {
        self.cut = Default::default();
    }

    /// How long each copy that arrives is under way.
    pub fn carry(&self, random: &mut Random, from: usize, to: usize) -> impl Iterator<Item = Duration> + use<> {
        let delay = |random: &mut Random| {
            let arrives = !self.cut[from][to] && !random.permille(self.loss);
            arrives.then(|| random.up_to(self.slowest))
        };
        let first = delay(random);
        let second = if random.permille(self.duplicates) { delay(random) } else { None };
        first.into_iter().chain(second)
    }
}

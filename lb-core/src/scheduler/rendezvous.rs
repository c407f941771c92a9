//! ip-hash: weighted rendezvous hashing. Every backend draws a number for the client and the best one
//! wins, so a backend that leaves moves only its own clients, and one that comes takes only what it wins.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::hash::{mix, name_hash};
use crate::pool::Backend;

#[derive(Debug)]
pub struct Rendezvous {
    draws: Box<[Draw]>,
    even: bool,
    /// Winner of each slot plus one, filled when first asked for; only where the walk is long.
    winners: Option<Box<[AtomicU32]>>,
}

#[derive(Debug, Clone, Copy)]
struct Draw {
    index: u32,
    weight: u16,
    name: u64,
}

/// Clients are gathered into 65,536 slots that move as one, so that winners can be remembered.
const SLOT_BITS: u32 = 16;

/// From here on remembering the winners (256 KiB) is worth more than drawing them afresh.
const LONG_WALK: usize = 32;

impl Rendezvous {
    pub fn new(backends: &[Arc<Backend>]) -> Self {
        let draws: Box<[Draw]> = backends
            .iter()
            .enumerate()
            .filter(|(_, b)| b.config.weight > 0)
            .map(|(i, b)| Draw { index: i as u32, weight: b.config.weight, name: name_hash(&b.config.name, 0) })
            .collect();
        let even = draws.windows(2).all(|pair| pair[0].weight == pair[1].weight);
        let winners = (draws.len() >= LONG_WALK).then(|| (0..1 << SLOT_BITS).map(|_| AtomicU32::new(0)).collect());
        Self { draws, even, winners }
    }

    pub fn pick(&self, client: u64, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let slot = client >> (u64::BITS - SLOT_BITS);
        let winner = self.winner(slot)?;
        if usable(winner) { Some(winner) } else { self.best(slot, usable) }
    }

    /// The winner among all. Workers may compute it at the same time: they find the same.
    fn winner(&self, slot: u64) -> Option<usize> {
        let Some(remembered) = self.winners.as_ref().map(|winners| &winners[slot as usize]) else {
            return self.best(slot, |_| true);
        };
        if let Some(known) = remembered.load(Relaxed).checked_sub(1) {
            return Some(known as usize);
        }
        let winner = self.best(slot, |_| true)?;
        remembered.store(winner as u32 + 1, Relaxed);
        Some(winner)
    }

    fn best(&self, slot: u64, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let slot = mix(slot);
        let entrants = self.draws.iter().filter(|d| usable(d.index as usize)).map(|d| (d, mix(slot ^ d.name)));
        let winner = if self.even {
            entrants.max_by_key(|(_, drawn)| *drawn)
        } else {
            entrants.reduce(|best, next| if beats(next, best) { next } else { best })
        };
        winner.map(|(draw, _)| draw.index as usize)
    }
}

/// With `u` drawn evenly from (0, 1), the least `-log(u) / weight` wins with a chance in proportion to the
/// weight. Equal scores fall back to the draw itself, so that equal weights compare as if there were none.
fn beats((a, drawn_a): (&Draw, u64), (b, drawn_b): (&Draw, u64)) -> bool {
    let score_a = minus_log2(drawn_a) * u64::from(b.weight);
    let score_b = minus_log2(drawn_b) * u64::from(a.weight);
    (score_a, drawn_b) < (score_b, drawn_a)
}

/// `-log2(x / 2^64)` with 32 fractional bits. In integers and never rising with `x`: every machine must
/// come to the same winner, which floating point libraries do not promise.
fn minus_log2(x: u64) -> u64 {
    let zeros = (x | 1).leading_zeros();
    let mantissa = (x | 1) << zeros;
    let entry = ((mantissa >> 55) & 0xff) as usize;
    let between = (mantissa >> 23) & 0xffff_ffff;
    let fraction = LOG2[entry] + (((LOG2[entry + 1] - LOG2[entry]) * between) >> 32);
    ((u64::from(zeros) + 1) << 32) - fraction
}

/// `log2(1 + i / 256)` with 32 fractional bits.
static LOG2: [u64; 257] = log2_table();

const fn log2_table() -> [u64; 257] {
    let mut table = [1 << 32; 257];
    let mut i = 0;
    while i < 256 {
        table[i] = log2((256 + i as u64) << 24);
        i += 1;
    }
    table
}

/// Bit by bit: squaring a number doubles its logarithm. `x` is in [1, 2) with 32 fractional bits.
const fn log2(x: u64) -> u64 {
    let mut x = x as u128;
    let mut result = 0;
    let mut bit = 1 << 31;
    while bit > 0 {
        x = (x * x) >> 32;
        if x >= 2 << 32 {
            x >>= 1;
            result |= bit;
        }
        bit >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn logarithms_are_right_to_a_hundred_thousandth(x in 1_u64..) {
            let exact = 64.0 - (x as f64).log2();
            let found = minus_log2(x) as f64 / (1_u64 << 32) as f64;
            prop_assert!((found - exact).abs() < 1e-5, "{found} for {exact}");
        }

        #[test]
        fn logarithms_never_rise(x in any::<u64>(), more in any::<u64>()) {
            prop_assert!(minus_log2(x) >= minus_log2(x.saturating_add(more)));
            prop_assert!(minus_log2(x) >= minus_log2(x.saturating_add(1)));
        }
    }
}

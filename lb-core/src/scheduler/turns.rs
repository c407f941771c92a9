//! Whose turn is it? The smoothest order in which weighted backends can follow each other.
//!
//! Backend `i` with share `w / total` is owed its turn `k` (from 0) within the slots from
//! `k * total / w` up to `(k + 1) * total / w`. Serving, among those whose window is open, the one whose
//! window closes first meets every window: so after any number of turns each backend is less than one
//! turn away from its exact share (the quota property; Steiner and Yeomans, 1993, and Pfair scheduling).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// One period of turns, to be walked round and round: positions in `weights`, each as often as its
/// weight in lowest terms says. Where that would be more than `longest` turns, the shares are rounded to
/// about that many, each at least one turn. Empty where nobody has a weight.
pub fn sequence(weights: &[u16], longest: usize) -> Vec<u16> {
    // More positions than a u16 counts are more backends than a pool may have in layer 4.
    period(weights, longest as u64).filter_map(|position| u16::try_from(position).ok()).collect()
}

/// As [`sequence`].
pub(super) fn period(weights: &[u16], longest: u64) -> impl Iterator<Item = u32> {
    let weights = reduce(weights, longest);
    let turns = weights.iter().sum::<u64>() as usize;
    Turns::new(&weights).take(turns)
}

/// Weights in lowest terms; where their sum would still make a long period, scaled down to it, each at least 1.
fn reduce(weights: &[u16], longest: u64) -> Vec<u64> {
    let divisor = weights.iter().fold(0, |divisor, weight| gcd(divisor, u64::from(*weight))).max(1);
    let reduced: Vec<u64> = weights.iter().map(|weight| u64::from(*weight) / divisor).collect();
    let sum: u64 = reduced.iter().sum();
    if sum <= longest {
        return reduced;
    }
    let scaled = |weight: u64| if weight == 0 { 0 } else { ((weight * longest + sum / 2) / sum).max(1) };
    reduced.into_iter().map(scaled).collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Endless; yields indexes into the weights that it was made of, never one of weight 0.
pub(super) enum Turns {
    Even { members: Vec<u32>, next: usize },
    Weighted(Weighted),
}

pub(super) struct Weighted {
    total: u64,
    slot: u64,
    /// By the slot in which the window of the next turn opens.
    waiting: BinaryHeap<Reverse<(u64, u32)>>,
    /// By the slot before which the window closes.
    open: BinaryHeap<Reverse<(u64, u32)>>,
    backends: Vec<Share>,
}

#[derive(Clone, Copy)]
struct Share {
    weight: u64,
    turns: u64,
}

impl Turns {
    pub fn new(weights: &[u64]) -> Self {
        let members: Vec<u32> = (0..weights.len() as u32).filter(|i| weights[*i as usize] > 0).collect();
        let even = members.windows(2).all(|pair| weights[pair[0] as usize] == weights[pair[1] as usize]);
        if even { Self::Even { members, next: 0 } } else { Self::Weighted(Weighted::new(weights, &members)) }
    }
}

impl Iterator for Turns {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        match self {
            Self::Weighted(weighted) => weighted.next(),
            Self::Even { members, next } => {
                let turn = members.get(*next).copied();
                *next = if *next + 1 < members.len() { *next + 1 } else { 0 };
                turn
            }
        }
    }
}

impl Weighted {
    fn new(weights: &[u64], members: &[u32]) -> Self {
        Self {
            total: weights.iter().sum(),
            slot: 0,
            waiting: members.iter().map(|i| Reverse((0, *i))).collect(),
            open: BinaryHeap::with_capacity(members.len()),
            backends: weights.iter().map(|weight| Share { weight: *weight, turns: 0 }).collect(),
        }
    }

    fn next(&mut self) -> Option<u32> {
        self.open_windows();
        let Reverse((_, index)) = self.open.pop()?;
        let share = &mut self.backends[index as usize];
        share.turns += 1;
        self.waiting.push(Reverse((share.turns * self.total / share.weight, index)));
        self.slot += 1;
        Some(index)
    }

    fn open_windows(&mut self) {
        while let Some(Reverse((opens, index))) = self.waiting.peek().copied() {
            if opens > self.slot {
                break;
            }
            self.waiting.pop();
            let share = self.backends[index as usize];
            self.open.push(Reverse((((share.turns + 1) * self.total).div_ceil(share.weight), index)));
        }
    }
}

//! The rise/fall machine: by example, against a second definition, and under a seeded simulation.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::fixtures::SECOND;
use crate::health::machine::{Machine, Thresholds, Transition};
use crate::health::schedule::next_wait;
use crate::pool::Health;
use crate::scheduler::mix;

const THRESHOLDS: Thresholds = Thresholds { rise: 2, fall: 3 };

#[expect(clippy::disallowed_methods, reason = "an Instant has no other origin; tests only add to it")]
fn start() -> Instant {
    Instant::now()
}

/// Health after each of these results, one a second: `+` success, `-` failure.
fn healths(initial: Health, results: &str) -> Vec<Health> {
    let start = start();
    let mut machine = Machine::new(start, THRESHOLDS, initial);
    let mut health = initial;
    let mut observe = |(i, result): (usize, char)| {
        if let Some(transition) = machine.observe(start + i as u32 * SECOND, result == '+') {
            assert_eq!(transition.from, health);
            assert_ne!(transition.from, transition.to);
            health = transition.to;
        }
        health
    };
    results.chars().enumerate().map(&mut observe).collect()
}

fn words(healths: &[Health]) -> String {
    healths.iter().map(|h| ["?", "u", "d"][*h as usize]).collect()
}

#[test]
fn the_first_result_decides_at_once() {
    assert_eq!(words(&healths(Health::Unknown, "+")), "u");
    assert_eq!(words(&healths(Health::Unknown, "-")), "d");
}

#[test]
fn it_takes_fall_failures_in_a_row_to_go_down_and_rise_successes_to_come_up() {
    assert_eq!(words(&healths(Health::Up, "--+---++")), "uuuuuddu");
    assert_eq!(words(&healths(Health::Down, "+-+++--+--")), "ddduuuuuuu");
}

/// A backend that flaps faster than the thresholds never changes its health.
#[test]
fn flapping_results_change_nothing() {
    assert_eq!(words(&healths(Health::Up, &"--+".repeat(50))), "u".repeat(150));
    assert_eq!(words(&healths(Health::Down, &"+-".repeat(50))), "d".repeat(100));
}

#[test]
fn a_transition_says_how_many_results_it_took_and_how_long_it_had_been_otherwise() {
    let start = start();
    let mut machine = Machine::new(start, THRESHOLDS, Health::Up);
    assert_eq!(machine.observe(start + SECOND, false), None);
    assert_eq!(machine.observe(start + 2 * SECOND, false), None);
    let down = Transition { from: Health::Up, to: Health::Down, results: 3, lasted: 5 * SECOND };
    assert_eq!(machine.observe(start + 5 * SECOND, false), Some(down));
    assert_eq!(machine.observe(start + 6 * SECOND, true), None);
    let up = Transition { from: Health::Down, to: Health::Up, results: 2, lasted: 3 * SECOND };
    assert_eq!(machine.observe(start + 8 * SECOND, true), Some(up));
}

#[test]
fn a_reset_forgets_all_results() {
    let start = start();
    let mut machine = Machine::new(start, THRESHOLDS, Health::Down);
    let back = Transition { from: Health::Down, to: Health::Unknown, results: 0, lasted: SECOND };
    assert_eq!(machine.reset(start + SECOND, Health::Unknown), Some(back));
    assert_eq!(machine.reset(start + SECOND, Health::Unknown), None);
    assert_eq!(machine.observe(start + SECOND, true).map(|t| t.to), Some(Health::Up));
    machine.observe(start + SECOND, false);
    machine.observe(start + SECOND, false);
    assert_eq!(machine.reset(start + SECOND, Health::Up), None);
    assert_eq!(machine.observe(start + SECOND, false), None, "failures from before the reset count no more");
}

#[test]
fn other_thresholds_restart_the_counting_and_keep_the_health() {
    let start = start();
    let mut machine = Machine::new(start, THRESHOLDS, Health::Up);
    machine.observe(start, false);
    machine.observe(start, false);
    machine.restart(Thresholds { rise: 1, fall: 2 });
    assert_eq!(machine.observe(start, false), None);
    assert_eq!(machine.observe(start, false).map(|t| (t.from, t.to, t.results)), Some((Health::Up, Health::Down, 2)));
    assert_eq!(machine.observe(start, true).map(|t| t.to), Some(Health::Up));
}

proptest! {
    /// The same said backwards: health changes exactly when the last so many results since the last
    /// change are all against it.
    #[test]
    fn it_agrees_with_a_look_back_over_the_results(
        rise in 1_u32..5, fall in 1_u32..5, results in prop::collection::vec(any::<bool>(), 0..200),
    ) {
        let start = start();
        let mut machine = Machine::new(start, Thresholds { rise, fall }, Health::Unknown);
        let (mut health, mut since_change) = (Health::Unknown, Vec::new());
        for result in results {
            since_change.push(result);
            let (to, needed) = match (health, result) {
                (Health::Unknown, _) => (if result { Health::Up } else { Health::Down }, 1),
                (_, true) => (Health::Up, rise as usize),
                (_, false) => (Health::Down, fall as usize),
            };
            let run = since_change.iter().rev().take_while(|r| **r == result).count();
            let expected = (to != health && run >= needed).then_some(to);
            prop_assert_eq!(machine.observe(start, result).map(|t| t.to), expected);
            if let Some(to) = expected {
                health = to;
                since_change.clear();
            }
        }
    }
}

/// A backend that dies and recovers at random, looked at with jitter: after each step the machine is at
/// most so many checks behind the truth, and every change of the truth that lasts is seen once.
#[test]
fn in_a_simulation_lasting_changes_are_seen_in_time_and_once() {
    for seed in 0..2000 {
        let changes = simulate(seed);
        assert!(changes.seen == changes.made, "seed {seed}: {changes:?}");
    }
}

#[derive(Debug, Default)]
struct Changes {
    made: u32,
    seen: u32,
}

fn simulate(seed: u64) -> Changes {
    const INTERVAL: Duration = SECOND;
    let mut random = Random(mix(seed));
    let thresholds = Thresholds { rise: 1 + random.below(4), fall: 1 + random.below(4) };
    let start = start();
    let mut machine = Machine::new(start, thresholds, Health::Up);
    let (mut now, mut alive, mut health) = (start, true, Health::Up);
    let mut changes = Changes::default();
    let mut truth_since = start;
    // Truth holds for so long that jittered checks must see each change.
    let lasting = INTERVAL.mul_f64(1.1) * 6;
    while now < start + 600 * SECOND {
        now += next_wait(INTERVAL, random.next());
        if now > truth_since + lasting + random.below(20) * SECOND {
            (alive, truth_since) = (!alive, now);
            changes.made += 1;
        }
        if let Some(transition) = machine.observe(now, alive) {
            changes.seen += 1;
            health = transition.to;
        }
        let needed = if alive { thresholds.rise } else { thresholds.fall };
        let late = now > truth_since + INTERVAL.mul_f64(1.1) * needed;
        assert!(!late || (health == Health::Up) == alive, "seed {seed}: {health:?} too late");
    }
    // The last change may be too fresh to have been seen.
    if (health == Health::Up) != alive {
        changes.seen += 1;
    }
    changes
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0)
    }

    fn below(&mut self, bound: u32) -> u32 {
        (self.next() % u64::from(bound)) as u32
    }
}

//! Two to five nodes over a bad network, by seed and with a virtual clock.
//!
//! `LB_SEED=n` runs that one and says what happens; `LB_SEEDS=n` runs so many (10,000).

mod chaos;
mod check;
mod network;
mod node;
mod random;
mod scenarios;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::check::Check;
use crate::random::Random;
use crate::world::World;

const SEEDS: u64 = 10_000;
const ROUNDS: usize = 2;

#[test]
fn one_is_active_and_the_network_knows_which_whenever_it_is_quiet() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("LB_SEED") {
        return simulate(seed, true);
    }
    let seeds = number("LB_SEEDS").unwrap_or(SEEDS);
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let share = |first: u64| {
        move || -> Vec<u64> { (first..seeds).step_by(threads as usize).filter(|seed| fails(*seed)).take(3).collect() }
    };
    let workers: Vec<_> = (0..threads).map(share).map(std::thread::spawn).collect();
    let failed: Vec<u64> = workers.into_iter().flat_map(|worker| worker.join().expect("panics are caught")).collect();
    assert!(failed.is_empty(), "failing seeds, to be run by LB_SEED=n: {failed:?}");
}

fn fails(seed: u64) -> bool {
    catch_unwind(AssertUnwindSafe(|| simulate(seed, false))).inspect_err(|_| eprintln!("LB_SEED={seed} fails")).is_err()
}

fn simulate(seed: u64, is_loud: bool) {
    let mut world = chaos::build(Random::new(seed));
    world.is_loud = is_loud;
    for node in 0..world.nodes.len() {
        world.start(node);
    }
    for _ in 0..ROUNDS {
        disturbed(&mut world);
        quiet(&mut world);
    }
}

/// Shorter than a farewell is repeated for.
fn disturbed(world: &mut World) {
    let interval = world.nodes[0].interval();
    let end = world.now + 40 * interval;
    while world.now < end {
        let pause = world.now + world.random.up_to(6 * interval);
        while world.step(pause) {}
        chaos::disturb(world);
    }
}

fn quiet(world: &mut World) {
    world.say(|| "the network is whole".into());
    chaos::calm(world);
    world.changes.fill(0);
    let longest = world.longest_interval();
    run(world, check::bound(longest), |_| {});
    let mut check = Check::new(world);
    run(world, check::until_told(longest), |world| check.one_active(world));
    check::settled(world);
    check::no_storm(world);
}

fn run(world: &mut World, time: Duration, mut after_each_step: impl FnMut(&World)) {
    let end = world.now + time;
    while world.step(end) {
        after_each_step(world);
    }
}

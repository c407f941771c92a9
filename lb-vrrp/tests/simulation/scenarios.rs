//! Single misfortunes, each with many seeds.

use std::time::Duration;

use lb_vrrp::machine::{Event, Garp, Preempt, Settings};
use lb_vrrp::packet::{Addresses, Family, Version};

use crate::check::{self, Check};
use crate::network::MOST_NODES;
use crate::node::{Node, Process, address};
use crate::random::Random;
use crate::world::World;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Two nodes at 10 ms that run; the first is active. As in an Ethernet, adverts take up to a fifth of a millisecond.
fn pair(seed: u64, preempt: Preempt) -> World {
    let node = |priority| {
        let settings = Settings {
            version: Version::V3,
            family: Family::V4,
            vrid: 1,
            priority,
            interval: 10 * MS,
            preempt,
            garp: Garp::default(),
            addresses: Addresses::from_slice(&[[192, 0, 2, 1].into()]),
        };
        Node::new(vec![settings], false)
    };
    let mut world = World::new(Random::new(seed), vec![node(150), node(100)], MS / 5);
    world.lateness = MS / 10;
    (0..2).for_each(|node| world.start(node));
    let settle = SECOND + world.random.up_to(10 * MS);
    crate::run(&mut world, settle, |_| {});
    assert_eq!(world.actives(0).collect::<Vec<_>>(), [0]);
    world.changes.fill(0);
    world
}

fn preempts() -> [Preempt; 3] {
    [Preempt::After(Duration::ZERO), Preempt::After(30 * SECOND), Preempt::Never]
}

/// keepalived: 16.
#[test]
fn a_freeze_of_1_s_at_10_ms_ends_with_one_change_of_role() {
    for seed in 0..500 {
        for preempt in preempts() {
            let mut world = pair(seed, preempt);
            let state = if seed % 2 == 0 { Process::Frozen } else { Process::Suspended };
            world.freeze(0, state, SECOND);
            crate::run(&mut world, SECOND - MS, |_| {});
            assert_eq!(world.actives(0).collect::<Vec<_>>(), [0, 1], "the peer has taken over");
            world.changes.fill(0);
            crate::run(&mut world, 5 * SECOND, |_| {});
            assert_eq!(world.changes, [1], "seed {seed}, {preempt:?}");
            assert_eq!((world.actives(0).next(), world.believes[0]), (Some(1), Some(1)));
        }
    }
}

/// keepalived: 11 of 20.
#[test]
fn no_black_hole_after_a_cut_between_the_nodes_has_healed() {
    for seed in 0..500 {
        for preempt in preempts() {
            let mut world = pair(seed, preempt);
            world.network.cut_one_way(0, 1);
            world.network.cut_one_way(1, 0);
            let cut = SECOND + world.random.up_to(SECOND);
            crate::run(&mut world, cut, |_| {});
            assert_eq!(world.actives(0).count(), 2);
            world.ask(0);
            world.network.heal();
            crate::run(&mut world, 40 * MS, |_| {});
            assert_eq!((world.actives(0).next(), world.believes[0]), (Some(0), Some(0)), "seed {seed}");
            assert_eq!(world.changes, [2], "one took over, and gave in");
        }
    }
}

/// The way back heals later than the way there: a single farewell would be lost.
#[test]
fn no_black_hole_after_a_cut_that_heals_one_way_first() {
    for seed in 0..500 {
        let mut world = pair(seed, Preempt::Never);
        world.network.cut_one_way(0, 1);
        world.network.cut_one_way(1, 0);
        crate::run(&mut world, SECOND, |_| {});
        world.believes[0] = Some(1);
        world.network.heal();
        world.network.cut_one_way(1, 0);
        let one_way = 20 * MS + world.random.up_to(500 * MS);
        crate::run(&mut world, one_way, |_| {});
        assert_eq!(world.actives(0).collect::<Vec<_>>(), [0]);
        world.network.heal();
        crate::run(&mut world, SECOND, |_| {});
        assert_eq!(world.believes[0], Some(0), "seed {seed}");
    }
}

/// Power off at 10 ms: the client's gap is at most the peers' patience.
#[test]
fn power_off_is_noticed_within_three_intervals_and_a_skew() {
    for seed in 0..500 {
        let mut world = pair(seed, Preempt::Never);
        world.kill(0, false);
        let start = world.now;
        while world.believes[0] != Some(1) {
            assert!(world.step(start + SECOND));
        }
        let gap = world.now.since(start);
        assert!(gap <= 37 * MS, "{gap:?}, seed {seed}");
    }
}

/// Make before break: at no moment is the client led to a node without the address.
#[test]
fn a_yield_and_a_graceful_stop_lose_nothing() {
    for seed in 0..500 {
        for event in [Event::Yield, Event::Stop] {
            let mut world = pair(seed, Preempt::After(Duration::ZERO));
            world.tell_all(0, event);
            crate::run(&mut world, 5 * SECOND, |world| {
                let believed = world.believes[0].expect("it was announced");
                assert!(world.nodes[believed].holds[0], "seed {seed}, {event:?}");
            });
            assert_eq!((world.actives(0).collect::<Vec<_>>(), world.believes[0]), (vec![1], Some(1)));
            assert_eq!(world.changes, [2]);
        }
    }
}

#[test]
fn a_process_that_is_killed_and_comes_back_leaves_no_second_holder() {
    for seed in 0..500 {
        let mut world = pair(seed, Preempt::Never);
        world.kill(0, true);
        crate::run(&mut world, SECOND, |_| {});
        assert!(world.nodes[0].holds[0] && world.nodes[1].holds[0], "the kernel kept them");
        world.ask(0);
        world.start(0);
        crate::run(&mut world, SECOND, |_| {});
        assert_eq!((world.actives(0).next(), world.believes[0]), (Some(1), Some(1)), "seed {seed}");
        assert!(!world.nodes[0].holds[0]);
    }
}

/// Half of all adverts lost, which two in a row survive: somebody is active nearly always, and it ends well.
#[test]
fn loss_ends_well() {
    for seed in 0..200 {
        let mut world = pair(seed, Preempt::After(Duration::ZERO));
        world.network.loss = 500;
        crate::run(&mut world, SECOND, |_| {});
        world.network.loss = 0;
        crate::run(&mut world, check::bound(10 * MS), |_| {});
        let mut check = Check::new(&world);
        crate::run(&mut world, SECOND, |world| check.one_active(world));
        assert_eq!(world.actives(0).next(), Some(0), "the higher priority");
        check::settled(&world);
    }
}

/// The client is on the far side of the cut from the active node, and learns of it again.
#[test]
fn a_client_that_was_cut_off_finds_the_active_node() {
    for seed in 0..500 {
        let mut world = pair(seed, Preempt::After(Duration::ZERO));
        let both_on_their_own = 1 << 1 | 1 << MOST_NODES;
        world.network.split(both_on_their_own);
        crate::run(&mut world, SECOND, |_| {});
        assert_eq!(world.believes[0], Some(1));
        world.network.heal();
        crate::run(&mut world, 40 * MS, |_| {});
        assert_eq!((world.actives(0).next(), world.believes[0]), (Some(0), Some(0)), "seed {seed}");
    }
}

/// Whoever configures the interface anew; the peer hears every advert meanwhile.
#[test]
fn an_own_address_that_is_missing_for_less_than_a_second_changes_nothing() {
    for seed in 0..500 {
        let mut world = pair(seed, Preempt::After(Duration::ZERO));
        for node in [0, 1, 0] {
            world.nodes[node].has_source = false;
            world.tell_all(node, Event::Source(None));
            let missing = world.random.up_to(990 * MS);
            crate::run(&mut world, missing, |_| {});
            world.nodes[node].has_source = true;
            world.tell_all(node, Event::Source(Some(address(node))));
            crate::run(&mut world, SECOND, |_| {});
            assert_eq!((world.changes[0], world.actives(0).collect::<Vec<_>>()), (0, vec![0]), "seed {seed}");
        }
        world.nodes[0].has_source = false;
        world.tell_all(0, Event::Source(None));
        let mut both = Duration::ZERO;
        let mut before = world.now;
        crate::run(&mut world, 2 * SECOND, |world| {
            let holders = world.nodes.iter().filter(|node| node.holds[0]).count();
            both = if holders == 2 { both + world.now.since(before) } else { both };
            before = world.now;
        });
        assert_eq!((world.actives(0).collect::<Vec<_>>(), both), (vec![1], Duration::ZERO), "seed {seed}");
    }
}

/// Both nodes of a starved host cannot run for up to five intervals, every second or so. Adverts at 100 ms.
#[test]
fn roles_of_a_starved_pair_do_not_flap() {
    for seed in 0..200 {
        let mut world = pair(seed, Preempt::After(Duration::ZERO));
        for node in 0..2 {
            let settings = Settings { interval: 100 * MS, ..world.nodes[node].settings[0].clone() };
            world.nodes[node].settings[0] = settings.clone();
            world.tell(node, 0, Event::Reconfigured(&settings));
        }
        crate::run(&mut world, SECOND, |_| {});
        world.changes.fill(0);
        for _ in 0..45 {
            let node = world.random.below(2);
            let stall = world.random.up_to(500 * MS);
            world.freeze(node, Process::Frozen, stall);
            let pause = 500 * MS + world.random.up_to(SECOND);
            crate::run(&mut world, pause, |_| {});
        }
        assert!(world.changes[0] <= 10, "{} changes of role, seed {seed}", world.changes[0]);
        // One that is really gone is replaced nevertheless.
        let active = world.actives(0).next().expect("one is active");
        crate::run(&mut world, SECOND, |_| {});
        world.kill(active, false);
        crate::run(&mut world, 3 * SECOND, |_| {});
        assert_eq!(world.believes[0], Some(1 - active), "seed {seed}");
    }
}

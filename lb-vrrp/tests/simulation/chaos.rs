//! What goes wrong, and its end.

use std::time::Duration;

use lb_vrrp::machine::{Event, Garp, Preempt, Settings};
use lb_vrrp::packet::{Addresses, Family, Version};
use lb_vrrp::routers::RouterId;

use crate::network::MOST_NODES;
use crate::node::{Node, Process, address};
use crate::random::Random;
use crate::world::World;

const MS: Duration = Duration::from_millis(1);

/// Any configuration that makes sense: the same on all nodes, but for what may differ.
pub fn build(mut random: Random) -> World {
    let version = if random.permille(800) { Version::V3 } else { Version::V2 };
    let interval = match version {
        Version::V3 => random.pick(&[10 * MS, 100 * MS, 1000 * MS]),
        Version::V2 => 1000 * MS,
    };
    let (count, routers) = (2 + random.below(MOST_NODES - 1), 1 + random.below(2));
    let grouped = routers > 1 && random.permille(500);
    let has_owner = random.permille(100);
    let nodes = (0..count).map(|node| {
        let priority = if has_owner && node == 0 { 255 } else { random.pick(&[1, 50, 100, 100, 150, 200, 254]) };
        let preempt = any_preempt(&mut random, interval);
        let settings = (0..routers as u8).map(|id| settings(version, interval, id, priority, preempt));
        Node::new(settings.collect(), grouped)
    });
    let nodes = nodes.collect();
    World::new(random, nodes, interval / 50)
}

fn any_preempt(random: &mut Random, interval: Duration) -> Preempt {
    random.pick(&[Preempt::After(Duration::ZERO), Preempt::After(interval * 7), Preempt::Never])
}

fn settings(version: Version, interval: Duration, id: u8, priority: u8, preempt: Preempt) -> Settings {
    Settings {
        version,
        family: Family::V4,
        vrid: 1 + id,
        priority,
        interval,
        preempt,
        garp: Garp { repeat: 5, again: Some(20 * interval), refresh: None },
        addresses: Addresses::from_slice(&[[192, 0, 2, id].into()]),
    }
}

const KINDS: [&str; 21] = [
    "one-way cut",
    "split",
    "heal",
    "heal",
    "loss",
    "delay",
    "duplicates",
    "freeze",
    "suspend",
    "kill",
    "kill",
    "stop",
    "yield",
    "reload",
    "link",
    "tracker",
    "readiness",
    "address gone",
    "ARP request",
    "own address",
    "lateness",
];

/// Does one thing to the world.
pub fn disturb(world: &mut World) {
    let node = world.random.below(world.nodes.len());
    let id = world.random.below(world.routers()) as RouterId;
    let interval = world.nodes[node].interval();
    let a_while = world.random.up_to(20 * interval);
    let kind = world.random.below(21);
    world.say(|| format!("{} happens to node {node}", KINDS[kind]));
    match kind {
        0 => cut_one_way(world),
        1 => world.network.split(world.random.below(1 << (MOST_NODES + 1))),
        2 | 3 => world.network.heal(),
        4 => world.network.loss = world.random.pick(&[0, 10, 100, 300]),
        5 => world.network.slowest = world.random.pick(&[interval / 50, interval / 2, interval * 3]),
        6 => world.network.duplicates = world.random.pick(&[0, 100, 500]),
        7 => world.freeze(node, Process::Frozen, a_while),
        8 => world.freeze(node, Process::Suspended, a_while),
        9 | 10 => {
            let keeps_addresses = world.random.permille(500);
            world.kill(node, keeps_addresses);
            world.start_after(node, a_while);
        }
        11 => stop(world, node, a_while),
        12 => world.tell_all(node, Event::Yield),
        13 => reload(world, node),
        14 => set_link(world, node, world.nodes[node].link_up ^ true),
        15 => track(world, node),
        16 => {
            let is_ready = world.random.permille(500);
            world.tell_all(node, Event::Ready(is_ready));
        }
        17 => lose_address(world, node, id),
        18 => world.ask(id),
        19 => set_source(world, node, world.nodes[node].has_source ^ true),
        _ => world.lateness = world.random.pick(&[Duration::ZERO, interval / 10, interval]),
    }
}

fn cut_one_way(world: &mut World) {
    let ends: Vec<usize> = (0..world.nodes.len()).chain([MOST_NODES]).collect();
    let (from, to) = (world.random.pick(&ends), world.random.pick(&ends));
    world.network.cut_one_way(from, to);
}

fn stop(world: &mut World, node: usize, wait: Duration) {
    if world.nodes[node].state == Process::Runs {
        world.nodes[node].state = Process::Stops;
        world.tell_all(node, Event::Stop);
        world.start_after(node, wait);
    }
}

/// Restarts keep what a reload changed: it is in the file.
fn reload(world: &mut World, node: usize) {
    let priority = world.random.pick(&[1, 50, 100, 150, 254]);
    let preempt = any_preempt(&mut world.random, world.nodes[node].interval());
    let factor = world.random.pick(&[1, 1, 2]);
    for id in 0..world.routers() {
        let settings = &mut world.nodes[node].settings[id];
        settings.preempt = preempt;
        if settings.priority != 255 {
            settings.priority = priority;
        }
        if settings.version == Version::V3 && settings.interval < 2000 * MS {
            settings.interval *= factor;
        }
        let settings = settings.clone();
        world.tell(node, id as RouterId, Event::Reconfigured(&settings));
    }
}

fn set_link(world: &mut World, node: usize, up: bool) {
    world.nodes[node].link_up = up;
    world.tell_all(node, Event::Link { up });
}

fn set_source(world: &mut World, node: usize, has_source: bool) {
    world.nodes[node].has_source = has_source;
    world.tell_all(node, Event::Source(has_source.then(|| address(node))));
}

fn track(world: &mut World, node: usize) {
    let fault = world.random.permille(300);
    let owner = world.nodes[node].settings[0].priority == 255;
    let priority = if owner { 255 } else { world.random.pick(&[1, 40, 90, 100, 254]) };
    world.tell_all(node, Event::Tracked { priority, fault });
}

fn lose_address(world: &mut World, node: usize, id: RouterId) {
    if world.nodes[node].is_up() && world.nodes[node].holds[id as usize] {
        world.nodes[node].holds[id as usize] = false;
        world.tell(node, id, Event::AddressGone);
        let is_active = world.actives(id).any(|active| active == node);
        assert_eq!(world.nodes[node].holds[id as usize], is_active, "it comes back");
    }
}

/// Ends all of it: every node runs, hears every other, and nothing is tracked.
pub fn calm(world: &mut World) {
    world.network.heal();
    (world.network.loss, world.network.duplicates) = (0, 0);
    world.network.slowest = world.nodes.iter().map(Node::interval).min().unwrap_or_default() / 50;
    world.lateness = Duration::ZERO;
    for node in 0..world.nodes.len() {
        world.wake(node);
        set_link(world, node, true);
        set_source(world, node, true);
        world.tell_all(node, Event::Ready(true));
        let priority = world.nodes[node].settings[0].priority;
        world.tell_all(node, Event::Tracked { priority, fault: false });
        world.start(node);
    }
}

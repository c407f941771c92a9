//! Whatever happens to nodes and network: who is ready knows what the others know (`World::run` looks at that all
//! along), and in the end all agree.

use proptest::prelude::*;

use super::{FINE, Weather, World};

#[derive(Debug, Clone)]
enum Step {
    Packets { first: u16, many: u16, state: u8 },
    TakeOver,
    Cut,
    Heal,
    Restart { node: usize },
    Weather { lost: u32, delay: u64 },
    Wait { ms: u64 },
    Rough(Rough),
}

/// What flows may not survive in the same way everywhere.
#[derive(Debug, Clone)]
enum Rough {
    /// A restart before the others have been told everything.
    Crash { node: usize },
    /// Everything takes longer, for all.
    Slow { latency: u64 },
    /// It gets a CPU only now and then. Ages do not tell how long a datagram has waited for that.
    Busy { node: usize, pace: u64 },
    /// Two lose each other while a dump may be under way.
    Miss { node: usize, other: usize, ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..350u16, 1..50u16, prop_oneof![3 => Just(3u8), 1 => 4..7u8])
            .prop_map(|(first, many, state)| Step::Packets { first, many, state }),
        2 => Just(Step::TakeOver),
        1 => Just(Step::Cut),
        2 => Just(Step::Heal),
        1 => (0..3usize).prop_map(|node| Step::Restart { node }),
        2 => (0..60u32, 1..40u64).prop_map(|(lost, delay)| Step::Weather { lost, delay }),
        8 => (1..300u64).prop_map(|ms| Step::Wait { ms }),
    ]
}

fn rough() -> impl Strategy<Value = Step> {
    let pace = prop_oneof![Just(1u64), 1..1500u64];
    let rough = prop_oneof![
        2 => (0..3usize).prop_map(|node| Rough::Crash { node }),
        2 => (0..3usize, pace).prop_map(|(node, pace)| Rough::Busy { node, pace }),
        1 => prop_oneof![Just(0u64), 1..900u64].prop_map(|latency| Rough::Slow { latency }),
        1 => (0..3usize, 0..3usize, 1..200u64).prop_map(|(node, other, ms)| Rough::Miss { node, other, ms }),
    ];
    prop_oneof![3 => step(), 1 => rough.prop_map(Step::Rough)]
}

struct Life {
    world: World,
    active: usize,
    cut: bool,
}

impl Life {
    fn new(nodes: usize, seed: u64) -> Self {
        Self { world: World::joined(nodes, seed), active: 0, cut: false }
    }

    fn nodes(&self) -> usize {
        self.world.nodes.len()
    }

    fn live(&mut self, step: Step) {
        match step {
            Step::Packets { first, many, state } => {
                let backend = self.world.chance(3) as u16;
                (first..first + many).for_each(|key| self.world.table(self.active).packet(key, state, backend));
            }
            Step::TakeOver => self.take_over(),
            // Of three, two that do not hear each other both tell the third, which cannot judge between them.
            Step::Cut if !self.cut && self.nodes() == 2 => {
                self.world.part(0, 1);
                self.cut = true;
            }
            Step::Heal if self.cut => self.heal(),
            // One that is cut off, or that has not been told yet, would take with it what nobody else knows.
            Step::Restart { node } if node < self.nodes() && !self.cut => {
                self.world.weather = FINE;
                self.world.run(1000);
                self.world.restart(node);
                self.world.run(1000);
            }
            Step::Weather { lost, delay } => self.world.weather = Weather { lost, delay },
            Step::Wait { ms } => self.world.run(ms),
            Step::Rough(rough) => self.suffer(rough),
            Step::Cut | Step::Heal | Step::Restart { .. } => {}
        }
        self.world.run(2);
    }

    /// Who was later is told by ages, which the way of a datagram makes uncertain: of three, the third cannot judge
    /// between two that tell it at once, so that the word of the one before has to be through.
    fn take_over(&mut self) {
        self.world.run(60);
        for _ in 0..100 {
            if self.nodes() == 2 || self.world.nodes[self.active].0.is_acked() {
                break;
            }
            self.world.run(20);
        }
        self.active = (self.active + 1) % self.nodes();
    }

    fn heal(&mut self) {
        self.world.meet(0, 1);
        self.cut = false;
    }

    fn suffer(&mut self, rough: Rough) {
        match rough {
            Rough::Crash { node } if node < self.nodes() && !self.cut => self.world.restart(node),
            Rough::Slow { latency } => self.world.latency = latency,
            Rough::Busy { node, pace } if node < self.nodes() => self.world.pace[node] = pace,
            Rough::Miss { node, other, ms } if node != other && node.max(other) < self.nodes() && !self.cut => {
                self.world.set_joined(node, other, false);
                self.world.run(ms);
                self.world.set_joined(node, other, true);
            }
            _ => {}
        }
    }

    fn calm_down(&mut self) {
        if self.cut {
            self.heal();
        }
        self.world.pace.fill(1);
        self.world.latency = 0;
        self.world.weather = Weather { lost: 10, delay: 5 };
        self.world.run(4000);
        self.world.weather = FINE;
        self.world.run(1500);
    }

    fn all_are_ready(&self) -> bool {
        (0..self.nodes()).all(|node| self.world.is_ready(node))
    }
}

fn config() -> ProptestConfig {
    ProptestConfig { max_shrink_iters: 100, failure_persistence: None, cases: 100, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// With the network whole for a while, all nodes know the same flows.
    #[test]
    fn nodes_come_to_agree(nodes in 2..4usize, steps in prop::collection::vec(step(), 1..40), seed in any::<u64>()) {
        let mut life = Life::new(nodes, seed);
        steps.into_iter().for_each(|step| life.live(step));
        life.calm_down();
        for key in 0..400 {
            let view = |(_, table): &(_, super::FakeTable)| (table.view().get(&key).copied(), table.flows.get(&key).copied());
            let known: Vec<_> = life.world.nodes.iter().map(view).collect();
            prop_assert!(known.iter().all(|(view, _)| *view == known[0].0), "flow {}: {:?}", key, known);
        }
        prop_assert!(life.all_are_ready());
    }

    #[test]
    fn nobody_is_ready_too_early(nodes in 2..4usize, steps in prop::collection::vec(rough(), 1..40), seed in any::<u64>()) {
        let mut life = Life::new(nodes, seed);
        steps.into_iter().for_each(|step| life.live(step));
        life.calm_down();
        prop_assert!(life.all_are_ready());
    }
}

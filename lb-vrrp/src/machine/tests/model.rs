//! The election of two routers, exhaustively: every order of every loss, delay, death, freeze and hand-over.
//!
//! Time goes in halves of an interval. While the network is bad, adverts arrive within one, or not at all, in any
//! order; routers die, come back, freeze, wake and yield at any moment. Once it is good for long enough, one is
//! active and the other a backup, whatever came before.

use stateright::{Checker, Model, Property};

use super::*;

/// As long as a node that was frozen does not preempt, so that this is a part of the play.
const INTERVAL: Duration = Duration::from_secs(10);
const HALF: Duration = Duration::from_secs(5);
/// Halves that an advert may be under way.
const SLOWEST: u8 = 1;
/// Halves of good network after which all is well: a hand-over that began last (5 intervals, and its linger), a
/// backup that waits in vain (4), and then looks (2).
const BOUND: u8 = 2 * 12;
/// Where the clock stands in every state; what lies further back than the peers' patience is all the same.
const NOW: Time = Time::from_nanos(1_000_000_000_000);
const MEMORY: Duration = Duration::from_secs(4 * 10);

struct Election {
    priorities: [u8; 2],
    preempt: Preempt,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    nodes: [Node; 2],
    under_way: Vec<Packet>,
    /// Halves since the network is good, up to the bound.
    quiet: Option<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Node {
    /// `None` where it is dead.
    machine: Option<Machine>,
    is_frozen: bool,
    holds: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Packet {
    to: usize,
    priority: u8,
    age: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Deliver(usize),
    Lose(usize),
    Expire(usize),
    Wait,
    Kill(usize),
    Start(usize),
    Freeze(usize),
    Wake(usize),
    Yield(usize),
    Heal,
}

impl Model for Election {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let dead = Node { machine: None, is_frozen: false, holds: false };
        vec![State { nodes: [dead.clone(), dead], under_way: Vec::new(), quiet: None }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        steps.extend((0..state.under_way.len()).map(Step::Deliver));
        steps.extend((0..2).filter(|node| state.nodes[*node].is_due()).map(Step::Expire));
        if state.may_wait() {
            steps.push(Step::Wait);
        }
        if state.quiet.is_none() {
            steps.extend((0..state.under_way.len()).map(Step::Lose));
            (0..2).for_each(|node| state.nodes[node].misfortunes(node, steps));
            steps.extend(state.nodes.iter().all(Node::runs).then_some(Step::Heal));
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut state = state.clone();
        match step {
            Step::Deliver(index) => state.deliver(index),
            Step::Lose(index) => drop(state.under_way.remove(index)),
            Step::Expire(node) => state.handle(node, Event::Timer),
            Step::Wait => state.wait(),
            Step::Kill(node) => state.nodes[node] = Node { machine: None, is_frozen: false, holds: false },
            Step::Start(node) => self.start(&mut state, node),
            Step::Freeze(node) => state.nodes[node].is_frozen = true,
            Step::Wake(node) => state.wake(node),
            Step::Yield(node) => state.handle(node, Event::Yield),
            Step::Heal => state.quiet = Some(0),
        }
        state.under_way.sort_unstable();
        state.under_way.dedup();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one is active when the network was good for long enough", |_, state: &State| {
                state.quiet != Some(BOUND) || state.roles_are(Role::Active, Role::Backup)
            }),
            Property::always("the addresses are where the role is", |_, state: &State| {
                state.nodes.iter().all(|node| node.holds == (node.role() == Role::Active))
            }),
            Property::sometimes("both can be active while it is bad", |_, state: &State| {
                state.nodes.iter().all(|node| node.role() == Role::Active)
            }),
            Property::sometimes("it gets good for long enough", |_, state: &State| state.quiet == Some(BOUND)),
        ]
    }
}

impl Election {
    fn start(&self, state: &mut State, node: usize) {
        let garp = Garp { repeat: 1, again: None, refresh: None };
        let (priority, preempt) = (self.priorities[node], self.preempt);
        let settings = Settings { priority, preempt, interval: INTERVAL, garp, ..settings() };
        state.nodes[node].machine = Some(Machine::new(settings));
        let source = Some(address(node));
        state.handle(node, Event::Started { link_up: true, source, leftovers: false });
    }
}

fn address(node: usize) -> IpAddr {
    ip([LOW, HIGH][node])
}

impl State {
    fn roles_are(&self, one: Role, other: Role) -> bool {
        let [a, b] = [&self.nodes[0], &self.nodes[1]].map(Node::role);
        (a, b) == (one, other) || (b, a) == (one, other)
    }

    /// Nobody is late, but for the frozen; and no packet is slower than the slowest.
    fn may_wait(&self) -> bool {
        !self.nodes.iter().any(Node::is_due) && self.under_way.iter().all(|packet| packet.age < SLOWEST)
    }

    fn wait(&mut self) {
        for machine in self.nodes.iter_mut().filter_map(|node| node.machine.as_mut()) {
            machine.times().for_each(|time| *time = (*time - HALF).max(NOW - MEMORY));
        }
        self.under_way.iter_mut().for_each(|packet| packet.age += 1);
        self.quiet = self.quiet.map(|quiet| (quiet + 1).min(BOUND));
    }

    fn deliver(&mut self, index: usize) {
        let Packet { to, priority, .. } = self.under_way.remove(index);
        // To one that is frozen, packets are lost: as when its whole host is.
        if let Some(advert) = self.nodes[to].running().map(|machine| machine.settings().advert(priority, INTERVAL)) {
            self.handle(to, Event::Advert { from: address(1 - to), advert: &advert });
        }
    }

    fn wake(&mut self, node: usize) {
        self.nodes[node].is_frozen = false;
        self.handle(node, Event::Timer);
    }

    fn handle(&mut self, node: usize, event: Event<'_>) {
        let Some(machine) = &mut self.nodes[node].machine else { return };
        let actions = machine.handle(NOW, event);
        machine.forget(NOW);
        for action in actions {
            match action {
                Action::AddAddresses => self.nodes[node].holds = true,
                Action::RemoveAddresses => self.nodes[node].holds = false,
                Action::Advertise { priority, .. } => self.under_way.push(Packet { to: 1 - node, priority, age: 0 }),
                _ => {}
            }
        }
    }
}

impl Node {
    fn role(&self) -> Role {
        self.machine.as_ref().map_or(Role::Initialize, Machine::role)
    }

    fn running(&self) -> Option<&Machine> {
        self.machine.as_ref().filter(|_| !self.is_frozen)
    }

    fn runs(&self) -> bool {
        self.running().is_some()
    }

    fn is_due(&self) -> bool {
        self.running().and_then(Machine::next_deadline).is_some_and(|deadline| deadline <= NOW)
    }

    fn misfortunes(&self, node: usize, steps: &mut Vec<Step>) {
        match &self.machine {
            None => steps.push(Step::Start(node)),
            Some(_) if self.is_frozen => steps.push(Step::Wake(node)),
            Some(machine) => {
                steps.extend([Step::Kill(node), Step::Freeze(node)]);
                steps.extend((machine.role() == Role::Active && !machine.is_leaving()).then_some(Step::Yield(node)));
            }
        }
    }
}

fn check(priorities: [u8; 2], preempt: Preempt) {
    let checker = Election { priorities, preempt }.checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    println!("{} states", checker.unique_state_count());
}

#[test]
fn one_of_two_is_active_in_the_end_whatever_happens() {
    check([200, 100], Preempt::After(Duration::ZERO));
}

#[test]
fn so_it_is_without_preemption() {
    check([200, 100], Preempt::Never);
}

#[test]
fn so_it_is_with_equal_priorities() {
    check([100, 100], Preempt::After(Duration::ZERO));
}

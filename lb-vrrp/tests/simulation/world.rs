//! Nodes, a network between them, and one client that believes in announcements.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use lb_vrrp::machine::{Action, Event, Role, RoleChange};
use lb_vrrp::packet::Advert;
use lb_vrrp::routers::{Outputs, RouterId};
use lb_vrrp::time::Time;

use crate::network::Network;
use crate::node::{Node, Process, address};
use crate::random::Random;

pub struct World {
    pub now: Time,
    pub random: Random,
    pub nodes: Vec<Node>,
    pub network: Network,
    /// Where the client sends what is for each virtual router; `None`: it would ask.
    pub believes: Vec<Option<usize>>,
    /// Roles taken up or given up, by virtual router.
    pub changes: Vec<u32>,
    /// How late a node may be.
    pub lateness: Duration,
    /// Says what happens.
    pub is_loud: bool,
    under_way: BinaryHeap<Reverse<(Time, usize)>>,
    messages: Vec<Option<Message>>,
    free: Vec<usize>,
    /// Of each node: its deadline, and when it gets to it.
    alarms: Vec<Option<(Time, Time)>>,
}

#[derive(Clone)]
enum Message {
    Advert { to: usize, from: usize, id: RouterId, advert: Advert },
    Announcement { from: usize, id: RouterId },
    Wake { node: usize },
    Start { node: usize },
}

impl World {
    pub fn new(random: Random, nodes: Vec<Node>, slowest: Duration) -> Self {
        let routers = nodes[0].settings.len();
        let alarms = vec![None; nodes.len()];
        Self {
            now: Time::ZERO + Duration::from_secs(1000),
            random,
            nodes,
            network: Network::whole(slowest),
            believes: vec![None; routers],
            changes: vec![0; routers],
            lateness: Duration::ZERO,
            is_loud: false,
            under_way: BinaryHeap::new(),
            messages: Vec::new(),
            free: Vec::new(),
            alarms,
        }
    }

    pub fn routers(&self) -> usize {
        self.believes.len()
    }

    pub fn longest_interval(&self) -> Duration {
        self.nodes.iter().map(Node::interval).max().unwrap_or_default()
    }

    pub fn say(&self, what: impl FnOnce() -> String) {
        if self.is_loud {
            println!("{:?} {}", self.now.since(Time::ZERO), what());
        }
    }

    /// The nodes that are active for a virtual router, as far as they know.
    pub fn actives(&self, id: RouterId) -> impl Iterator<Item = usize> {
        let is_active = move |node: &Node| node.routers.get(id).is_some_and(|machine| machine.role() == Role::Active);
        (0..self.nodes.len()).filter(move |node| is_active(&self.nodes[*node]))
    }

    /// Does the next thing that is due before `end`; `false` when nothing is.
    pub fn step(&mut self, end: Time) -> bool {
        let message = self.under_way.peek().map(|Reverse((at, _))| *at);
        let timer = (0..self.nodes.len()).filter_map(|node| Some((self.alarm(node)?, node))).min();
        match (message, timer) {
            (Some(at), _) if at <= end && timer.is_none_or(|(timer, _)| at <= timer) => self.arrive(),
            (_, Some((at, node))) if at <= end => self.expire(at, node),
            _ => {
                self.now = end;
                return false;
            }
        }
        true
    }

    fn alarm(&mut self, node: usize) -> Option<Time> {
        let deadline = self.nodes[node].next_deadline()?;
        match self.alarms[node] {
            Some((known, at)) if known == deadline => Some(at),
            _ => {
                let at = deadline + self.random.up_to(self.lateness);
                self.alarms[node] = Some((deadline, at));
                Some(at)
            }
        }
    }

    fn arrive(&mut self) {
        let Some(Reverse((at, index))) = self.under_way.pop() else { return };
        self.now = self.now.max(at);
        self.free.push(index);
        match self.messages[index].take() {
            Some(Message::Advert { to, from, id, advert }) => {
                let out = self.nodes[to].receive(self.now, id, address(from), advert);
                self.carry_out(to, out);
            }
            Some(Message::Announcement { from, id }) => {
                self.say(|| format!("client: router {id} is at node {from}"));
                self.believes[id as usize] = Some(from);
                if self.nodes[from].state == Process::Dead {
                    self.forget(from);
                }
            }
            Some(Message::Wake { node }) => self.wake(node),
            Some(Message::Start { node }) => self.start(node),
            None => {}
        }
    }

    fn expire(&mut self, at: Time, node: usize) {
        self.now = self.now.max(at);
        self.alarms[node] = None;
        let out = self.nodes[node].routers.expire(self.now);
        self.carry_out(node, out);
    }

    pub fn tell(&mut self, node: usize, id: RouterId, event: Event<'_>) {
        if self.nodes[node].is_up() {
            let out = self.nodes[node].routers.handle(self.now, id, event);
            self.carry_out(node, out);
        }
    }

    pub fn tell_all(&mut self, node: usize, event: Event<'_>) {
        for id in 0..self.routers() {
            self.tell(node, id as RouterId, event);
        }
    }

    pub fn start(&mut self, node: usize) {
        if self.nodes[node].state == Process::Dead {
            let out = self.nodes[node].start(self.now, node);
            self.carry_out(node, out);
        }
    }

    pub fn start_after(&mut self, node: usize, wait: Duration) {
        self.send(self.now + wait, Message::Start { node });
    }

    pub fn freeze(&mut self, node: usize, state: Process, time: Duration) {
        if self.nodes[node].state == Process::Runs {
            self.nodes[node].freeze(self.now, state);
            self.send(self.now + time, Message::Wake { node });
        }
    }

    pub fn wake(&mut self, node: usize) {
        if matches!(self.nodes[node].state, Process::Frozen | Process::Suspended) {
            let tells = self.random.permille(500);
            let out = self.nodes[node].wake(self.now, tells);
            self.carry_out(node, out);
        }
    }

    pub fn kill(&mut self, node: usize, keeps_addresses: bool) {
        self.nodes[node].kill(keeps_addresses);
        if !keeps_addresses {
            self.lose_announcements(node);
        }
        self.forget(node);
    }

    /// What a node had not sent when its power went. Else one of three intervals ago could be the last that the client
    /// hears, when the node is up again: nobody can know of it, and so nobody can mend it.
    fn lose_announcements(&mut self, node: usize) {
        let is_its = |message: &Message| matches!(message, Message::Announcement { from, .. } if *from == node);
        self.messages.iter_mut().for_each(|message| drop(message.take_if(|message| is_its(message))));
    }

    /// Nobody answers at this node any more: the client notices that, and would ask.
    fn forget(&mut self, node: usize) {
        for (believed, holds) in self.believes.iter_mut().zip(&self.nodes[node].holds) {
            if *believed == Some(node) && !holds {
                *believed = None;
            }
        }
    }

    /// The client asks, and whoever has the address may be the last to answer.
    pub fn ask(&mut self, id: RouterId) {
        let holders: Vec<usize> = (0..self.nodes.len()).filter(|node| self.nodes[*node].holds[id as usize]).collect();
        if !holders.is_empty() {
            self.believes[id as usize] = Some(self.random.pick(&holders));
        }
    }

    fn carry_out(&mut self, node: usize, out: Outputs) {
        for (id, action) in out {
            self.say(|| format!("node {node}, router {id}: {action:?}"));
            self.check_order(node, id, action);
            self.nodes[node].apply(id, action);
            match action {
                Action::Advertise { priority, interval } => self.advertise(node, id, priority, interval),
                Action::Announce { repeat } => self.announce(node, id, repeat),
                Action::RoleChanged(change) => self.count(id, change),
                Action::Stopped if self.nodes[node].state == Process::Dead => self.forget(node),
                _ => {}
            }
        }
    }

    /// What holds at any time, whatever the network does.
    fn check_order(&self, node: usize, id: RouterId, action: Action) {
        let (node, id) = (&self.nodes[node], id as usize);
        match action {
            Action::Announce { .. } => assert!(node.holds[id], "announces what it does not have"),
            Action::RoleChanged(RoleChange { from, to, .. }) => {
                assert_ne!(from, to);
                assert_eq!(node.holds[id], to == Role::Active, "the addresses are where the role is: {from:?} {to:?}");
            }
            Action::Stopped => assert!(!node.holds[id], "stopped with the addresses"),
            _ => {}
        }
    }

    fn count(&mut self, id: RouterId, change: RoleChange) {
        if change.from == Role::Active || change.to == Role::Active {
            self.changes[id as usize] += 1;
        }
    }

    fn advertise(&mut self, from: usize, id: RouterId, priority: u8, interval: Duration) {
        let Some(machine) = self.nodes[from].routers.get(id) else { return };
        let advert = machine.settings().advert(priority, interval);
        if !self.nodes[from].link_up {
            return;
        }
        for to in (0..self.nodes.len()).filter(|to| *to != from) {
            for delay in self.network.carry(&mut self.random, from, to) {
                self.send(self.now + delay, Message::Advert { to, from, id, advert: advert.clone() });
            }
        }
    }

    fn announce(&mut self, from: usize, id: RouterId, repeat: u8) {
        let client = crate::network::MOST_NODES;
        for _ in 0..repeat {
            for delay in self.network.carry(&mut self.random, from, client) {
                if self.nodes[from].link_up {
                    self.send(self.now + delay, Message::Announcement { from, id });
                }
            }
        }
    }

    fn send(&mut self, at: Time, message: Message) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.messages.push(None);
            self.messages.len() - 1
        });
        self.messages[index] = Some(message);
        self.under_way.push(Reverse((at, index)));
    }
}

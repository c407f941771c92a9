//! A node: the machines, and of the driver and the kernel what matters.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use lb_vrrp::machine::{Action, Event, Settings};
use lb_vrrp::packet::Advert;
use lb_vrrp::routers::{Outputs, RouterId, Routers};
use lb_vrrp::time::Time;

/// What a socket keeps for a process that does not read.
const QUEUE: usize = 50;

pub struct Node {
    pub routers: Routers,
    pub settings: Vec<Settings>,
    pub grouped: bool,
    /// Of each virtual router: whether the kernel has its addresses.
    pub holds: Vec<bool>,
    pub state: Process,
    pub link_up: bool,
    /// Its own address is there; without it, it is deaf to unicast.
    pub has_source: bool,
    queue: Vec<(RouterId, IpAddr, Advert)>,
    frozen_at: Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    Runs,
    Stops,
    /// Adverts wait in the socket.
    Frozen,
    /// The host as a whole: what is sent to it is lost.
    Suspended,
    Dead,
}

pub fn address(node: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, 1 + node as u8).into()
}

impl Node {
    pub fn new(settings: Vec<Settings>, grouped: bool) -> Self {
        let holds = vec![false; settings.len()];
        let routers = Routers::default();
        let (state, queue) = (Process::Dead, Vec::new());
        Self { routers, settings, grouped, holds, state, link_up: true, has_source: true, queue, frozen_at: Time::ZERO }
    }

    pub fn start(&mut self, now: Time, node: usize) -> Outputs {
        self.routers = Routers::default();
        self.state = Process::Runs;
        self.queue.clear();
        let mut out = Outputs::new();
        for (id, settings) in (0..).zip(&self.settings) {
            self.routers.insert(id, self.grouped.then_some(0), settings.clone());
        }
        for (id, holds) in (0..).zip(&mut self.holds) {
            let leftovers = std::mem::take(holds);
            let source = self.has_source.then(|| address(node));
            let started = Event::Started { link_up: self.link_up, source, leftovers };
            out.extend(self.routers.handle(now, id, started));
        }
        out
    }

    pub fn is_up(&self) -> bool {
        matches!(self.state, Process::Runs | Process::Stops)
    }

    pub fn freeze(&mut self, now: Time, state: Process) {
        self.frozen_at = now;
        self.state = state;
    }

    /// What a driver does when it can run again: what lies in the queue comes before any timer.
    pub fn wake(&mut self, now: Time, tells: bool) -> Outputs {
        self.state = Process::Runs;
        let mut out = Outputs::new();
        if tells {
            let gap = now.since(self.frozen_at);
            out.extend(self.routers.handle_all(now, Event::Woken { gap }));
        }
        for (id, from, advert) in std::mem::take(&mut self.queue) {
            out.extend(self.routers.handle(now, id, Event::Advert { from, advert: &advert }));
        }
        out.extend(self.routers.expire(now));
        out
    }

    pub fn receive(&mut self, now: Time, id: RouterId, from: IpAddr, advert: Advert) -> Outputs {
        match self.state {
            _ if !self.link_up || !self.has_source => Outputs::new(),
            Process::Runs | Process::Stops => self.routers.handle(now, id, Event::Advert { from, advert: &advert }),
            Process::Frozen if self.queue.len() < QUEUE => {
                self.queue.push((id, from, advert));
                Outputs::new()
            }
            Process::Frozen | Process::Suspended | Process::Dead => Outputs::new(),
        }
    }

    /// kill -9: the kernel keeps the addresses. Without power it does not.
    pub fn kill(&mut self, keeps_addresses: bool) {
        self.state = Process::Dead;
        if !keeps_addresses {
            self.holds.fill(false);
        }
    }

    pub fn next_deadline(&self) -> Option<Time> {
        if self.is_up() { self.routers.next_deadline() } else { None }
    }

    /// The part of an action that concerns only this node.
    pub fn apply(&mut self, id: RouterId, action: Action) {
        match action {
            Action::AddAddresses => self.holds[id as usize] = true,
            Action::RemoveAddresses => self.holds[id as usize] = false,
            Action::Stopped => {
                self.routers.remove(id);
                if self.routers.iter().next().is_none() {
                    self.state = Process::Dead;
                }
            }
            _ => {}
        }
    }

    pub fn interval(&self) -> Duration {
        self.settings[0].interval
    }
}

//! Which backend a packet's flow has, or would get, and why: read from the maps that the program reads.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::abi::{FlowKey, Frontend, Port, VipKey, dest_state, scheduler};
use crate::control::Control;
use crate::flows::{self, Now};
use crate::hash::{hash_flow, hash_src, ring_index};
use crate::plan::unpack;
use crate::report::STATES;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Question {
    pub client: SocketAddr,
    pub destination: SocketAddr,
    pub udp: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub frontend: String,
    pub pool: String,
    pub mode: String,
    /// `None`: none would take it, or it cannot be known beforehand.
    pub backend: Option<String>,
    /// Line by line.
    pub why: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no layer-4 frontend takes {protocol} to {destination}: the packet goes up to this host")]
pub struct NoFrontend {
    pub protocol: &'static str,
    pub destination: SocketAddr,
}

impl Control {
    pub fn explain(&self, question: &Question, now: Now) -> Result<Answer, NoFrontend> {
        let key = key(question);
        let (place, frontend, why) = self.frontend_of(question, &key)?;
        let known = self.desired.frontends.iter().find(|f| self.layout.frontend_place_of(&f.key) == Some(place));
        let mut answer = Answer {
            frontend: known.map_or_else(|| format!("number {place}"), |f| f.name.to_string()),
            pool: known.map_or_else(String::new, |f| f.pool.to_string()),
            mode: mode(frontend.mode).to_owned(),
            backend: None,
            why: vec![why],
        };
        match flows::find(&self.maps, &key, now) {
            Some(flow) => {
                let left = flow.expires.wrapping_sub(now.jiffies) / now.hz.max(1);
                let state = STATES.get(usize::from(flow.state)).copied().unwrap_or("unknown");
                answer.why.push(format!("it has a flow, in state {state}, which expires in {left} s without a packet"));
                answer.backend = Some(self.name(flow.dest));
                answer.why.extend(self.standing(flow.dest, flow.incarnation));
            }
            None => {
                answer.why.push("it has no flow: the first packet is scheduled".to_owned());
                self.schedule(&frontend, &key, &mut answer);
            }
        }
        Ok(answer)
    }

    fn frontend_of(&self, question: &Question, key: &FlowKey) -> Result<(u32, Frontend, String), NoFrontend> {
        let exact = VipKey { addr: key.dst, port: key.dport, proto: key.proto, zero: [0; 5] };
        let any = VipKey { port: Port::default(), ..exact };
        let found = self.maps.vip(&exact).map(|i| (i, "its address, port and protocol are the frontend's"));
        let found = found.or_else(|| self.maps.vip(&any).map(|i| (i, "the frontend takes every port of its address")));
        let nobody =
            NoFrontend { protocol: if question.udp { "udp" } else { "tcp" }, destination: question.destination };
        let (place, why) = found.ok_or(nobody)?;
        Ok((place, self.maps.frontend(place), why.to_owned()))
    }

    fn schedule(&self, frontend: &Frontend, key: &FlowKey, answer: &mut Answer) {
        let (base, size) = unpack(frontend.ring);
        if size == 0 {
            return answer.why.push("no backend takes new flows: the packet is dropped (no_backend)".to_owned());
        }
        if frontend.flags & crate::abi::frontend_flag::PERSIST != 0 {
            answer.why.push("persistence: a backend that this client had lately comes before the scheduler".to_owned());
        }
        let seed = self.maps.settings().ring_seed;
        let (hash, of) = match frontend.scheduler {
            scheduler::SOURCE => (hash_src(&key.src, seed), "the client's address"),
            scheduler::FLOW => (hash_flow(key, seed), "addresses and ports"),
            scheduler::LEAST => {
                let text =
                    "least-connections: the one with the fewest active flows for its weight when the packet comes";
                return answer.why.push(text.to_owned());
            }
            _ => return answer.why.push("round-robin: whose turn it is on the CPU that takes the packet".to_owned()),
        };
        let index = ring_index(hash, size);
        let after = (0..size.min(17)).map(|step| (index + step) % size);
        let dest =
            after.map(|i| self.maps.ring_entry(base + i)).find(|d| self.maps.dest(*d).state == dest_state::READY);
        answer.why.push(format!("a hash of {of} falls on entry {index} of {size} of the ring"));
        answer.backend = dest.map(|dest| self.name(dest));
    }

    fn name(&self, dest: u32) -> String {
        match self.names().get(&dest) {
            Some((_, backend)) => backend.to_string(),
            None => std::net::IpAddr::from(self.maps.dest(dest).addr).to_string(),
        }
    }

    /// What is to be said about the backend of a flow.
    fn standing(&self, dest: u32, incarnation: u16) -> Option<String> {
        let there = self.maps.dest(dest);
        let by_rule = || format!("`on_backend_down: {}` decides", rule(there.on_down));
        match there.state {
            _ if there.incarnation != incarnation => {
                Some("its backend is gone: the next packet is scheduled anew".to_owned())
            }
            dest_state::DRAIN => Some("the backend takes no new flows, and keeps this one".to_owned()),
            dest_state::DOWN => Some(format!("the backend is down: {}", by_rule())),
            dest_state::UNUSED => Some(format!("the backend was removed: {}", by_rule())),
            _ => None,
        }
    }
}

fn key(question: &Question) -> FlowKey {
    FlowKey {
        src: question.client.ip().into(),
        dst: question.destination.ip().into(),
        sport: question.client.port().into(),
        dport: question.destination.port().into(),
        proto: if question.udp { libc::IPPROTO_UDP } else { libc::IPPROTO_TCP } as u8,
        zero: [0; 3],
    }
}

fn mode(mode: u8) -> &'static str {
    match mode {
        crate::abi::mode::NAT => "nat",
        crate::abi::mode::DR => "dr",
        _ => "tunnel",
    }
}

fn rule(on_down: u8) -> &'static str {
    match on_down {
        crate::abi::on_down::REBIND => "rebind",
        crate::abi::on_down::RESET => "reset",
        _ => "keep",
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(out, "frontend {} (mode {}, pool {})", self.frontend, self.mode, self.pool)?;
        match &self.backend {
            Some(backend) => writeln!(out, "backend  {backend}")?,
            None => writeln!(out, "backend  not known beforehand, or none")?,
        }
        self.why.iter().try_for_each(|line| writeln!(out, "  {line}"))
    }
}

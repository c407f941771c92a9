//! From a packet to a verdict.

use lb_l4::abi::{Counter, FlowKey, Frag, FragKey, VipKey, flow_flag, flow_state, mode, on_down};

use super::flow::Standing;
use super::parse::{Fragment, TCP, UDP, flags};
use super::schedule::Choice;
use super::{Entry, Family, Hook, ICMP, ICMP6, Model, Packet, Verdict, rewrite};

/// Why a packet needs a flow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    New,
    /// The backend of the one that it had is gone.
    Rebound,
}

impl Model {
    pub(super) fn packet(&mut self, ingress: u32, packet: &Packet<'_>) -> Verdict {
        match (packet.family, packet.proto, packet.fragment) {
            (_, TCP | UDP, _) if packet.is_from_nobody() => Verdict::Pass,
            (_, TCP | UDP, Fragment::Later(id)) => self.later_fragment(ingress, packet, id),
            (_, TCP | UDP, _) => self.transport(ingress, packet),
            (Family::V4, ICMP, Fragment::Whole) | (Family::V6, ICMP6, Fragment::Whole) => self.icmp(ingress, packet),
            _ => Verdict::Pass,
        }
    }

    fn transport(&mut self, ingress: u32, packet: &Packet<'_>) -> Verdict {
        let key = match packet.flow_key() {
            Some(key) if packet.has_transport() => key,
            _ if self.may_be_vip(packet) => return Verdict::Drop(Counter::Malformed),
            _ => return Verdict::Pass,
        };
        match self.look_up(&key) {
            Some(entry) => self.hit(ingress, packet, &key, &entry),
            None => self.miss(ingress, packet, &key, Why::New),
        }
    }

    fn hit(&mut self, ingress: u32, packet: &Packet<'_>, key: &FlowKey, entry: &Entry) -> Verdict {
        let later = matches!(packet.fragment, Fragment::Later(_));
        if entry.flags & flow_flag::REPLY == 0 {
            match self.standing(entry) {
                Standing::Gone(on_down) if later => {
                    self.forget(key);
                    let reset = on_down == on_down::RESET;
                    return Verdict::Drop(if reset { Counter::BackendDown } else { Counter::Fragment });
                }
                Standing::Gone(on_down::REBIND) => {
                    self.forget(key);
                    return self.miss(ingress, packet, key, Why::Rebound);
                }
                Standing::Gone(_) => return self.backend_down(ingress, packet, key),
                standing => {
                    if !later && packet.opens() && (standing == Standing::Draining || is_closing(entry.state)) {
                        self.forget(key);
                        return self.miss(ingress, packet, key, Why::New);
                    }
                }
            }
        }
        if !later {
            self.learn_way_back(ingress, packet, entry);
            self.transition(key, packet);
        }
        let entry = self.state.flows[key];
        self.send(ingress, packet, Some(key), &entry)
    }

    /// `on_backend_down: reset`
    fn backend_down(&mut self, ingress: u32, packet: &Packet<'_>, key: &FlowKey) -> Verdict {
        self.forget(key);
        if packet.opens() {
            return self.miss(ingress, packet, key, Why::Rebound);
        }
        if packet.proto == UDP || packet.tcp_flags() & flags::RST != 0 {
            return Verdict::Drop(Counter::BackendDown);
        }
        self.reset(packet)
    }

    fn miss(&mut self, ingress: u32, packet: &Packet<'_>, key: &FlowKey, why: Why) -> Verdict {
        let Some(id) = self.frontend_of(key) else {
            return if why == Why::New { Verdict::Pass } else { Verdict::Drop(Counter::BackendDown) };
        };
        if packet.ttl <= 1 {
            return self.time_exceeded(packet);
        }
        let Some(start) = self.first_state(id, packet, key, why) else { return Verdict::Drop(Counter::NoFlow) };
        if why == Why::Rebound {
            self.count(Counter::Rebound);
        } else if packet.proto == TCP && !packet.opens() {
            self.count(Counter::Adopted);
        }
        let back = self.way_back(ingress, packet);
        match self.schedule(id, key, start, back) {
            Ok(Choice::Stateless(entry)) => self.send(ingress, packet, None, &entry),
            Ok(Choice::Flow(entry)) => self.send(ingress, packet, Some(key), &entry),
            Err(reason) => Verdict::Drop(reason),
        }
    }

    /// The state of the flow that this packet would make, if it may make one.
    fn first_state(&self, id: u32, packet: &Packet<'_>, key: &FlowKey, why: Why) -> Option<u8> {
        let tcp = packet.tcp_flags();
        if packet.proto == UDP {
            return Some(flow_state::UDP_NEW);
        }
        if packet.opens() {
            return Some(flow_state::SYN);
        }
        let may_be_midway = tcp & (flags::SYN | flags::RST) == 0;
        if !may_be_midway || (why == Why::New && !self.may_adopt(id, key)) {
            return None;
        }
        Some(if tcp & flags::FIN != 0 { flow_state::FIN } else { flow_state::SYN_RECV })
    }

    /// Later fragments make no flow.
    fn later_fragment(&mut self, ingress: u32, packet: &Packet<'_>, id: u32) -> Verdict {
        let Some(ports) = self.state.fragments.get(&frag_key(packet, id)) else {
            return if self.may_be_vip(packet) { Verdict::Drop(Counter::Fragment) } else { Verdict::Pass };
        };
        let key = packet.key_with(ports.sport, ports.dport);
        match self.look_up(&key) {
            Some(entry) => self.hit(ingress, packet, &key, &entry),
            None => Verdict::Drop(Counter::Fragment),
        }
    }

    /// For the fragments that follow this one.
    fn remember_ports(&mut self, packet: &Packet<'_>) {
        if let (Fragment::First(id), Some(key)) = (packet.fragment, packet.flow_key()) {
            let ports = Frag { sport: key.sport, dport: key.dport };
            self.state.fragments.insert(frag_key(packet, id), ports);
        }
    }

    /// To the backend, or to the client.
    pub(super) fn send(&mut self, ingress: u32, packet: &Packet<'_>, key: Option<&FlowKey>, entry: &Entry) -> Verdict {
        if packet.ttl <= 1 {
            return self.time_exceeded(packet);
        }
        self.remember_ports(packet);
        let dest = self.config.dests[entry.dest as usize];
        let hop = match self.hop(ingress, key, entry) {
            Ok(hop) => hop,
            Err(Counter::PassedUp) => return self.pass_up(packet, entry),
            Err(reason) => return Verdict::Drop(reason),
        };
        let overhead = rewrite::overhead(&dest);
        if self.length_on_the_wire(packet) + overhead > usize::from(hop.mtu) {
            return match packet.whole_or_nothing || entry.flags & flow_flag::REPLY != 0 {
                true => self.too_big(packet, usize::from(hop.mtu) - overhead),
                false if dest.mode == mode::NAT => self.pass_up(packet, entry),
                false => Verdict::Drop(Counter::TooBig),
            };
        }
        self.account(packet, entry);
        if self.lacks_room(packet, overhead) {
            return Verdict::Drop(Counter::Headroom);
        }
        let bytes = rewrite::forwarded(packet, entry, &dest, &hop, ingress);
        Verdict::Forward { ifindex: hop.ifindex, bytes }
    }

    fn length_on_the_wire(&self, packet: &Packet<'_>) -> usize {
        let headers = packet.l4 - packet.l3 + packet.transport_header();
        if self.segment == 0 { packet.length() } else { headers + self.segment }
    }

    /// The kernel's helpers for tc change sizes only behind a plain Ethernet header. A tag within the
    /// frame is there the second one: the first stands beside it.
    pub(super) fn lacks_room(&self, packet: &Packet<'_>, overhead: usize) -> bool {
        self.config.hook == Hook::Tc && overhead > 0 && packet.l3 > 14
    }

    /// Only NAT: what the kernel routes after us must carry its new addresses, and nothing else.
    fn pass_up(&mut self, packet: &Packet<'_>, entry: &Entry) -> Verdict {
        self.account(packet, entry);
        self.count(Counter::PassedUp);
        let mut bytes = packet.frame.to_vec();
        rewrite::translate(&mut bytes, packet, entry);
        Verdict::PassRewritten(bytes)
    }

    pub(super) fn account(&mut self, packet: &Packet<'_>, entry: &Entry) {
        let stats = &mut self.state.stats[entry.dest as usize];
        let (packets, bytes) = match entry.flags & flow_flag::REPLY {
            0 => (&mut stats.packets_in, &mut stats.bytes_in),
            _ => (&mut stats.packets_out, &mut stats.bytes_out),
        };
        *packets += 1;
        *bytes += packet.length() as u64;
    }

    fn may_be_vip(&self, packet: &Packet<'_>) -> bool {
        let echo = if packet.family == Family::V4 { ICMP } else { ICMP6 };
        self.config.vips.contains_key(&VipKey { addr: packet.dst, port: 0.into(), proto: echo, zero: [0; 5] })
    }
}

pub(super) fn is_closing(state: u8) -> bool {
    matches!(state, flow_state::FIN | flow_state::TIME_WAIT | flow_state::CLOSED)
}

fn frag_key(packet: &Packet<'_>, id: u32) -> FragKey {
    FragKey { src: packet.src, dst: packet.dst, id, proto: packet.proto, zero: [0; 3] }
}

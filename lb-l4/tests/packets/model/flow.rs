//! The table of flows, and the states that they go through.

use lb_l4::abi::{FlowKey, Frontend, dest_state, flow_flag, flow_state, mode, on_down};

use super::parse::{TCP, flags};
use super::{Entry, Model, Packet};

/// How a flow's destination stands to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Ready,
    Draining,
    /// Down or removed, with what shall become of its flows.
    Gone(u8),
}

const FINS: u8 = flow_flag::FIN_FWD | flow_flag::FIN_BACK;

impl Model {
    /// As `find`, but what has expired is taken away.
    pub(super) fn look_up(&mut self, key: &FlowKey) -> Option<Entry> {
        let found = self.find(key);
        if found.is_none() {
            self.forget(key);
        }
        found
    }

    pub(super) fn find(&self, key: &FlowKey) -> Option<Entry> {
        self.state.flows.get(key).copied().filter(|entry| !self.has_passed(entry.expires))
    }

    pub(super) fn standing(&self, entry: &Entry) -> Standing {
        let dest = &self.config.dests[entry.dest as usize];
        if dest.incarnation != entry.incarnation {
            return Standing::Gone(on_down::REBIND); // the slot is another backend's now
        }
        match (dest.state, dest.on_down) {
            (dest_state::READY, _) | (dest_state::UNUSED | dest_state::DOWN, on_down::KEEP) => Standing::Ready,
            (dest_state::DRAIN, _) => Standing::Draining,
            (_, on_down) => Standing::Gone(on_down),
        }
    }

    /// Both directions, in place of what stood there.
    pub(super) fn insert(&mut self, key: FlowKey, forward: Entry, reply: Option<(FlowKey, Entry)>) {
        self.forget(&key);
        if let Some((reply_key, reply)) = reply {
            self.forget(&reply_key);
            self.state.flows.insert(reply_key, reply);
        }
        self.state.flows.insert(key, forward);
        let load = &mut self.state.loads[forward.dest as usize];
        match forward.flags & flow_flag::COUNTED {
            0 => load.inactive += 1,
            _ => load.active += 1,
        }
    }

    /// Both directions.
    pub(super) fn forget(&mut self, key: &FlowKey) {
        let Some(entry) = self.state.flows.remove(key) else { return };
        let peer = entry.peer.and_then(|peer| self.state.flows.remove(&peer));
        for entry in [Some(entry), peer].into_iter().flatten().filter(|entry| entry.flags & flow_flag::REPLY == 0) {
            let load = &mut self.state.loads[entry.dest as usize];
            match entry.flags & flow_flag::COUNTED {
                0 => load.inactive -= 1,
                _ => load.active -= 1,
            }
        }
    }

    /// When an entry expires, and from when on a packet renews it: with an eighth to spare, so that no
    /// flow lives shorter than its timeout after its last packet.
    pub(super) fn times(&self, timeout: u32) -> (u32, u32) {
        let renew = self.now.wrapping_add(timeout / 8);
        (renew.wrapping_add(timeout), renew)
    }

    /// What a packet does to its flow.
    pub(super) fn transition(&mut self, key: &FlowKey, packet: &Packet<'_>) {
        let entry = self.state.flows[key];
        let dest = &self.config.dests[entry.dest as usize];
        let (state, fins) =
            if packet.proto == TCP { next_tcp(&entry, dest.mode, packet.tcp_flags()) } else { (next_udp(&entry), 0) };
        let changed = state != entry.state;
        let due = self.has_passed(entry.renew) && state != flow_state::TIME_WAIT;
        let timeout = timeout(&self.config.frontends[dest.frontend as usize], state);
        let times = (changed || due).then(|| self.times(timeout));
        for key in [Some(*key), entry.peer].into_iter().flatten() {
            let Some(entry) = self.state.flows.get_mut(&key) else { continue };
            let Some(times) = times else { return };
            entry.state = state;
            entry.flags = entry.flags & !flow_flag::SYNCED | fins;
            (entry.expires, entry.renew) = times;
            if entry.flags & flow_flag::REPLY == 0 {
                recount(entry, &mut self.state.loads);
            }
        }
    }
}

pub(super) fn recount(entry: &mut Entry, loads: &mut [lb_l4::abi::Load]) {
    let load = &mut loads[entry.dest as usize];
    match (entry.flags & flow_flag::COUNTED != 0, is_active(entry.state)) {
        (false, true) => (load.active, load.inactive) = (load.active + 1, load.inactive - 1),
        (true, false) => (load.active, load.inactive) = (load.active - 1, load.inactive + 1),
        _ => return,
    }
    entry.flags ^= flow_flag::COUNTED;
}

pub(super) fn is_active(state: u8) -> bool {
    matches!(state, flow_state::ESTABLISHED | flow_state::UDP)
}

pub(super) fn timeout(frontend: &Frontend, state: u8) -> u32 {
    match state {
        flow_state::SYN | flow_state::SYN_RECV => frontend.syn,
        flow_state::ESTABLISHED => frontend.established,
        flow_state::FIN | flow_state::TIME_WAIT => frontend.fin,
        flow_state::CLOSED => frontend.close,
        _ => frontend.udp,
    }
}

/// The next state, and which sides have closed.
fn next_tcp(entry: &Entry, mode: u8, tcp: u8) -> (u8, u8) {
    let reply = entry.flags & flow_flag::REPLY != 0;
    let side = if reply { flow_flag::FIN_BACK } else { flow_flag::FIN_FWD };
    let fins = entry.flags & FINS | if tcp & flags::FIN != 0 { side } else { 0 };
    let state = match fins {
        _ if tcp & flags::RST != 0 || entry.state == flow_state::CLOSED => flow_state::CLOSED,
        FINS => flow_state::TIME_WAIT,
        0 => next_open(entry.state, reply, mode, tcp & (flags::SYN | flags::ACK)),
        _ => flow_state::FIN,
    };
    (state, fins)
}

/// The handshake.
fn next_open(state: u8, reply: bool, mode: u8, tcp: u8) -> u8 {
    const SYN_ACK: u8 = flags::SYN | flags::ACK;
    match (state, reply, tcp) {
        (flow_state::SYN, true, SYN_ACK) => flow_state::SYN_RECV,
        (flow_state::SYN_RECV, false, flags::ACK) => flow_state::ESTABLISHED,
        // Replies go past us: the client's word is all there is.
        (flow_state::SYN, false, flags::ACK) if mode != mode::NAT => flow_state::ESTABLISHED,
        _ => state,
    }
}

fn next_udp(entry: &Entry) -> u8 {
    // The datagram that made the flow does not come here.
    if entry.state == flow_state::UDP_NEW { flow_state::UDP } else { entry.state }
}

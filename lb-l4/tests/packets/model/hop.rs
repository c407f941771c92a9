//! Where a packet goes next. Looked up when the tick or the epoch has changed; else as it was.

use lb_l4::abi::{Addr, Counter, FlowKey, Hop, flow_flag, mode};

use super::{Entry, Hook, HopState, Model, Packet, Route};
use crate::harness::net::mtu;

/// How long a path MTU is believed (RFC 1191, section 6.3: ten minutes).
const PATH_MTU_SECONDS: u32 = 600;

impl Model {
    /// The reason where there is none; `PassedUp` leaves it to the kernel.
    pub(super) fn hop(&mut self, ingress: u32, key: Option<&FlowKey>, entry: &Entry) -> Result<Hop, Counter> {
        match key {
            Some(key) if entry.flags & flow_flag::REPLY != 0 => self.reply_hop(ingress, key, entry),
            _ => self.dest_hop(ingress, entry.dest),
        }
    }

    fn reply_hop(&mut self, ingress: u32, key: &FlowKey, entry: &Entry) -> Result<Hop, Counter> {
        let route = (self.config.route)(entry.new_dst);
        let known = entry.hop.filter(|hop| self.may_leave_by(ingress, hop)).map(measured);
        let found = self.resolve(ingress, route, known, mode::NAT);
        if let (Some(entry), Ok(hop)) = (self.state.flows.get_mut(key), found) {
            entry.hop = Some(hop);
        }
        self.ask(route, entry.new_dst, matches!(route, Route::Via(_)) && found.is_ok());
        found
    }

    /// The kernel is asked to resolve what it does not know, and to look after clients that no router stands before.
    pub(super) fn ask(&mut self, route: Route, addr: Addr, is_found_client: bool) {
        let next = (self.config.next_hop)(addr);
        if route == Route::NoNeighbour || (is_found_client && next.is_some_and(|(_, hop)| hop == addr)) {
            self.state.asked.extend(next);
        }
    }

    /// By which replies to this packet find their way without the kernel. Of its tags one can be kept, by XDP.
    pub(super) fn way_back(&self, ingress: u32, packet: &Packet<'_>) -> Option<Hop> {
        let mac = |at: usize| packet.frame[at..at + 6].try_into().expect("six bytes");
        let (dmac, smac): ([u8; 6], [u8; 6]) = (mac(6), mac(0));
        let vlan = match (&packet.frame[12..packet.l3 - 2], self.config.hook) {
            ([], _) => 0,
            (&[0x81, 0x00, a, b], Hook::Xdp) => u16::from_be_bytes([a, b]) & 0xFFF,
            _ => return None,
        };
        let is_host = dmac[0] & 1 == 0 && dmac != [0; 6];
        is_host.then_some(Hop { ifindex: ingress, dmac, smac, vlan: vlan.into(), mtu: 0 })
    }

    /// What another node has told of shows it with the client's first packet.
    pub(super) fn learn_way_back(&mut self, ingress: u32, packet: &Packet<'_>, entry: &Entry) {
        let back = self.way_back(ingress, packet);
        let is_news = entry.flags & (flow_flag::SYNCED | flow_flag::REPLY) == flow_flag::SYNCED;
        if let Some(reply) = entry.peer.filter(|_| is_news).and_then(|peer| self.state.flows.get_mut(&peer)) {
            reply.hop = back;
        }
    }

    fn may_leave_by(&self, ingress: u32, hop: &Hop) -> bool {
        self.config.hook == Hook::Tc || hop.ifindex == ingress || self.config.egress.contains(&hop.ifindex)
    }

    fn dest_hop(&mut self, ingress: u32, index: u32) -> Result<Hop, Counter> {
        let dest = self.config.dests[index as usize];
        let known = self.state.hops[index as usize];
        let is_fresh = known.checked == self.tick() && known.epoch == self.config.settings.epoch;
        let hop = match known.hop {
            Some(hop) if is_fresh => hop,
            _ => {
                let route = (self.config.route)(dest.addr);
                let found = self.resolve(ingress, route, known.hop, dest.mode);
                self.ask(route, dest.addr, false);
                let (checked, epoch) = (self.tick(), self.config.settings.epoch);
                self.state.hops[index as usize] = HopState { hop: found.ok(), checked, epoch, ..known };
                found?
            }
        };
        Ok(if dest.mode == mode::TUNNEL { self.within_path(index, hop) } else { hop })
    }

    pub(super) fn resolve(&self, ingress: u32, route: Route, known: Option<Hop>, mode: u8) -> Result<Hop, Counter> {
        match (route, known) {
            (Route::Via(hop), _) => {
                let hop = self.below_vlan(hop);
                match mode {
                    _ if self.may_leave_by(ingress, &hop) => Ok(hop),
                    mode::NAT => Err(Counter::PassedUp),
                    _ => Err(Counter::Egress),
                }
            }
            (Route::NoNeighbour, Some(hop)) => Ok(hop),
            (Route::NoNeighbour | Route::NotForwarded, _) if mode == mode::NAT => Err(Counter::PassedUp),
            (Route::NoNeighbour, None) => Err(Counter::NoNeighbour),
            (Route::Unreachable | Route::NotForwarded, _) => Err(Counter::NoRoute),
        }
    }

    /// The device below a VLAN's sends, with the tag; tc leaves that to the kernel.
    fn below_vlan(&self, hop: Hop) -> Hop {
        match self.config.vlans.get(&hop.ifindex) {
            Some(vlan) if self.config.hook == Hook::Xdp => Hop { ifindex: vlan.parent, vlan: vlan.tci, ..hop },
            _ => hop,
        }
    }

    fn within_path(&self, index: u32, hop: Hop) -> Hop {
        let known = &self.state.hops[index as usize];
        match known.path_mtu {
            0 => hop,
            _ if self.has_passed(known.path_mtu_until) => hop,
            mtu => Hop { mtu: hop.mtu.min(mtu), ..hop },
        }
    }

    pub(super) fn learn_path_mtu(&mut self, index: u32, mtu: u16) {
        let until = self.now.wrapping_add(PATH_MTU_SECONDS * self.config.settings.hz);
        let hop = &mut self.state.hops[index as usize];
        (hop.path_mtu, hop.path_mtu_until) = (mtu, until);
    }
}

/// A way back has the MTU of its interface.
fn measured(hop: Hop) -> Hop {
    if hop.mtu == 0 { Hop { mtu: mtu(hop.ifindex), ..hop } } else { hop }
}
